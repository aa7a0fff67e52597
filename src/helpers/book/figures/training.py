"""Figures of training: which models there are, and a loss curve.

Notebook: 03_training.
"""

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from helpers.book.figures.axes import check_columns, count_axis, legend_above, new_axes
from helpers.book.theme import COLOURS, INK, themed


@themed()
def plot_training_lengths(points: pd.DataFrame, batch_size: int, n_train: int) -> Figure:
    """Which (training clips, updates) a study has models of; the page's own size is filled. A diagonal is equal epochs: those of
    the size that ends after the fewest, as all sizes come near to them.

    Columns: n_train, updates.
    """
    check_columns(points, "n_train", "updates")
    ends_at = points.groupby("n_train")["updates"].max()
    epochs = max(1, round((ends_at * batch_size / ends_at.index).min()))
    figure, axes = new_axes(height_in=3.6)
    axis = axes[0, 0]
    own = points["n_train"] == n_train
    for mask, face in ((own, COLOURS["orange"]), (~own, "none")):
        axis.scatter(
            points["n_train"][mask], points["updates"][mask], s=55, zorder=3, facecolor=face,
            edgecolor=COLOURS["orange"], linewidth=1.5,
        )  # fmt: skip
    last = int(points.loc[own if own.any() else slice(None), "updates"].max())
    low, high = points["n_train"].min() / 1.6, points["n_train"].max() * 1.6
    ends = np.array([low, high])
    axis.axhline(last, color=COLOURS["blue"], linewidth=1.3, label=f"equal updates: {last:,}")
    axis.plot(ends, epochs * ends / batch_size, color=COLOURS["green"], linewidth=1.3, label=f"equal epochs: {epochs}")
    axis.set(xscale="log", yscale="log", xlabel="training clips", ylabel="updates", xlim=(low, high))
    bottom = min(points["updates"].min(), epochs * low / batch_size) / 1.6
    axis.set_ylim(bottom, max(points["updates"].max(), epochs * high / batch_size) * 1.6)
    legend_above(figure, axis.get_legend_handles_labels()[0])
    count_axis(axis.xaxis, points["n_train"])
    count_axis(axis.yaxis, points["updates"])
    figure.set_label(
        "Training clips and updates of every model kept, on logarithmic axes. A horizontal line joins equal updates, "
        f"a diagonal {epochs} epochs; the models of n = {n_train} are filled."
    )
    return figure


@themed()
def plot_loss(losses: pd.DataFrame) -> Figure:
    """Training loss, raw (faint) and its running mean over a hundredth of the rows. Columns: update, loss, run."""
    check_columns(losses, "update", "loss", "run")
    figure, axes = new_axes()
    axis = axes[0, 0]
    for colour, (run, rows) in zip(COLOURS.values(), losses.groupby("run", sort=False)):
        rows = rows.sort_values("update")
        axis.plot(rows["update"], rows["loss"], color=colour, alpha=0.15, linewidth=0.6)
        smooth = rows["loss"].rolling(max(25, len(rows) // 100), min_periods=1, center=True).mean()
        axis.plot(rows["update"], smooth, color=INK, linewidth=1.4, label=f"{run}, running mean")
    axis.set(xlabel="update", ylabel="training loss", yscale="log")
    axis.yaxis.set_major_locator(mpl.ticker.LogLocator(subs=(1, 2, 3, 5)))
    axis.yaxis.set_minor_formatter(mpl.ticker.NullFormatter())
    axis.yaxis.set_major_formatter(mpl.ticker.FormatStrFormatter("%g"))
    axis.legend()
    return figure
