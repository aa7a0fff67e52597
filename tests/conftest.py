"""Shared fixtures. Stage results of the tests go to a temporary place, never to the repository's own runs/."""

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

os.environ.setdefault("HF_HUB_OFFLINE", "1")
CHROMIUM_FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)


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
def built_book(repository, tmp_path_factory) -> Path:
    """The whole book from the profile `tiny`: every chapter executed by Papermill, the HTML built. The folder of its pages."""
    from helpers.base.settings import load_profile
    from helpers.book import execution, pages

    folder = tmp_path_factory.mktemp("built") / "book"
    shutil.copytree(repository / "book", folder, ignore=shutil.ignore_patterns("_build", "chapters"))
    for page, (name, settings) in pages.list_pages(load_profile("tiny")).items():
        execution.run_chapter(name, settings, folder / "chapters" / f"{page}.ipynb", "tiny")
    command = [Path(sys.executable).parent / "jupyter-book", "build", folder, "-W", "-n", "--keep-going"]
    done = subprocess.run(command, check=False, capture_output=True, text=True)
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    return folder / "_build" / "html"


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
    """A function that opens markup as a page from the disk, on a phone; nothing may fail in it or leave it."""
    contexts, wrong = [], []

    def open_markup(markup: str, **options):
        path = tmp_path / "page.html"
        path.write_text(
            f'<!doctype html><html lang="en"><title>t</title><body><main><h1>t</h1>{markup}</main></body></html>',
            encoding="utf-8",
        )
        contexts.append(browser.new_context(viewport={"width": 390, "height": 844}, **options))
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
