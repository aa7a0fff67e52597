"""Figures of the corpus: its captions and classes, and suspected duplicates.

Notebook: 01_corpus.
"""

import matplotlib as mpl
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure

from helpers.book.figures.axes import check_columns, new_axes
from helpers.book.theme import COLOURS, INK, themed


@themed("Histogram of caption lengths in words, and bars with the most frequent sound classes of the training clips.")
def plot_captions_and_classes(clips: pd.DataFrame, most_common: int = 15) -> Figure:
    """How long captions are, and which sound classes are frequent. Columns: caption, classes (a list for each clip).

    A class "" stands for clips of which it is not known what they hold.
    """
    check_columns(clips, "caption", "classes")
    figure, axes = new_axes(1, 2, 3.6, width_ratios=(1, 1.2))
    words = clips["caption"].str.split().str.len()
    left, right = axes[0]
    sns.histplot(x=words, discrete=True, ax=left, color=COLOURS["blue"], alpha=0.85, shrink=0.85)
    left.set(xlabel="words in a caption", ylabel="clips")
    counts = clips["classes"].explode().value_counts().drop("", errors="ignore").head(most_common)
    if counts.empty:
        right.text(0.5, 0.5, "not known of this corpus", ha="center", va="center", transform=right.transAxes)
        right.set(xticks=[], yticks=[])
    right.barh(counts.index.astype(str), counts.to_numpy(), color=COLOURS["green"], alpha=0.85)
    right.invert_yaxis()
    right.grid(axis="y", visible=False)
    right.set(xlabel="clips in which the class is heard")
    return figure


@themed()
def plot_pairs(pairs: pd.DataFrame, threshold: float) -> Figure:
    """Suspected duplicates: how alike two recordings look against how alike their waveforms are.

    Columns: score (centred log-mel cosine), correlation (of the waveforms), verified. `threshold`: of the correlation.
    """
    check_columns(pairs, "score", "correlation", "verified")
    figure, axes = new_axes(height_in=3.4)
    axis = axes[0, 0]
    verified = pairs["verified"].astype(bool)
    # distance from 1 on a logarithmic axis: the certain pairs would otherwise be one dot at the right edge
    distance = (1 - pairs["score"]).clip(lower=1e-6)
    for mask, label, colour, marker in (
        (verified, "correlated", COLOURS["orange"], "o"),
        (~verified, "only alike", COLOURS["grey"], "x"),
    ):
        style = {"s": 26, "marker": marker, "color": colour, "alpha": 0.75, "linewidths": 1.1}
        axis.scatter(distance[mask], pairs["correlation"][mask], label=f"{label} ({int(mask.sum())} pairs)", **style)
    axis.axhline(threshold, color=INK, linewidth=0.9, linestyle=":")
    axis.set(xscale="log", xlabel="log-mel cosine of the two beginnings", ylabel="waveform correlation", ylim=(0, 1.04))
    axis.invert_xaxis()
    axis.xaxis.set_major_formatter(mpl.ticker.FuncFormatter(lambda gap, _: f"{1 - gap:.10g}"))
    axis.xaxis.set_major_locator(mpl.ticker.LogLocator(base=100))  # of 0.99, 0.9999 and 0.999999 three fit a phone
    axis.xaxis.set_minor_formatter(mpl.ticker.NullFormatter())
    figure.legend(loc="outside upper left", ncols=2)
    return figure
