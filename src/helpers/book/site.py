"""What this book adds to Sphinx: the meaning of a term where a pointer rests on it, excerpts of a search from the disk, tables
that a keyboard can scroll, numbers that stay on one line with their %, sound before code, the table of what an audit finds, and slides.

A page that is opened as a file may not read another, so the search page carries the text of all.
"""

import json
import re
from functools import cache
from html import escape
from pathlib import Path

from docutils import nodes
from sphinx.addnodes import pending_xref
from sphinx.util.docutils import SphinxDirective

from helpers.book import slides

KEPT = (nodes.paragraph, nodes.title, nodes.term)  # of a section's text: no code, no players
FROM_DISK = """if (location.protocol === "file:") {
  const texts = %s;
  window.fetch = url => Promise.resolve({text: () => texts[url.replace(/^\\.\\//, "").replace(/\\.html.*$/, "")] || ""});
}
document.addEventListener("DOMContentLoaded", () => {  // a term of a page stands for the page, which the search would name as well
  const search = Search._performSearch;
  Search._performSearch = (...given) => search(...given).filter(([page, title, anchor], i, all) =>
    anchor || !all.some(other => other[0] === page && other[1] === title && other[2]));
});"""


def setup(app) -> dict:
    """Sphinx calls this: `_config.yml` names the module as an extension."""
    app.connect("doctree-resolved", explain_terms)
    app.connect("doctree-resolved", keep_together)
    app.connect("doctree-resolved", show_before_code)
    app.connect("html-page-context", carry_texts)
    app.connect("html-page-context", reach_tables)
    app.connect("build-finished", slides.write)
    app.add_directive("recall", Recall)
    return {"parallel_read_safe": True, "parallel_write_safe": True}


class Recall(SphinxDirective):
    """`{recall}`: what benchmarks/audit.py measured, read when the page is built."""

    def run(self) -> list[nodes.Node]:
        from helpers.book.recall import recall  # pandas: only where it is needed

        return self.parse_text_to_nodes(recall(Path(self.env.srcdir).parent / "benchmarks" / "audit.csv"))


def explain_terms(app, doctree: nodes.document, docname: str) -> None:
    """Gives each link to the glossary the first paragraph of the meaning as its title."""
    known = None
    for link in doctree.findall(nodes.reference):
        if any("std-term" in inline["classes"] for inline in link.findall(nodes.inline)):
            known = known if known is not None else _meanings(app)
            name = link.get("refid") or link.get("refuri", "").partition("#")[2]
            if name in known:
                link["reftitle"] = known[name]


def keep_together(app, doctree: nodes.document, docname: str) -> None:
    """Lets no line break come between a number and its per cent sign, where both are in one piece of text."""
    for text in list(doctree.findall(nodes.Text)):
        if not isinstance(text.parent, nodes.raw | nodes.literal | nodes.FixedTextElement) and re.search(r"\d %", text):
            text.parent.replace(text, nodes.Text(re.sub(r"(\d) %", "\\1\u00a0%", text)))


def show_before_code(app, doctree: nodes.document, docname: str) -> None:
    """Puts code below what it shows. What a chapter begins with stands under one fold, up to the code of what it shows first."""
    head, last = None, None
    for cell in [node for node in doctree.findall(nodes.container) if node.get("nb_element") == "cell_code"]:
        code, *shown = cell.children
        if code.tagname != "HideCodeCellNode":
            continue
        if "tag_parameters" in cell["classes"]:
            code["prompt_show"], code["prompt_hide"] = "Rerun this page", "Rerun this page: close"
            head = last = cell
        elif last and cell.parent is last.parent and cell.parent.index(cell) == last.parent.index(last) + 1:
            notes = [node for output in shown for node in _served(output)]
            head[0].extend([*code.children, *notes])
            cell.children = [output for output in shown if output.astext().strip() or output.next_node(nodes.image)]
            if cell.children:
                last = cell
            else:
                cell.parent.remove(cell)
        elif shown:
            cell.children = [*shown, code]


def _served(output: nodes.Element) -> list[nodes.Node]:
    """Takes what `parameters.begin` says of other settings out of a cell's output."""
    for mark in output.findall(nodes.raw):
        if 'class="served"' in mark.astext():
            beside, at = mark.parent, mark.parent.index(mark)
            found = beside[at:]
            del beside[at:]
            return found
    return []


@cache
def _meanings(app) -> dict[str, str]:
    found = {}
    for page in app.env.found_docs:
        if page != "glossary":
            continue
        for item in app.env.get_doctree(page).findall(nodes.definition_list_item):
            meaning = next(item.findall(nodes.definition), None)
            paragraph = meaning and next(meaning.findall(nodes.paragraph), None)
            for term in item.findall(nodes.term):
                found |= dict.fromkeys(term["ids"], _plain(app, paragraph) if paragraph else "")
    return found


def carry_texts(app, pagename: str, templatename: str, context: dict, doctree) -> None:
    """Puts every page's text on the search page, by page and section as the search looks for them."""
    if pagename != "search":
        return
    pages = sorted(page for page in app.env.found_docs if "nosearch" not in app.env.metadata[page])
    texts = {page: f'<div role="main">{_sections(app, app.env.get_doctree(page))}</div>' for page in pages}
    app.add_js_file(None, body=FROM_DISK % json.dumps(texts).replace("</", "<\\/"))


def reach_tables(app, pagename: str, templatename: str, context: dict, doctree) -> None:
    """Lets a keyboard scroll the tables of the text, which scroll where the page is narrower than they are."""
    if "body" in context:
        context["body"] = context["body"].replace('<table class="table', '<table tabindex="0" class="table')


def _sections(app, node: nodes.Element) -> str:
    parts = []
    for child in node.children:
        if isinstance(child, nodes.section):
            inner = _sections(app, child)
            for name in child["ids"]:
                inner = f'<section id="{name}">{inner}</section>'
            parts.append(inner)
        elif isinstance(child, KEPT):
            parts.append(escape(_plain(app, child), quote=False) + " ")
        elif isinstance(child, nodes.Element):
            parts.append(_sections(app, child))
    return "".join(parts)


def _plain(app, node: nodes.Element) -> str:
    """A node's words on one line, without raw markup; what is cited by author and year."""
    node, cited = node.deepcopy(), app.env.get_domain("cite")
    for link in list(node.findall(pending_xref)):
        if link["refdomain"] == "cite":
            given = link["refdoc"], app.builder, link["reftype"], link["reftarget"], link, link[0]
            link.replace_self(cited.resolve_xref(app.env, *given))
    words = "".join(text.astext() for text in node.findall(nodes.Text) if not isinstance(text.parent, nodes.raw))
    return re.sub(r"\s+", " ", words).strip()
