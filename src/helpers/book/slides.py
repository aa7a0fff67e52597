"""Slides of the headline figures, one file that stands alone: taken from the built pages, so they show what the book shows."""

from pathlib import Path

import jinja2
from bs4 import BeautifulSoup
from markupsafe import Markup

SLIDES = (  # page, what of it is shown, and what is said
    ("intro", ".first-screen .figure-box > div", "How often do models copy, trained on more and more clips? Here, and in the paper."),
    ("chapters/06_thresholds", ".players-row .player", "Is one a copy of the other? Decide before you see a score."),
    ("chapters/07_findings", "#fig-replication .figure-box > div", "When does copying begin? Over updates, and over epochs."),
    ("chapters/07_findings", "#fig-moments .figure-box > div", "At nearly equal updates, and at nearly equal epochs: which sizes are copied more?"),
    ("chapters/07_findings", 'table:has(caption:-soup-contains("Decided:"))', "Which of the paper's claims does this study decide?"),
    ("chapters/01_corpus", "#fig-pairs .figure-box > div", "Which recordings are duplicates? Those above the dotted line share a waveform."),
)  # fmt: skip
TEMPLATE = Path(__file__).parent / "templates" / "slides.html"


def write(app, error: Exception | None) -> None:
    """Sphinx calls this when the book is built. What its pages lack, as with another profile, has no slide."""
    root = Path(app.outdir)
    slides = [
        {"page": f"{name}.html", "said": said, "shown": shown}
        for name, where, said in SLIDES if (shown := _shown(root / f"{name}.html", where))
    ]  # fmt: skip
    (root / "slides.html").unlink(missing_ok=True)
    if slides and not error:
        page = jinja2.Template(TEMPLATE.read_text(encoding="utf-8"), autoescape=True).render(slides=slides)
        (root / "slides.html").write_text(page, encoding="utf-8")


def _shown(path: Path, where: str) -> Markup:
    """The first two elements, of a figure its drawings for a wide and for a narrow page, without their sounds and captions."""
    page = BeautifulSoup(path.read_text(encoding="utf-8") if path.is_file() else "", "html.parser")
    for more in page.select(".player > :not(.player-label, .player-view)"):
        more.decompose()
    return Markup("".join(map(str, page.select(where, limit=2))))
