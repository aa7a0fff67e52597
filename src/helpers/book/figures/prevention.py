"""Figure of what prevents copying: how often clips are copied, and how good they are, over the updates.

Notebook: 10_prevention.
"""

import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from helpers.book.figures.axes import check_columns, count_axis, legend_above, new_axes, percent_axis
from helpers.book.theme import COLOURS, themed
from helpers.copies.conclusions.prevention import told_alike

PANELS = {"own_near_exact_rate": "Near-exact of the own clip", "kid": "Held-out KID: lower is better"}


@themed("Two panels over updates, one line for each run: the share of near-exact clips beside that of twins, and the distance of held-out clips to real sound with its "
        "interval. A ring marks the checkpoint where that distance is least.")  # fmt: skip
def plot_trajectories(table: pd.DataFrame, twins: float) -> Figure:
    """A colour for each intervention and a line for each draw, the KID with its interval; a ring at the lowest. No KID where it is
    of another number of clips (`told_alike`).

    Columns: intervention, draw, updates, own_near_exact_rate, kid, kid_low, kid_high, n_compared; of one detector. `twins`: the share of
    twins that counts as near-exact.
    """
    table = check_columns(table, "intervention", "draw", "updates", *PANELS, "kid_low", "kid_high", "n_compared")
    alike = told_alike(table)
    figure, axes = new_axes(1, 2, 3.4)
    palette = dict(zip(table["intervention"].unique(), map(COLOURS.get, ("grey", "orange", "green", "purple"))))
    best = alike.loc[alike.groupby(["intervention", "draw"])["kid"].idxmin()]
    for axis, (column, title) in zip(axes.flat, PANELS.items()):
        sns.lineplot(
            alike if column == "kid" else table, x="updates", y=column, hue="intervention", palette=palette, units="draw", estimator=None,
            legend=False, ax=axis,
        )  # fmt: skip
        axis.scatter(
            best["updates"],
            best[column],
            s=70,
            facecolors="none",
            edgecolors=best["intervention"].map(palette),
            linewidths=1.6,
        )
        axis.set(title=title, xlabel="updates", ylabel="", xscale="log")
        axis.set_xlim(table["updates"].min() / 1.15, table["updates"].max() * 1.15)  # of both panels
        count_axis(axis.xaxis, [2000, 5000, 15000])
    for (name, _), run in alike.sort_values("updates").groupby(["intervention", "draw"]):
        axes[0][1].fill_between(
            run["updates"], run["kid_low"], run["kid_high"], color=palette[name], alpha=0.15, linewidth=0
        )
    level = axes[0][0].axhline(twins, color=COLOURS["blue"], linewidth=1.2, label="twins: no copies")
    axes[0][1].set_ylim(bottom=min(0, axes[0][1].get_ylim()[0]))
    percent_axis(axes[0][0].yaxis)
    legend_above(figure, [*(Line2D([], [], color=colour, label=name) for name, colour in palette.items()), level])
    return figure
