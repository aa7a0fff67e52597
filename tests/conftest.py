"""Shared fixtures. Stage results of the tests go to a temporary place, never to the repository's own runs/."""

import os
import shutil
import sys
from pathlib import Path

import checkouts
import pytest

os.environ.setdefault("HF_HUB_OFFLINE", "1")
if "PYTEST_XDIST_WORKER" in os.environ:
    # a core for each worker: their threads would wait for one another
    os.environ |= {name: os.environ.get(name, "1") for name in ("OMP_NUM_THREADS", "NUMBA_NUM_THREADS")}
LONGEST = ("test_printed", "test_book", "test_own_corpus", "test_paper")  # the files, in this order
CHROMIUM_FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


def pytest_collection_modifyitems(items):
    """The longest files first, so that no worker is left with one while the others are done."""
    place = {name: number for number, name in enumerate(LONGEST)}
    items.sort(key=lambda item: place.get(item.path.stem, len(LONGEST)))


@pytest.fixture(scope="session")
def repository() -> Path:
    """The repository's top folder."""
    return Path(__file__).resolve().parents[1]


@pytest.fixture(scope="session", autouse=True)
def runs_root(tmp_path_factory) -> Path:
    """Where stages are kept during this session, for subprocesses and notebook kernels too."""
    root = tmp_path_factory.mktemp("runs")
    os.environ["HELPERS_RUNS"] = str(root)
    return root


@pytest.fixture(autouse=True)
def own_policy():
    """What a test asks of the stage store ends with it: `parameters.begin` takes up a published study for good."""
    from helpers.study import store

    with store.use_policy(store.Policy()):
        yield


@pytest.fixture
def committed(monkeypatch):
    """Stages are computed as from a clean tree, so that they can be published; this repository may have changes."""
    from helpers.base import machine

    monkeypatch.setattr(machine, "commit", lambda: "c" * 40)


@pytest.fixture(scope="session")
def decided(tmp_path_factory):
    """What the code decides from the synthetic scores (`synthetic_results.Decided`)."""
    from synthetic_results import decide

    return decide(tmp_path_factory.mktemp("decided"))


@pytest.fixture(scope="session")
def fabricated(repository, tmp_path_factory) -> Path:
    """Reduced checkpoints of random weights in the published layouts: audioldm/, flan-t5/, tango/, clap/."""
    sys.path.insert(0, str(repository / "tools"))
    from fabricate_checkpoints import REDUCED, fabricate_all

    folder = tmp_path_factory.mktemp("fabricated")
    fabricate_all(folder, REDUCED)
    return folder


@pytest.fixture(scope="session")
def sizes(fabricated) -> dict:
    """The reduced sizes that the fabricated checkpoints have."""
    from fabricate_checkpoints import REDUCED

    return REDUCED


@pytest.fixture(scope="session")
def small_checkout(repository, tmp_path_factory) -> Path:
    """A checkout of its own in a folder whose name a shell takes apart, for commands as they are printed.

    Its profile `smoke` is as small as `tiny`; `pocket` is the published study.
    """
    if not shutil.which("make"):
        pytest.skip("make is not installed")
    folder = checkouts.copy(repository, tmp_path_factory.mktemp("checkout") / "it's (a) & b;c")
    (folder / "profiles" / "smoke.yml").write_text("base: tiny\n")
    return folder


@pytest.fixture(scope="session")
def make_book(small_checkout, tmp_path_factory):
    """A function that calls `make book` for a profile of the small checkout, and returns the folder of a copy of its pages."""

    def make(profile: str, **environment: str) -> Path:
        done = checkouts.call(small_checkout, f"make book PROFILE={profile}", **environment)
        assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
        assert done.stdout.splitlines()[-1] == str(small_checkout / "book" / "_build" / "html" / "index.html")
        book = shutil.copytree(small_checkout / "book", tmp_path_factory.mktemp(profile) / "book")
        return book / "_build" / "html"

    return make


@pytest.fixture(scope="session")
def built_book(make_book, runs_root) -> Path:
    """The whole book of the profile `tiny`, under the name of `smoke`: the folder of its pages."""
    return make_book("smoke", HELPERS_RUNS=str(runs_root))


@pytest.fixture(scope="session")
def browser():
    program = shutil.which("chromium") or shutil.which("google-chrome")
    if program is None:
        pytest.skip("no browser: install Debian's chromium to open the book in one")
    sync_api = pytest.importorskip("playwright.sync_api", reason="no playwright: pip install playwright")
    with sync_api.sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=program, args=list(CHROMIUM_FLAGS))
        yield started
        started.close()


@pytest.fixture(scope="session")
def noise_corpus():
    """A corpus whose clips are noise, each its own, under a caption that is no markup."""
    import numpy as np

    class Noise:
        def clip(self, clip_id):
            number = sum(clip_id.encode())
            return np.random.default_rng(number).normal(0, 3000, 65_536).astype(np.int16), '<b>"caption"</b>'

    return Noise()


@pytest.fixture
def bare_page(browser, tmp_path):
    """A function that opens markup, or a whole page, from the disk, on a phone; nothing may fail in it or leave it."""
    contexts, wrong = [], []

    def open_markup(markup: str, **options):
        path = tmp_path / "page.html"
        if not markup.startswith("<!doctype html>"):
            markup = (
                f'<!doctype html><html lang="en"><title>t</title><body><main><h1>t</h1>{markup}</main></body></html>'
            )
        path.write_text(markup, encoding="utf-8")
        contexts.append(browser.new_context(**{"viewport": {"width": 390, "height": 844}} | options))
        page = contexts[-1].new_page()
        page.on("pageerror", lambda error: wrong.append(str(error)))
        page.on("console", lambda message: wrong.append(message.text) if message.type == "error" else None)
        page.on("request", lambda r: None if r.url.startswith(("file:", "data:", "blob:")) else wrong.append(r.url))
        page.goto(path.as_uri())
        return page

    yield open_markup
    for context in contexts:
        context.close()
    assert wrong == []


@pytest.fixture(scope="session")
def faults_of_axe():
    """A function that returns what axe-core finds wrong on a page, a line each."""
    axe = pytest.importorskip("axe_playwright_python.sync_playwright", reason="no axe: make test installs it").Axe()

    def faults(page, context: str | None = None) -> list[str]:
        found = axe.run(page, context).response["violations"]
        return [f"{v['id']}: {node['target']} {node['html'][:90]}" for v in found for node in v["nodes"]]

    return faults
