"""A chapter of several training sizes, a page each, as one chapter with tabs; `_config.yml` names the module as an extension.

The first size's page stands for the chapter in the contents, between its neighbours and in a search. Tabs lead to the others.
"""

import re
from pathlib import Path

from docutils import nodes
from sphinx import addnodes

SIZE = re.compile(r"_n(\d+)$")  # how the name of such a page ends (`pages.list_pages`)
SCRIPT = Path(__file__).parent / "scripts" / "size_tabs.js"


def setup(app) -> dict:
    """Sphinx calls this. Both come first: before Sphinx collects the contents, and before the theme draws them."""
    app.connect("doctree-read", join_pages, priority=400)
    app.connect("html-page-context", stand_in_place, priority=400)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


def sizes_of(env, page: str) -> dict[int, str]:
    """The pages of this page's chapter by training size, in order; none for a page that is of no size."""
    if not SIZE.search(page):
        return {}
    of_chapter = re.compile(re.escape(SIZE.sub("", page)) + SIZE.pattern)
    return dict(sorted((int(found[1]), name) for name in env.found_docs if (found := of_chapter.match(name))))


def first_of(env, page: str) -> str:
    """The page that stands for this page's chapter."""
    return next(iter(sizes_of(env, page).values()), page)


def join_pages(app, doctree: nodes.document) -> None:
    """Leaves one page of each chapter in the contents, and puts the tabs below the title of each of its pages."""
    env, page = app.env, app.env.docname
    for toctree in doctree.findall(addnodes.toctree):
        toctree["entries"] = [(title, name) for title, name in toctree["entries"] if first_of(env, name) == name]
        toctree["includefiles"] = [name for name in toctree["includefiles"] if first_of(env, name) == name]
    if first_of(env, page) != page:
        env.metadata[page] |= {"orphan": True, "nosearch": True}
    if len(pages := sizes_of(env, page)) > 1:
        links = "".join(
            f'<a href="{Path(name).name}.html"{" aria-current=page" if name == page else ""}>{n:,} clips</a>'
            for n, name in pages.items()
        )
        tabs = f'<nav class="size-tabs" aria-label="Training set">{links}</nav><script>{SCRIPT.read_text()}</script>'
        next(doctree.findall(nodes.title)).parent.insert(1, nodes.raw("", tabs, format="html"))


def stand_in_place(app, pagename: str, templatename: str, context: dict, doctree) -> None:
    """Gives a page the neighbours and the place in the contents of its chapter, and a title that names its size."""
    if sizes := sizes_of(app.env, pagename):
        n, chapter = int(SIZE.search(pagename)[1]), next(iter(sizes.values()))
        context["title"] += f" on {n:,} clips"
        neighbours = app.builder.get_doc_context(chapter, "", "")
        context |= {name: neighbours[name] for name in ("prev", "next", "parents")}
        context["toctree"] = lambda **given: app.builder._get_local_toctree(chapter, **given)
