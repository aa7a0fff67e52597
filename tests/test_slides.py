"""The slides: each with its figure and its sentence, turned by keys, on a phone and on paper."""

from types import SimpleNamespace

import pytest

from helpers.book import slides

SVG = '<svg role="img" aria-label="a chart" viewBox="0 0 40 20"><path d="M0 0L40 20" stroke="currentColor"/></svg>'
FIGURE = f'<div class="figure-box"><div class="figure-wide">{SVG}</div><div class="figure-narrow">{SVG}</div></div>'
PLAYER = (
    '<figure class="player"><p class="player-label">A</p><div class="player-view"><img alt="A" src="data:,"></div>'
    "<audio controls></audio><details>a score</details></figure>"
)
PAGES = {
    "intro": f'<div class="first-screen">{FIGURE}</div>',
    "chapters/01_corpus": f'<figure id="fig-pairs">{FIGURE}</figure>',
    "chapters/06_thresholds": f'<div class="players-row">{3 * PLAYER}</div>',
    "chapters/07_findings": f'<figure id="fig-replication">{FIGURE}</figure><figure id="fig-moments">{FIGURE}</figure><table><caption>Other.</caption></table>'
    "<table><caption>Decided: 1 of 2 claims.</caption><tr><td>holds</td></tr></table>",
}


@pytest.fixture
def written(tmp_path):
    """A function that writes the slides of these pages of a book; the text, or None."""

    def write(pages: dict[str, str], error=None) -> str | None:
        (tmp_path / "chapters").mkdir()
        for name, text in pages.items():
            (tmp_path / f"{name}.html").write_text(text)
        slides.write(SimpleNamespace(outdir=str(tmp_path)), error)
        path = tmp_path / "slides.html"
        return path.read_text() if path.is_file() else None

    return write


def test_every_slide_has_its_figure_and_its_sentence(written, bare_page, faults_of_axe):
    page = bare_page(written(PAGES))
    found = page.locator("section")
    assert found.count() == len(slides.SLIDES)
    for one, (name, _, said) in zip(found.all(), slides.SLIDES):
        assert one.locator("h1").inner_text() == said
        assert one.locator("svg, img, table").count() > 0 and one.locator("a").get_attribute("href") == f"{name}.html"
        assert one.locator("svg:visible").count() <= 1, "drawn for the width of the page"
    assert page.locator("img").count() == 2 and page.locator("audio, details").count() == 0
    assert page.evaluate("document.documentElement.scrollWidth") <= 390
    assert faults_of_axe(page) == []
    for key, at in (("ArrowRight", 1), ("ArrowDown", 2), ("ArrowLeft", 1)):
        page.keyboard.press(key)
        page.wait_for_function(f"Math.round(scrollY / innerHeight) === {at}")
    page.emulate_media(media="print")
    assert found.first.evaluate("e => getComputedStyle(e).breakAfter") == "page"


def test_what_a_book_lacks_has_no_slide(written):
    assert written({"intro": PAGES["intro"], "chapters/07_findings": ""}).count("<section") == 1


@pytest.mark.parametrize(("pages", "error"), [({}, None), (PAGES, ValueError())])
def test_without_figures_or_a_book_there_are_no_slides(written, pages, error):
    assert written(pages, error) is None
