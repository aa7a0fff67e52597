"""What a rerun page opens with: the settings that differ from the baseline's, then the numbers that came out otherwise.

Pages of one chapter are kept side by side under runs/chapters/<name>/; the baseline is the one without any other setting.
"""

import base64
import io
import re
from html import unescape
from pathlib import Path

import nbformat
import pandas as pd

from helpers.book.chapters import Chapter
from helpers.book.tables import captioned, table_html

TABLE = re.compile(r'data-caption="([^"]*)" download="[^"]*" href="data:text/csv;charset=utf-8;base64,([^"]+)"')
MOST_ROWS = 8  # of changed numbers that the page lists of each table


def read_tables(book: nbformat.NotebookNode) -> dict[tuple[str, int], tuple[str, pd.DataFrame]]:
    """The tables of an executed notebook by cell and place, each with its caption, all values as text."""
    found = {}
    for cell in book.cells:
        html = "".join(output.get("data", {}).get("text/html", "") for output in cell.get("outputs", ()))
        for place, (caption, held) in enumerate(TABLE.findall(html)):
            data = pd.read_csv(io.BytesIO(base64.b64decode(held)), dtype=str, keep_default_na=False)
            found[cell.get("id", ""), place] = unescape(caption), data
    return found


def changed_numbers(baseline: nbformat.NotebookNode, book: nbformat.NotebookNode) -> tuple[pd.DataFrame, int]:
    """Cells of the tables of both that differ (table, row, column, baseline, here), and how many tables do not differ.

    A row is called by what it begins with, all columns that do not differ up to the first that does. Where a table has other
    rows or columns than before, that alone is said.
    """
    before, rows, alike = read_tables(baseline), [], 0
    for key, (caption, table) in read_tables(book).items():
        _, old = before.get(key, ("", pd.DataFrame()))
        if table.equals(old):
            alike += 1
        elif table.shape != old.shape or list(table) != list(old):
            sizes = (f"{len(data)} rows of {data.shape[1]} columns" if len(data) else "none" for data in (old, table))
            rows.append((caption, "the whole table", "", *sizes))
        else:
            differ = table.ne(old)
            first = int(differ.any().to_numpy().argmax())
            for at in differ.index[differ.any(axis=1)]:
                name = ", ".join(table.iloc[at, : max(first, 1)])
                rows += [
                    (caption, name, column, old.at[at, column], table.at[at, column])
                    for column in table.columns[differ.loc[at]]
                ]
    return pd.DataFrame(rows, columns=["table", "row", "column", "baseline", "here"]), alike


def opening(chapter: Chapter, book: nbformat.NotebookNode, baseline: Chapter, page: Path) -> str:
    """Markdown for below the title of a rerun page: what changed against the baseline; `page` is its executed notebook, if any."""
    settings = [
        f"`{name}` {_text(getattr(baseline.config, name))} → {_text(new)}" for name, new in chapter.changed.items()
    ]
    parts = [f"**Settings:** {'; '.join(settings)}."]
    if not page.is_file():
        profile = "" if chapter.profile.name == "pocket" else f" PROFILE={chapter.profile.name}"
        command = f"make chapter NAME={chapter.name}{profile}"
        parts.append(
            f"**Numbers:** the baseline was not run. Run `{command}`, then this once more; that takes seconds."
        )
    else:
        rows, alike = changed_numbers(nbformat.read(page, as_version=4), book)
        said = f"{len(rows):,} changed in the page's tables" if len(rows) else "none changed in the page's tables"
        listed = rows.groupby("table", sort=False).head(MOST_ROWS)
        first = f" Here are the first {MOST_ROWS} of each." if len(listed) < len(rows) else ""
        parts.append(
            f"**Numbers:** {said}; {alike} of {alike + rows['table'].nunique()} tables are as they were.{first}"
        )
        if len(rows):
            parts.append(table_html(captioned(listed, "Numbers that changed.")))
    body = "\n\n".join(parts)
    return f":::{{admonition}} What changed against the baseline\n:class: note changed\n{body}\n:::\n"


def _text(value) -> str:
    return f"[{','.join(map(str, value))}]" if isinstance(value, tuple) else str(value)
