"""The book, built whole from the profile `tiny`: its links, outputs and styles; then opened in a real browser."""

import functools
import http.server
import shutil
import threading
from pathlib import Path

import book_checks
import nbformat
import pandas as pd
import pytest
from nbformat import v4

from helpers.base.settings import load_profile
from helpers.book.pages import list_pages
from helpers.book.summaries.rows import rows_of
from helpers.book.words import card_words
from helpers.study import registry

CHROMIUM_FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
)
PHONE_PX, DESKTOP_PX = 390, 1280


@pytest.fixture(scope="module")
def html_root(built_book) -> Path:
    return built_book


def test_every_link_leads_somewhere(html_root):
    assert book_checks.check_links(html_root) == []


def test_pages_and_styles_ask_nothing_from_another_machine(html_root):
    assert book_checks.check_offline(html_root) == []


def test_no_output_holds_an_exception(html_root):
    assert book_checks.check_outputs(html_root) == []
    assert book_checks.check_notebooks(html_root.parents[1] / "chapters") == []


def test_pages_can_be_read_without_sight(html_root):
    assert book_checks.check_accessible(html_root) == []


def test_front_page_takes_its_numbers_and_players_from_the_findings(html_root):
    profile = load_profile("tiny")
    table = pd.read_csv(registry.finished("thresholds", profile).path / "replication.csv")
    where = {"arm": "main", "detector": profile.thresholds.detector, "null": "twins", "fpr": profile.thresholds.fpr}
    rows = rows_of(table, **where).set_index("n_train")
    page = book_checks.soup(html_root / "intro.html")
    text = " ".join(page.article.get_text().split())
    words = {n: card_words(rows.loc[[n]], "near_exact_rate", "near_exact_low", "near_exact_high") for n in (4, 8)}
    limits = {n: " ".join(found["limits"].split()) for n, found in words.items()}
    for expected in (f"on 4 clips (95 % interval {limits[4]})", f"on 8 clips ({limits[8]})", "with the profile smoke"):
        assert expected in text
    shares = [tag.get_text() for tag in page.select(".figure-of-merit")]
    assert shares[:2] == [words[n]["share"] for n in (4, 8)] and len(shares) == 3
    assert [tag.get_text() for tag in page.select(".player-label")][0] == "Generated, n = 4"
    assert len(page.find_all("audio")) == 3


def test_sizes_stand_in_order_in_the_contents(html_root):
    links = [tag["href"] for tag in book_checks.soup(html_root / "intro.html").select("nav.bd-links a")]
    pages = [Path(link).stem for link in links if link.startswith("chapters/")]
    assert pages == list(list_pages(load_profile("tiny")))


FAULTS = {
    '<a href="gone.html">x</a>': (book_checks.check_links, "no such file: gone.html"),
    '<a href="#gone">x</a>': (book_checks.check_links, "no such anchor: #gone"),
    '<a href="page.html#gone">x</a>': (book_checks.check_links, "no such anchor: page.html#gone"),
    '<audio src="clips/gone.ogg"></audio>': (book_checks.check_links, "no such file: clips/gone.ogg"),
    '<img src="data:image/png;base64,@@">': (book_checks.check_links, "does not decode"),
    '<script src="https://cdn.example/x.js"></script>': (book_checks.check_offline, "remote https://cdn.example/x.js"),
    '<link rel="stylesheet" href="//fonts.example/a.css">': (book_checks.check_offline, "remote //fonts.example/a.css"),
    '<div class="cell_output"><div class="output stderr">boo</div></div>': (book_checks.check_outputs, "'boo'"),
    "<figure><p>none</p><figcaption>x</figcaption></figure>": (book_checks.check_outputs, "a caption without a figure"),
    "<pre>Traceback (most recent call last)</pre>": (book_checks.check_outputs, "a traceback"),
    "<img src='data:,x'>": (book_checks.check_accessible, "<img> without alt"),
    "<audio></audio>": (book_checks.check_accessible, "<audio> without a source"),
    "<h1>again</h1>": (book_checks.check_accessible, "2 main headings"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_each_check_finds_the_fault_it_is_for(fault, tmp_path):
    (tmp_path / "page.html").write_text(f"<article><h1>t</h1><p id='a'><a href='#a'>ok</a></p>{fault}</article>")
    check, expected = FAULTS[fault]
    problems = check(tmp_path)
    assert len([problem for problem in problems if expected in problem]) == 1, problems


def test_style_sheets_are_checked_too(tmp_path):
    (tmp_path / "a.css").write_text(
        "@import 'https://x.example/a.css'; p {background: url(gone.png)} i {background: url(data:,x)}"
    )
    assert book_checks.check_offline(tmp_path) == [
        "a.css: remote https://x.example/a.css",
        "a.css: no such file: gone.png",
    ]


@pytest.mark.parametrize("output", ["error", "stderr"])
def test_an_exception_in_a_notebook_is_found_unless_it_is_meant(output, tmp_path):
    cell = v4.new_code_cell("1 / 0", execution_count=1)
    error = v4.new_output("error", ename="ZeroDivisionError", evalue="", traceback=[])
    cell.outputs = [error if output == "error" else v4.new_output("stream", name="stderr", text="careful")]
    nbformat.write(v4.new_notebook(cells=[cell]), tmp_path / "a.ipynb")
    assert len(book_checks.check_notebooks(tmp_path)) == 1
    cell.metadata["tags"] = ["raises-exception"]
    nbformat.write(v4.new_notebook(cells=[cell]), tmp_path / "a.ipynb")
    assert book_checks.check_notebooks(tmp_path) == []


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_):
        """Says nothing: the requests are watched in the browser."""

    def do_GET(self):
        if self.path != "/favicon.ico":
            return super().do_GET()
        self.send_response(204)  # a browser asks for it by itself on the page that leads to the first; no page names it
        self.end_headers()


@pytest.fixture(scope="module")
def address(html_root):
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=html_root))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}"
    server.shutdown()


