"""What any built book must satisfy: each check takes the folder of pages and returns its problems, a line each."""

import base64
import binascii
import re
from functools import lru_cache
from pathlib import Path
from urllib.parse import unquote, urlsplit

import nbformat
from bs4 import BeautifulSoup

REMOTE = re.compile(r"^(https?:)?//", re.IGNORECASE)
LEFT_OVER = re.compile(r"\*\w[^*\n]*\*|\{(term|glue|cite)\S*\}`|:::")  # Markdown that was shown, not set
SOURCES = {
    "script": "src",
    "img": "src",
    "audio": "src",
    "source": "src",
    "video": "src",
    "iframe": "src",
    "link": "href",
}
GENERATED = {"search.html", "genindex.html"}  # pages of the builder, without content of ours


def pages(root: Path) -> list[Path]:
    """Every HTML page of the book, `_static` aside."""
    return [path for path in sorted(root.rglob("*.html")) if "_static" not in path.relative_to(root).parts]


@lru_cache(maxsize=256)
def soup(path: Path) -> BeautifulSoup:
    return BeautifulSoup(path.read_text(encoding="utf-8"), "html.parser")


@lru_cache(maxsize=256)
def anchors(path: Path) -> frozenset[str]:
    return frozenset(
        tag.get("id") or tag.get("name") for tag in soup(path).find_all(lambda t: t.get("id") or t.get("name"))
    )


def _decodes(uri: str) -> bool:
    head, _, body = uri.partition(",")
    try:
        return bool(base64.b64decode(body, validate=True) if head.endswith(";base64") else body)
    except binascii.Error:
        return False


def _check_target(page: Path, root: Path, url: str) -> str | None:
    if url.startswith("data:"):
        return None if _decodes(url) else f"data URI does not decode: {url[:40]}…"
    parts = urlsplit(url)
    if parts.scheme or REMOTE.match(url):
        return None
    target = (page.parent / unquote(parts.path)).resolve() if parts.path else page
    if not target.is_relative_to(root.resolve()) or not target.exists():
        return f"no such file: {url}"
    if parts.fragment and target.suffix == ".html" and unquote(parts.fragment) not in anchors(target):
        return f"no such anchor: {url}"
    return None


def check_links(root: Path) -> list[str]:
    """Every relative href and src points at a file that exists, every #fragment at an id; data URIs decode."""
    problems = []
    for page in pages(root.resolve()):
        for tag in soup(page).find_all(lambda t: t.get("href") or t.get("src")):
            for url in filter(None, (tag.get("href"), tag.get("src"))):
                if url not in ("#", "") and (problem := _check_target(page, root, url)):
                    problems.append(f"{page.relative_to(root.resolve())}: <{tag.name}> {problem}")
    return problems


def check_offline(root: Path) -> list[str]:
    """No page and no style sheet asks for anything from another machine."""
    problems = []
    for page in pages(root):
        for tag in soup(page).find_all(list(SOURCES)):
            url = tag.get(SOURCES[tag.name]) or ""
            if REMOTE.match(url) and tag.get("rel") not in (["canonical"], ["license"]):
                problems.append(f"{page.relative_to(root)}: <{tag.name}> remote {url}")
    for sheet in root.rglob("*.css"):
        for url in re.findall(r"url\(\s*['\"]?([^'\")]+)|@import\s+['\"]([^'\"]+)", sheet.read_text(encoding="utf-8")):
            address = "".join(url)
            if REMOTE.match(address):
                problems.append(f"{sheet.relative_to(root)}: remote {address}")
            elif not address.startswith(("data:", "#")) and not (sheet.parent / urlsplit(address).path).exists():
                problems.append(f"{sheet.relative_to(root)}: no such file: {address}")
    return problems


def check_outputs(root: Path) -> list[str]:
    """No exception, warning or other text on stderr among a page's outputs, and no figure's caption under anything else."""
    problems = []
    for page in pages(root):
        article = soup(page).find("article") or soup(page)
        for output in article.select(".cell_output .stderr, .cell_output .traceback"):
            problems.append(f"{page.relative_to(root)}: output {output.get_text()[:80]!r}")
        for figure in article.select("figure:has(figcaption):not(.player)"):
            if not figure.find(("svg", "img")):
                problems.append(f"{page.relative_to(root)}: a caption without a figure")
        prose = (
            text
            for text in article.find_all(string=LEFT_OVER)
            if not text.find_parent(["pre", "code", "script", "style"])
        )
        problems += [f"{page.relative_to(root)}: markup left over: {text.strip()[:80]!r}" for text in prose]
        if "Traceback (most recent call last)" in article.get_text():
            problems.append(f"{page.relative_to(root)}: a traceback")
    return problems


def check_accessible(root: Path) -> list[str]:
    """Images carry an alternative text, figures and players a name, players a source; each page one main heading."""
    problems = []
    for page in pages(root):
        article = soup(page).find("article")
        faults = [f"<img> without alt: {str(tag)[:60]}" for tag in soup(page).find_all("img", alt=False)]
        if article is not None:
            faults += [
                f"empty alt: {str(tag)[:60]}" for tag in article.find_all("img") if not (tag.get("alt") or "").strip()
            ]
            faults += [
                "figure without a name" for tag in article.find_all("svg", role="img") if not tag.get("aria-label")
            ]
        for audio in soup(page).find_all("audio"):
            source = audio.get("src") or (audio.source and audio.source.get("src"))
            faults += [] if source else ["<audio> without a source"]
            faults += [] if audio.get("aria-label") else ["<audio> without a name"]
        if page.name not in GENERATED and article is not None and len(article.find_all("h1")) != 1:
            faults.append(f"{len(article.find_all('h1'))} main headings")
        problems += [f"{page.relative_to(root)}: {fault}" for fault in faults]
    return problems


def check_notebooks(folder: Path) -> list[str]:
    """No executed notebook in `folder` holds an error, or text on stderr; each code cell was run."""
    problems = []
    for path in sorted(folder.glob("*.ipynb")):
        for number, cell in enumerate(nbformat.read(path, as_version=4).cells):
            if cell.cell_type != "code" or "raises-exception" in cell.metadata.get("tags", []):
                continue
            if cell.source.strip() and cell.execution_count is None:
                problems.append(f"{path.name} cell {number}: not executed")
            for output in cell.outputs:
                if output.output_type == "error" or output.get("name") == "stderr":
                    problems.append(
                        f"{path.name} cell {number}: {output.get('ename', 'stderr')} {output.get('text', '')[:80]}"
                    )
    return problems


def check_book(root: Path) -> list[str]:
    """All checks of the HTML."""
    return check_links(root) + check_offline(root) + check_outputs(root) + check_accessible(root)
