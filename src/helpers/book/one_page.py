"""Pages that stand alone, one HTML file each: of an audit, and of a prompt. They ask nothing of any other place."""

from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import jinja2
from markupsafe import Markup

from helpers.book import players
from helpers.book.inline import inline
from helpers.book.words import share_text
from helpers.sound.likeness import in_figures

PACKAGE = "auscultation-book"


def render(template: str, command: str, **facts) -> str:
    """The page of `templates/<template>`, made by `helpers <command>`. Whatever is in `facts` is escaped, but for `Markup`."""
    environment = jinja2.Environment(
        loader=jinja2.FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True,
    )  # fmt: skip
    environment.filters.update(share=share_text, in_figures=in_figures)
    style = players.STYLE + inline("scripts/listening.css", "scripts/audit.css")
    return environment.get_template(template).render(
        style=Markup(style),
        script=Markup(inline("scripts/audit.js")),
        command=command,
        version=_version(),
        **facts,
    )


def _version() -> str:
    """The package's own; a checkout that is not installed has none."""
    try:
        return version(PACKAGE)
    except PackageNotFoundError:
        return "not installed"