@pytest.fixture(scope="module")
def browser():
    program = shutil.which("chromium") or shutil.which("google-chrome")
    if program is None:
        pytest.skip("no browser: install Debian's chromium to open the book in one")
    sync_api = pytest.importorskip("playwright.sync_api", reason="no playwright: pip install playwright")
    with sync_api.sync_playwright() as playwright:
        started = playwright.chromium.launch(executable_path=program, args=list(CHROMIUM_FLAGS))
        yield started
        started.close()


def open_page(browser, address: str, name: str, width_px: int, colours: str = "light"):
    """Opens a page and returns it with the list of what went wrong: console errors, failed and remote requests."""
    context = browser.new_context(viewport={"width": width_px, "height": 844}, color_scheme=colours)
    page, wrong = context.new_page(), []
    page.on("console", lambda message: wrong.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: wrong.append(str(error)))
    page.on("requestfailed", lambda request: wrong.append(f"failed {request.url[:80]}"))
    page.on("response", lambda reply: wrong.append(f"{reply.status} {reply.url[:80]}") if reply.status >= 400 else None)
    page.on(
        "request",
        lambda r: wrong.append(f"remote {r.url}") if not r.url.startswith((address, "data:", "blob:")) else None,
    )
    page.goto(f"{address}/{name}", wait_until="load")
    page.wait_for_function("!window.MathJax || !MathJax.startup || MathJax.startup.promise.then(() => true)")
    return page, wrong


def page_names(html_root: Path) -> list[str]:
    return [
        str(path.relative_to(html_root))
        for path in book_checks.pages(html_root)
        if path.name not in book_checks.GENERATED
    ]


def test_browser_loads_every_player_of_every_page_and_nothing_fails(html_root, address, browser):
    players = 0
    for name in page_names(html_root):
        page, wrong = open_page(browser, address, name, PHONE_PX)
        loaded = "[...document.querySelectorAll('audio')].every(a => a.readyState >= 1 && a.duration > 0)"
        page.wait_for_function(loaded, timeout=10_000)
        players += page.locator("audio").count()
        assert wrong == [], name
        assert page.evaluate("document.documentElement.scrollWidth") <= PHONE_PX, f"{name} scrolls sideways on a phone"
        assert page.locator("article .math:not(:has(mjx-container))").count() == 0, f"{name}: a formula was not set"
        page.context.close()
    assert players >= 3 * len(list_pages(load_profile("tiny")))


def test_browser_moves_a_line_through_the_spectrogram(address, browser):
    page, wrong = open_page(browser, address, "chapters/01_corpus.html", DESKTOP_PX)
    page.evaluate("document.querySelector('audio').currentTime = 2")
    page.wait_for_function("document.querySelector('.player-view').style.getPropertyValue('--at') > 0.4")
    assert wrong == []
    page.context.close()


def test_dark_pages_have_no_light_panel_and_figures_follow(address, browser):
    page, wrong = open_page(browser, address, "chapters/07_findings.html", DESKTOP_PX, "dark")
    boxes = ".text_html, .players, .figure-box, .table-box, .player-view img"
    shades = page.evaluate(f"[...document.querySelectorAll('{boxes}')].map(e => getComputedStyle(e).backgroundColor)")
    assert len(shades) > 8 and set(shades) == {"rgba(0, 0, 0, 0)"}
    ink = page.evaluate("getComputedStyle(document.querySelector('.figure-box svg')).color")
    assert min(map(int, ink.removeprefix("rgb(").rstrip(")").split(","))) > 180  # light text on the dark page
    assert wrong == []
    page.context.close()
