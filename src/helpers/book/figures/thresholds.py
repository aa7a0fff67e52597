"""Figures of the thresholds, of the choice of beta and K, and of other backgrounds.

Notebook: 06_thresholds.
"""

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle

from helpers.book.figures.axes import (
    MOST_PANELS,
    check_columns,
    front,
    legend_above,
    new_axes,
    percent_axis,
    shades_of,
    size_panels,
    write_ends,
)
from helpers.book.theme import COLOURS, INK, themed


@themed(
    "Histograms of normalised scores of generated clips and of the null by training size, with the thresholds between them."
)
def plot_thresholds(scores: pd.DataFrame, thresholds: pd.DataFrame, null: str = "twins") -> Figure:
    """Normalised scores of generated clips and of a null by training size, with the thresholds between them.

    scores: n_train, kind ("generated" or `null`), normalised. thresholds: n_train, own, common: NaN draws no line.
    """
    check_columns(scores, "n_train", "kind", "normalised")
    limits = check_columns(thresholds, "n_train", "own", "common").set_index("n_train")
    sizes = sorted(scores["n_train"].unique())
    figure, axes = new_axes(len(sizes), 1, 0.7 + 1.5 * len(sizes), sharex=True)
    edges = np.histogram_bin_edges(scores["normalised"], bins=40)
    kinds = {null: COLOURS["blue"], "generated": COLOURS["orange"]}
    for axis, n_train in zip(axes[:, 0], sizes):
        for kind, colour in kinds.items():
            values = scores.loc[(scores["n_train"] == n_train) & (scores["kind"] == kind), "normalised"].to_numpy()
            weights = np.full(len(values), 1 / max(len(values), 1))
            axis.hist(values, edges, weights=weights, histtype="stepfilled", color=colour, alpha=0.28)
            axis.hist(values, edges, weights=weights, histtype="step", color=colour, linewidth=1.4)
        own, common = limits.loc[n_train, ["own", "common"]]
        if pd.notna(own):
            axis.axvspan(own, max(edges[-1], own), color=INK, alpha=0.06, linewidth=0)
            axis.axvline(own, color=INK, linewidth=1.2)
        if pd.notna(common):
            axis.axvline(common, color=INK, linewidth=1.2, linestyle=":")
        axis.set(title=f"{n_train:,} training clips", ylabel="share of clips")
        percent_axis(axis.yaxis)
    handles = [Line2D([], [], color=colour, linewidth=3, label=kind) for kind, colour in reversed(kinds.items())]
    handles.append(Line2D([], [], color=INK, linewidth=1.2, label="τ of this size; flagged to its right"))
    if limits["common"].notna().any():
        handles.append(Line2D([], [], color=INK, linewidth=1.2, linestyle=":", label="τ of the largest size"))
    figure.legend(handles=handles, loc="outside upper left", ncols=len(handles))
    axes[-1, 0].set_xlabel("best normalised score")
    return figure


@themed(
    "Heat maps of the area under the ROC curve of altered copies against twins for every β and K, by training size; the setting in use is framed."
)
def plot_choices(choices: pd.DataFrame, beta: float, k: int) -> Figure:
    """AUROC of altered copies against twins for every β and K, a panel a size, in shades from the lowest to the highest of all; the
    setting in use is framed, if it was tried. Columns: n_train, beta, k, auroc."""
    check_columns(choices, "n_train", "beta", "k", "auroc")
    sizes = sorted(choices["n_train"].unique())
    betas, ks = sorted(choices["beta"].unique()), sorted(choices["k"].unique())
    figure, axes = size_panels(sizes, 1.0 + 0.22 * len(betas), sharey=True)
    low, high = choices["auroc"].min(), choices["auroc"].max()
    shades = sns.color_palette("crest", as_cmap=True)
    frame = {"fill": False, "edgecolor": COLOURS["orange"], "linewidth": 2.2}
    handles = [
        Rectangle((0, 0), 1, 1, color=shades(at), label=f"AUROC {of:.2f}") for at, of in ((0.0, low), (1.0, high))
    ]
    for axis, n_train in zip(axes, sizes):
        part = choices[choices["n_train"] == n_train]
        table = part.pivot(index="beta", columns="k", values="auroc").reindex(betas, columns=ks)
        sns.heatmap(table, ax=axis, vmin=low, vmax=max(high, low + 1e-3), cmap=shades, cbar=False)
        if beta in betas and k in ks:
            axis.add_patch(Rectangle((ks.index(k), betas.index(beta)), 1, 1, **frame, clip_on=False))
        axis.set(title=f"{n_train:,} training clips", xlabel="K", ylabel="β" if axis in axes[::MOST_PANELS] else "")
        axis.tick_params(length=0, rotation=0)
    if beta in betas and k in ks:
        handles.append(Rectangle((0, 0), 1, 1, **frame, label="in use"))
    legend_above(figure, handles)
    return figure


@themed(
    "Flagged share of generated clips against the size of the background and against the number of training clips in it, by training size."
)
def plot_sensitivity(sensitivity: pd.DataFrame) -> Figure:
    """Flagged share against the size of the background, and against training clips that wrongly lie in it; the smallest and the largest
    training size with intervals.

    Columns: n_train, background_size, contaminated, flagged_rate, ci_low, ci_high.
    """
    check_columns(sensitivity, "n_train", "background_size", "contaminated", "flagged_rate", "ci_low", "ci_high")
    whole = sensitivity["background_size"].max()
    panels = (
        ("background_size", sensitivity[sensitivity["contaminated"] == 0], "clips in the background"),
        ("contaminated", sensitivity[sensitivity["background_size"] == whole], "training clips among them by mistake"),
    )
    figure, axes = new_axes(1, 2, 3.2, sharey=True)
    top = 1.08 * np.nanmax([0.01, *sensitivity[["flagged_rate", "ci_high"]].max()])
    axes[0][0].set(ylim=(-0.04 * top, top), ylabel="generated clips flagged")
    percent_axis(axes[0][0].yaxis)
    shades = shades_of(sensitivity["n_train"])
    for axis, (column, rows, label) in zip(axes[0], panels):
        steps = sorted(rows[column].unique())
        lines = {}
        for n_train, part in rows.sort_values(column).groupby("n_train"):
            x, layer = [steps.index(value) for value in part[column]], front(n_train, shades)
            (line,) = axis.plot(x, part["flagged_rate"], marker="o", markersize=4, color=shades[n_train], zorder=layer)
            lines[f"{n_train:,}{' clips' if layer > 2 else ''}"] = line
            if layer > 2:
                axis.vlines(x, part["ci_low"], part["ci_high"], color=shades[n_train], linewidth=1, alpha=0.6)
        axis.set_xticks(range(len(steps)), [f"{step:,}" for step in steps])
        axis.set_xlabel(label)
        write_ends(axis, lines)
    return figure
