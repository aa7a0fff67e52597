"""Tables of the chapters: escaped, captioned, readable by screen readers, scrolling in their own box on a phone."""

from collections.abc import Mapping
from html import escape

import pandas as pd
from IPython.display import HTML, display

_CELL = "padding:.25rem .7rem;border:0;border-bottom:1px solid var(--pst-color-border,#ccc);vertical-align:top"


def table_html(data: pd.DataFrame, caption: str, formats: Mapping[str, str] | None = None) -> str:
    """`data` without its index. `formats`: column to format (".3f", ".1%", ","); a missing value is a dash.

    Raises ValueError for a format of a column that is not there.
    """
    formats = dict(formats or {})
    unknown = set(formats) - set(data.columns)
    if unknown:
        raise ValueError(f"formats: expected columns among {', '.join(map(str, data.columns))}, got {min(unknown)!r}")
    align = {name: "right" if pd.api.types.is_numeric_dtype(data[name]) else "left" for name in data.columns}
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
    return (
        '<div class="table-box" style="overflow-x:auto;max-width:100%" tabindex="0" role="group" aria-label="Table">'
        '<table class="data" style="border-collapse:collapse;width:auto">'
        f'<caption style="caption-side:top;text-align:left">{escape(caption)}</caption>'
        f"<thead><tr>{head}</tr></thead><tbody>{rows}</tbody></table></div>"
    )


def show_table(data: pd.DataFrame, caption: str, formats: Mapping[str, str] | None = None) -> None:
    """Displays `table_html` in the notebook."""
    display(HTML(table_html(data, caption, formats)))


def with_interval(data: pd.DataFrame, value: str, low: str, high: str, percent: bool = True) -> list[str]:
    """One text a row, "25 % (12 to 41)" or "0.25 (0.12 to 0.41)", from three columns; a missing value is a dash."""
    texts = []
    for row in data[[value, low, high]].itertuples(index=False, name=None):
        number, *limits = (100 * x if percent else x for x in row)
        spec = ".1f" if percent else ".3g"
        unit = "\u00a0%" if percent else ""
        bounds = "" if any(map(pd.isna, limits)) else f" ({limits[0]:{spec}} to {limits[1]:{spec}})"
        texts.append("–" if pd.isna(number) else f"{number:{spec}}{unit}{bounds}")
    return texts


def _cell(value, spec: str | None) -> str:
    if pd.api.types.is_scalar(value) and pd.isna(value):
        return "–"
    if isinstance(value, float) and spec is None:
        spec = ".3g"
    if spec and spec.endswith("%"):
        return escape(f"{100 * value:{spec[:-1]}f}\u00a0%")
    return escape(format(value, spec) if spec else str(value))
