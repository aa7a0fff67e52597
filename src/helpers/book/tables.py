"""Tables of the chapters: escaped, captioned, readable by screen readers, scrolling in their own box on a phone, each with
its CSV to download. A page shows one or two; the others are folded."""

import base64
import re
from collections.abc import Mapping, Sequence
from html import escape

import pandas as pd
from IPython.display import HTML, display

from helpers.base.spreadsheet import inert
from helpers.book.cards import folded
from helpers.book.words import file_stem, shares

_CELL = "padding:.25rem .7rem;border:0;border-bottom:1px solid var(--pst-color-border,#ccc);vertical-align:top"


def captioned(data: pd.DataFrame, caption: str, formats: Mapping[str, str] | None = None) -> pd.DataFrame:
    """`data` with the caption and the formats that it is shown with, in its `attrs`: column to format (".3f", ".1%")."""
    data.attrs.update(caption=caption, formats=formats)
    return data


def table_html(data: pd.DataFrame, titled: bool = False) -> str:
    """A `captioned` table without its index, with a link to its CSV; a missing value is a dash.

    Without a format whole numbers have commas and others three digits. Where it stands under its caption already
    (`titled`), that is not repeated. Raises ValueError for a format of a column that is not there.
    """
    caption, formats = data.attrs.get("caption", ""), data.attrs.get("formats")
    unknown = set(formats or {}) - set(data.columns)
    if unknown:
        raise ValueError(f"formats: expected columns among {', '.join(map(str, data.columns))}, got {min(unknown)!r}")
    whole = [name for name in data.columns if pd.api.types.is_integer_dtype(data[name])]
    formats = dict.fromkeys(whole, ",") | dict(formats or {})
    align = {name: "right" if _is_of_numbers(data[name]) else "left" for name in data.columns}
    head = "".join(
        f'<th scope="col" style="{_CELL};text-align:{align[name]}">{escape(str(name))}</th>' for name in data.columns
    )
    rows = "".join(
        "<tr>"
        + "".join(
            f'<td style="{_CELL};text-align:{align[name]}">{_cell(value, formats.get(name))}</td>'
            for name, value in zip(data.columns, row)
        )
        + "</tr>"
        for row in data.itertuples(index=False, name=None)
    )
    head_line = (
        f'<caption style="caption-side:top;text-align:left;max-width:calc(100vw - 2rem)">{escape(caption)}</caption>'
    )
    return (
        '<div class="table-box" style="overflow-x:auto;max-width:100%" tabindex="0" role="group" '
        f'aria-label="{escape(caption) if titled else "Table"}">'
        '<table class="data" style="border-collapse:collapse;width:auto;margin-inline:0">'
        f"{'' if titled else head_line}<thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table>"
        f"{_csv_link(data, caption)}</div>"
    )


def show_tables(*tables: pd.DataFrame) -> None:
    """Displays tables that are `captioned` in the notebook, one below the other; of one without rows nothing."""
    for table in filter(len, tables):
        display(HTML(table_html(table)))


def fold_tables(*tables: pd.DataFrame) -> None:
    """Displays tables that are `captioned`, each folded under what its caption begins with; of one without rows nothing."""
    for table in filter(len, tables):
        title, *more = re.split(r" \(|; |\. ", table.attrs["caption"], maxsplit=1)
        display(folded(f"Table: {title}", [table_html(table, titled=not more)]))


def arrange(
    data: pd.DataFrame, columns: Mapping[str, str | tuple | Sequence], caption: str = "", formats: Mapping | None = None
) -> pd.DataFrame:
    """A `captioned` table of titles, each with the column of `data`, the columns of a share and its limits, or the values.

    `{"n": "n_train", "near-exact": limits("near_exact_rate"), "note": notes}`; a share and its limits, a tuple, are written as
    one text (`words.shares`).
    """
    made = {
        title: data[of] if isinstance(of, str) else shares(data, *of) if isinstance(of, tuple) else of
        for title, of in columns.items()
    }
    return captioned(pd.DataFrame(made, data.index), caption, formats)


def _csv_link(data: pd.DataFrame, caption: str) -> str:
    """The table as a file inside the page, named after its caption's beginning; captions of clips are no formulas there."""
    held = base64.b64encode(inert(data).to_csv(index=False).replace("\u00a0", " ").encode()).decode()
    return f'<a class="table-csv" data-caption="{escape(caption)}" download="{file_stem(caption)}.csv" href="data:text/csv;charset=utf-8;base64,{held}">CSV</a>'


def _is_of_numbers(values: pd.Series) -> bool:
    """Also of numbers that are written already, as "1,500", with dashes where one is missing."""
    return pd.api.types.is_numeric_dtype(values) or values.map(str).str.fullmatch(r"[-–+\d.,]+").all()


def _cell(value, spec: str | None) -> str:
    if pd.api.types.is_scalar(value) and pd.isna(value):
        return "–"
    if isinstance(value, float) and spec is None:
        spec = ".3g"
    if spec and spec.endswith("%"):
        return escape(f"{100 * value:{spec[:-1]}f}\u00a0%")
    return escape(format(value, spec) if spec else str(value))
