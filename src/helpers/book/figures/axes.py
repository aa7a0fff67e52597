"""What the figures share: axes, checks of the data, ticks, and a colour and a marker for each training size.

Training sizes have the warm colours, numbers of updates the cool ones.
"""

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from helpers.book.theme import WIDTH_IN
from helpers.sound.transforms import TRANSFORMS

MARKERS = "osD^vPX*"
MOST_PANELS = 3  # of one row: more would be too narrow for their titles
MOST_TICKS = 8  # of numbers that are not round: more would run into one another


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
    """A legend over the whole figure, in one row, or in two where they are too many for one."""
    columns = len(handles) if len(handles) <= 5 else -(-len(handles) // 2)
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


def count_axis(axis, ticks) -> None:
    """Ticks of a logarithmic axis at these numbers, written out; at round ones between them, where they are many."""
    ticks = sorted(set(ticks))
    if len(ticks) > MOST_TICKS:
        rounded = round_ticks(ticks[0], ticks[-1])
        ticks = rounded[:: 1 if len(rounded) <= 5 else 2] or ticks[:1]
    axis.set_major_locator(mpl.ticker.FixedLocator(ticks))
    axis.set_major_formatter(mpl.ticker.StrMethodFormatter("{x:,.0f}"))
    axis.set_minor_locator(mpl.ticker.NullLocator())


def round_ticks(least: float, most: float) -> list[int]:
    """1, 3, 10, 30 and so on, as far as they lie between these."""
    return [digit * 10**power for power in range(7) for digit in (1, 3) if least <= digit * 10**power <= most]


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


def shades_of(values, ramp: str = "plasma") -> dict:
    """A colour for each value in order; the ends that would vanish on white or on black are left out."""
    low, high = {"plasma": (0.42, 0.74), "viridis": (0.35, 0.8)}[ramp]
    ordered = sorted(set(values))
    return dict(zip(ordered, map(mpl.colors.to_hex, mpl.colormaps[ramp](np.linspace(low, high, len(ordered))))))


def markers_of(values) -> dict:
    """A marker for each value in order."""
    return dict(zip(sorted(set(values)), MARKERS * len(set(values))))


def size_handles(sizes) -> list[Line2D]:
    """Legend entries of the training sizes."""
    shades, shapes = shades_of(sizes), markers_of(sizes)
    return [Line2D([], [], color=shades[n], marker=shapes[n], label=f"{n:,} clips") for n in shades]


def strength_text(name: str, values: list[float]) -> str:
    """An alteration's strengths with their unit, as "3, 6 dB"."""
    unit = TRANSFORMS[name].unit if name in TRANSFORMS else ""
    return f"{', '.join(f'{value:g}' for value in values)} {unit}".strip()
