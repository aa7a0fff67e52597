"""The book, built whole from the profile `tiny`: its links, outputs and styles; then opened in a real browser."""

import functools
import http.server
import re
import threading
import types
from pathlib import Path

import book_checks
import nbformat
import pandas as pd
import pytest
from nbformat import v4

from helpers.book import listening, sentences, size_tabs
from helpers.book.chapters import PER_SIZE
from helpers.book.pages import list_pages
from helpers.book.summaries.rows import of_own, rows_of
from helpers.sound.profiles import load_profile
from helpers.study import registry

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


def test_a_number_and_its_per_cent_sign_stay_on_one_line(html_root):
    for name in ("answer", "audit"):  # written by hand, with common spaces
        words = [tag.get_text() for tag in book_checks.soup(html_root / f"{name}.html").article.select("p, li")]
        assert any("\u00a0%" in text for text in words) and not [text for text in words if re.search(r"\d %", text)]


def test_pages_can_be_read_without_sight(html_root):
    assert book_checks.check_accessible(html_root) == []


def test_front_page_takes_its_answer_and_pairs_from_the_findings(html_root):
    profile = load_profile("tiny")
    table = pd.read_csv(registry.finished("thresholds", profile).path / "replication.csv")
    where = {"detector": profile.thresholds.detector, "null": "twins", "fpr": profile.thresholds.fpr}
    page = book_checks.soup(html_root / "intro.html")
    text = " ".join(page.article.get_text().split())
    answer = " ".join(sentences.of_answer(of_own(rows_of(table, **where))).split())
    assert re.search(r"updates on 4( or 8)? clips, ", answer) and answer in " ".join(
        page.select_one(".lead").get_text().split()
    )
    assert f"θ = {profile.thresholds.theta:g}" in text and "with the profile smoke" in text
    pairs = page.select(".listening-pair")
    assert len(pairs) == 2 * len(listening.WHICH) and all(len(pair.find_all("audio")) == 2 for pair in pairs)
    assert page.select_one("svg[role=img]")["aria-label"].startswith("Near-exact share")
    rule = page.select_one(".number-line").get_text(" ")
    assert all(word in rule for word in ("a typical twin", "a perfect replay"))
    assert not any(word in text for word in ("bias", "τ")), "explained in chapter 6"


def sizes_of_tiny() -> list[list[str]]:
    """The pages of each chapter that has one for each training size."""
    pages = list_pages(load_profile("tiny")).items()
    return [[page for page, (chapter, _) in pages if chapter == name] for name in PER_SIZE]


def test_the_contents_list_a_chapter_once_and_lead_from_chapter_to_chapter(html_root):
    further = {page for pages in sizes_of_tiny() for page in pages[1:]}
    links = [tag["href"] for tag in book_checks.soup(html_root / "intro.html").select("nav.bd-links a")]
    pages = [Path(link).stem for link in links if link.startswith("chapters/")]
    assert further and pages == [page for page in list_pages(load_profile("tiny")) if page not in further]
    training, generation = sizes_of_tiny()
    for name in generation:
        page = book_checks.soup(html_root / "chapters" / f"{name}.html")
        assert page.select_one("nav.bd-links li.current").get_text(strip=True) == "4. Generation"
        ends = [
            page.select_one(f".prev-next-area a.{end}-{side}")["href"]
            for end, side in (("left", "prev"), ("right", "next"))
        ]
        assert ends == [f"{training[0]}.html", "05_retrieval.html"]
    searched = (html_root / "searchindex.js").read_text()
    assert re.search(r'"4\. Generation": \[\[\d+, null\]\]', searched), "one page bears the title"


def test_a_page_has_one_table_in_sight_and_all_can_be_downloaded(html_root):
    folded = 0
    for page in list_pages(load_profile("tiny")):
        article = book_checks.soup(html_root / "chapters" / f"{page}.html").article
        boxes = [table.find_parent(class_="table-box") for table in article.select("table.data")]
        assert all(box.select_one("a[download$='.csv']") for box in boxes), page
        tables = [table for table in article.find_all("table") if not table.find_parent("details")]
        assert len(tables) <= 1, page
        folded += len(boxes) - len(tables)
    assert folded > 15


def test_a_quiz_is_answered_without_a_script(html_root):
    for page in list_pages(load_profile("tiny")):
        quiz = book_checks.soup(html_root / "chapters" / f"{page}.html").select("div.quiz details")
        assert len(quiz) == 3 and all(choice.summary and choice.get_text(strip=True) for choice in quiz), page
        assert not any(choice.has_attr("open") for choice in quiz)


def test_a_page_of_one_size_leads_to_those_of_the_others(html_root):
    for pages in sizes_of_tiny():
        for name in pages:
            page = book_checks.soup(html_root / "chapters" / f"{name}.html")
            tabs = page.select("article h1 + nav.size-tabs a")
            assert [tab["href"] for tab in tabs] == [f"{other}.html" for other in pages]
            (current,) = [tab for tab in tabs if tab.get("aria-current") == "page"]
            assert current["href"] == f"{name}.html" and f" on {current.get_text()} — " in page.title.get_text()


def test_a_chapter_of_one_size_has_no_tabs_and_pages_of_none_no_size():
    env = types.SimpleNamespace(found_docs={"intro", "chapters/03_training_n16000", "chapters/04_generation_n00064"})
    assert size_tabs.sizes_of(env, "chapters/03_training_n16000") == {16_000: "chapters/03_training_n16000"}
    assert size_tabs.sizes_of(env, "intro") == {}
    env.found_docs |= {"chapters/03_training_n120000", "chapters/03_training"}
    assert list(size_tabs.sizes_of(env, "chapters/03_training_n16000")) == [16_000, 120_000], "by number, not as text"
    assert size_tabs.first_of(env, "chapters/03_training_n120000") == "chapters/03_training_n16000"
    assert size_tabs.first_of(env, "https://example.org/a_n1") == "https://example.org/a_n1"


