"""What the figures share: axes, checks of the data, ticks, a colour for each training size and its number at the line's end.

The smallest size is orange, the largest green, those between are grey; what copied nothing is blue.
"""

from collections.abc import Mapping

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from helpers.book.theme import COLOURS, INK, WIDTH_IN
from helpers.sound.transforms import TRANSFORMS

MOST_PANELS = 3  # of one row: more would be too narrow for their titles
MOST_TICKS = 8  # of numbers that are not round: more would run into one another
LETTER, LINE = 0.022, 0.055  # of a text at a line's end, as shares of its panel
LEGEND_ROW = 100  # letters that a row of a legend has room for
LEGEND_LINE = 9  # of them, what the line and the gap of an entry take


def new_axes(rows: int = 1, columns: int = 1, height_in: float = 3.2, **kwargs):
    """A figure of the book's width and its axes [rows, columns]; `kwargs` go to `Figure.subplots`."""
    figure = Figure(figsize=(WIDTH_IN, height_in))
    return figure, figure.subplots(rows, columns, squeeze=False, **kwargs)


def size_panels(sizes, height_in: float, **kwargs):
    """A figure and a panel for each of `sizes`, of equal height, in rows of MOST_PANELS at most."""
    columns = min(len(sizes), MOST_PANELS)
    rows = -(-len(sizes) // columns)
    figure, axes = new_axes(rows, columns, height_in * rows, **kwargs)
    panels = list(axes.flat)
    for axis in panels[len(sizes) :]:
        axis.remove()
    for axis in panels[len(sizes) - columns : len(sizes)]:
        axis.tick_params(labelbottom=True)  # also where the panel below is not there
    return figure, panels[: len(sizes)]


def legend_above(figure: Figure, handles) -> None:
    """A legend over the whole figure, in one row, or in two where they are too many or too long for one."""
    letters = sum(len(str(handle.get_label())) + LEGEND_LINE for handle in handles)
    columns = len(handles) if len(handles) <= 5 and letters <= LEGEND_ROW else -(-len(handles) // 2)
    figure.legend(handles=handles, loc="outside upper left", ncols=columns)


def check_columns(data: pd.DataFrame, *names: str) -> pd.DataFrame:
    """`data`; raises ValueError where it has no rows or lacks a column."""
    missing = [name for name in names if name not in data]
    if missing or data.empty:
        raise ValueError(f"data: expected rows with columns {', '.join(names)}, got {len(data)} rows without {missing}")
    return data


def percent_axis(axis) -> None:
    """Shares on this axis are written in per cent."""
    axis.set_major_formatter(mpl.ticker.FuncFormatter(lambda share, _: f"{100 * share:g} %"))


def share_axis(axis, which: str) -> None:
    """Shares on the axis `which`, x or y: linear below 1 %, so that zero has a place, logarithmic above."""
    getattr(axis, f"set_{which}scale")("symlog", linthresh=0.01, linscale=0.5)
    getattr(axis, f"set_{which}lim")(-0.0015, 2)
    ticks = getattr(axis, f"{which}axis")
    ticks.set_major_locator(mpl.ticker.FixedLocator([0, 0.01, 0.1, 1]))
    ticks.set_minor_locator(mpl.ticker.NullLocator())
    percent_axis(ticks)


def count_axis(axis, ticks) -> None:
    """Ticks of a logarithmic axis at these numbers, written out; at round ones between them, where they are many."""
    ticks = sorted(set(ticks))
    if len(ticks) > MOST_TICKS:
        ticks = round_ticks(ticks[0], ticks[-1]) or ticks[:1]
    axis.set_major_locator(mpl.ticker.FixedLocator(ticks))
    axis.set_major_formatter(mpl.ticker.StrMethodFormatter("{x:,.0f}"))
    axis.set_minor_locator(mpl.ticker.NullLocator())


def round_ticks(least: float, most: float) -> list[int]:
    """1, 3, 10, 30 and so on, as far as they lie between these; where they are many, every second."""
    ticks = [digit * 10**power for power in range(7) for digit in (1, 3) if least <= digit * 10**power <= most]
    return ticks[:: 1 if len(ticks) <= 4 else 2]


def side_by_side(table: pd.DataFrame, x: str, step: float) -> bool:
    """Whether training sizes stand side by side on a logarithmic axis, `step` apart (`beside`): where several have rows at one
    moment, and there is room for all of them before the next."""
    moments = table.drop_duplicates(["n_train", x]).sort_values(x).groupby("n_train")[x]
    room = (moments.shift(-1) / moments.shift(0)).median()
    crowded = room <= step ** (table["n_train"].nunique() - 1)
    return bool(table.groupby(x)["n_train"].nunique().max() > 1) and not crowded


def beside(x, place: int, count: int, step: float = 1.12):
    """These numbers for a logarithmic axis, moved a little, so that what `count` groups have at one number stands side by side."""
    return x * step ** (place - (count - 1) / 2)


def scale_of(values) -> str:
    """How an axis of these numbers is scaled: "log", or "linear" where one is zero, as the updates of a model that was loaded."""
    return "log" if min(values) > 0 else "linear"


def shades_of(values) -> dict:
    """A colour for each value in order: the smallest orange, the largest green, those between grey. A single one is orange."""
    ordered = sorted(set(values))
    ends = {ordered[-1]: COLOURS["green"], ordered[0]: COLOURS["orange"]}
    return dict.fromkeys(ordered, COLOURS["grey"]) | ends


def front(value, values) -> int:
    """The layer of a value's line: those of the ends lie over those between."""
    return 3 if value in (min(values), max(values)) else 2


def write_ends(axis, lines: Mapping[str, Line2D]) -> None:
    """Each text to the right of its line's end, in its colour; where a line or another text is, above the end, or else higher or lower.
    Makes room on the right of the axis. What is drawn afterwards may cover it."""
    axis.margins(x=0.04)
    axis.autoscale_view()
    room = LETTER * max(map(len, lines))
    low, high = axis.transData.inverted().transform(axis.transAxes.transform([(0, 0), (1 / (1 - room), 0)]))[:, 0]
    axis.set_xlim(low, high)
    edges = [edge for band in axis.patches for edge in (band.get_y(), band.get_y() + band.get_height())]
    across = np.array([(x, edge) for edge in edges for x in np.linspace(0, 1, 50)]).reshape(-1, 2)
    across = (axis.get_yaxis_transform() + axis.transAxes.inverted()).transform(across)
    taken = np.concatenate([*(_along(line, axis) for line in axis.lines), across])
    ends = [(text, line, *end) for text, line in lines.items() for end in _along(line, axis)[-1:]]
    for text, line, x, y in sorted(ends, key=lambda end: -abs(end[3] - 0.5)):  # from the outside to the middle
        width = LETTER * (len(text) + 1)
        moved = [(x, y + sign * step / 100) for step in range(1, 60) for sign in (1, -1)]
        places = [(x, y), (x - width, y + LINE), *moved]
        at = next((place for place in places if _free(*place, width, taken)), (x, y))
        taken = np.concatenate([taken, [(at[0] + step * width, at[1]) for step in np.linspace(0.1, 1, 20)]])
        axis.annotate(
            text, at, (5, 0), "axes fraction", textcoords="offset points", va="center", size=8, color=line.get_color(),
        )  # fmt: skip


def _free(left: float, y: float, width: float, taken: np.ndarray) -> bool:
    """Whether a text fits into the panel here, and on none of the points `taken`."""
    across = taken[(taken[:, 0] > left + LETTER / 2) & (taken[:, 0] < left + width), 1]
    return left > 0 and LINE / 2 < y < 1 - LINE / 2 and not (np.abs(across - y) < 0.99 * LINE).any()


def _along(line: Line2D, axis) -> np.ndarray:
    """Points along a line, the last one its end, as shares of the panel [P, 2]; none of a line whose values are all unknown."""
    known = np.ma.compress_rows(np.ma.masked_invalid(line.get_xydata()))
    if not len(known):
        return np.empty((0, 2))
    x, y = (line.get_transform() + axis.transAxes.inverted()).transform(known).T
    steps = np.linspace(0, len(x) - 1, 20 * len(x))
    return np.column_stack([np.interp(steps, range(len(x)), of) for of in (x, y)])


def honest_band(axis, low: float, high: float, text: str, inside: bool = False) -> None:
    """What clips reach that copied nothing, as a blue band (a line where it has no height), named above it on the right, or `inside` it on the left.
    What `write_ends` writes afterwards keeps off its edges."""
    blue = COLOURS["blue"]
    axis.axhspan(low, high, facecolor=(blue, 0.18), edgecolor=(blue, 0.6), linewidth=1)
    axis.annotate(
        text, (0.02 if inside else 0.98, high), (0, -3 if inside else 2), ("axes fraction", "data"),
        textcoords="offset points", size=8, color=INK, ha="left" if inside else "right", va="top" if inside else "bottom",
    )  # fmt: skip


def strength_text(name: str, values: list[float]) -> str:
    """An alteration's strengths with their unit, as "3, 6 dB"."""
    unit = TRANSFORMS[name].unit if name in TRANSFORMS else ""
    return f"{', '.join(f'{value:g}' for value in values)} {unit}".strip()