@pytest.mark.parametrize("width_px", [PHONE_PX, DESKTOP_PX])
def test_a_tab_keeps_the_place_on_the_page(html_root, browser, width_px):
    page = browser.new_context(viewport={"width": width_px, "height": 844}).new_page()
    first, *_, last = sizes_of_tiny()[1]
    page.goto((html_root / "chapters" / f"{first}.html").as_uri(), wait_until="load")
    place = "document.getElementById('near-and-how-near').getBoundingClientRect().top"
    page.evaluate(f"scrollTo({{top: scrollY + {place} + 30, behavior: 'instant'}})")
    tab = page.locator(".size-tabs a").last
    assert tab.bounding_box()["y"] < 100, "the tabs stay in sight"
    tab.focus()
    with page.expect_navigation(wait_until="load"):
        page.keyboard.press("Enter")
    page.wait_for_function("location.hash === '#near-and-how-near'")
    assert page.url.partition("#")[0].endswith(f"{last}.html") and abs(page.evaluate(place) + 30) < 20
    assert page.evaluate("document.activeElement.getAttribute('aria-current')") == "page"
    page.context.close()


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
    "<p>the number of *updates* is the same</p>": (book_checks.check_outputs, "markup left over"),
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


def test_the_first_screen_holds_the_answer_the_chart_and_the_players(address, browser):
    bottom = "e => e.getBoundingClientRect().bottom"
    page, wrong = open_page(browser, address, "intro.html", DESKTOP_PX)
    for what in (".lead", ".first-screen svg", ".listening-answers", ".number-line"):
        assert page.eval_on_selector(what, bottom) <= 900, what
    assert page.eval_on_selector(".first-screen .figure-box", "e => e.scrollWidth <= e.clientWidth"), "cut"
    page.context.close()
    page, more = open_page(browser, address, "intro.html", PHONE_PX)
    assert page.eval_on_selector(".listening-answers", bottom) <= 844
    assert wrong + more == []
    page.context.close()


def test_a_search_from_the_disk_finds_memorization_with_excerpts(html_root, browser):
    page = browser.new_context().new_page()
    page.goto(f"{(html_root / 'search.html').as_uri()}?q=memorization", wait_until="load")
    page.wait_for_selector("#search-results li p.context")
    items = page.query_selector_all("#search-results li")
    found = {item.query_selector("a").inner_text(): item.inner_text() for item in items}
    assert len(found) == len(items), "each page once"
    assert "8. When copying begins" in found and not [
        text for text in found.values() if re.search(r"[a-z]20\d\d[a-z]", text)
    ]
    assert "memorization" in found["Glossary"] and "single training clips" in found["Glossary"]
    page.context.close()


def test_the_slides_are_of_this_book(html_root):
    page = book_checks.soup(html_root / "slides.html")
    assert len(page.select("section:has(h1):has(svg, img, table)")) == len(page.select("section")) >= 4


def test_terms_are_explained_where_a_pointer_rests_on_them(html_root):
    links = [
        link for path in book_checks.pages(html_root)
        for link in book_checks.soup(path).select("article a:has(span.std-term)")
    ]  # fmt: skip
    assert len(links) > 50 and all(len(link["title"]) > 20 for link in links)
    bias = next(link for link in links if link.get_text() == "bias")
    assert not [link["title"] for link in links if re.search(r"[a-z]20\d\d[a-z]", link["title"])], "a citation's key"
    assert bias["title"].startswith("How much a query resembles clips it cannot have copied")


def test_sound_or_a_picture_comes_before_code_and_what_reruns_a_page_is_one_fold(html_root):
    for page in list_pages(load_profile("tiny")):
        article = book_checks.soup(html_root / "chapters" / f"{page}.html").article
        first, *others = article.select("details.hide")
        assert "Rerun this page" in first.summary.get_text(), page
        code = first.get_text()
        assert code.index("profile: str") < code.index("parameters.begin"), page
        sparse = "Shown beside the published study alone" in article.get_text()
        for fold in others:
            assert sparse or fold.find_previous(["audio", "svg", "table"]), f"{page}: code before anything is shown"
            shown = fold.parent.select_one(".cell_output")
            assert not shown or fold in shown.find_next_siblings("details"), page


WIDE = """() => {
  document.querySelectorAll("article details").forEach(fold => fold.open = true);
  return [...document.querySelectorAll("article :is(pre, .table-box)")]
    .filter(box => box.scrollWidth > box.clientWidth + 1).map(box => box.textContent.trim().slice(0, 60));
}"""


@pytest.mark.parametrize("name", ["chapters/06_thresholds", "chapters/07_findings", "running", "instrument"])
def test_no_code_and_no_table_is_wider_than_the_page(address, browser, name):
    page, wrong = open_page(browser, address, f"{name}.html", DESKTOP_PX)
    assert page.evaluate(WIDE) == [] and wrong == []
    page.context.close()


@pytest.mark.parametrize("colours", ["light", "dark"])
def test_axe_finds_no_fault(html_root, address, browser, faults_of_axe, colours):
    for name in page_names(html_root):
        if name.startswith("_modules") or name in ("references.html", "index.html"):
            continue  # the markup of source code and of citations is Sphinx's own; the index leads on to the first page
        page, _ = open_page(browser, address, name, DESKTOP_PX, colours)
        assert faults_of_axe(page) == [], name
        page.context.close()
