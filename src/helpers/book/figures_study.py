"""Figures of the thresholds and of the findings. As in `figures`, none computes a score.

Training sizes have the warm colours, numbers of updates the cool ones, kinds of clips those of `figures.KINDS`.

Notebooks: 06_thresholds and 07_findings.
"""

import matplotlib as mpl
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle

from helpers.book.figures import _columns, _new, _percent
from helpers.book.theme import COLOURS, INK, figure_html, show, themed

__all__ = [
    "figure_html",
    "plot_choices",
    "plot_curve",
    "plot_dose",
    "plot_seeds",
    "plot_sensitivity",
    "plot_thresholds",
    "show",
]
MARKERS = "osD^vPX*"


def _shades(values, ramp: str = "plasma") -> dict:
    """A colour for each value in order; the ends that would vanish on white or on black are left out."""
    low, high = {"plasma": (0.42, 0.74), "viridis": (0.35, 0.8)}[ramp]
    ordered = sorted(set(values))
    return dict(zip(ordered, map(mpl.colors.to_hex, mpl.colormaps[ramp](np.linspace(low, high, len(ordered))))))


def _markers(values) -> dict:
    return dict(zip(sorted(set(values)), MARKERS * len(set(values))))


def _counts(axis, ticks) -> None:
    """Ticks of a logarithmic axis at these numbers, written out."""
    ticks = sorted(set(ticks))
    axis.set_major_locator(mpl.ticker.FixedLocator(ticks))
    axis.set_major_formatter(mpl.ticker.StrMethodFormatter("{x:,.0f}"))
    axis.set_minor_locator(mpl.ticker.NullLocator())


def _size_handles(sizes, marker: bool = True) -> list[Line2D]:
    shades, shapes = _shades(sizes), _markers(sizes)
    return [Line2D([], [], color=shades[n], marker=shapes[n] if marker else None, label=f"n = {n:,}") for n in shades]


@themed
def plot_thresholds(scores: pd.DataFrame, thresholds: pd.DataFrame, null: str = "twins") -> Figure:
    """Normalised scores of generated clips and of a null by training size, with the thresholds between them.

    scores: n_train, kind ("generated" or `null`), normalised. thresholds: n_train, own, common: NaN draws no line.
    """
    _columns(scores, "n_train", "kind", "normalised")
    limits = _columns(thresholds, "n_train", "own", "common").set_index("n_train")
    sizes = sorted(scores["n_train"].unique())
    figure, axes = _new(len(sizes), 1, 0.7 + 1.5 * len(sizes), sharex=True)
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
        _percent(axis.yaxis)
    handles = [Line2D([], [], color=colour, linewidth=3, label=kind) for kind, colour in reversed(kinds.items())]
    handles.append(Line2D([], [], color=INK, linewidth=1.2, label="τ of this size; flagged to its right"))
    if limits["common"].notna().any():
        handles.append(Line2D([], [], color=INK, linewidth=1.2, linestyle=":", label="common τ"))
    figure.legend(handles=handles, loc="outside upper left", ncols=len(handles))
    axes[-1, 0].set_xlabel("best normalised score")
    return figure


@themed
def plot_choices(choices: pd.DataFrame, beta: float, k: int) -> Figure:
    """AUROC of altered copies against twins for every β and K, a panel a size; the best is framed, that in use dotted.

    Columns: n_train, beta, k, auroc, chosen.
    """
    _columns(choices, "n_train", "beta", "k", "auroc", "chosen")
    sizes = sorted(choices["n_train"].unique())
    betas, ks = sorted(choices["beta"].unique()), sorted(choices["k"].unique())
    figure, axes = _new(1, len(sizes), 1.2 + 0.34 * len(betas), sharey=True)
    low, high = choices["auroc"].min(), choices["auroc"].max()
    for axis, n_train in zip(axes[0], sizes):
        part = choices[choices["n_train"] == n_train]
        table = part.pivot(index="beta", columns="k", values="auroc").reindex(betas, columns=ks)
        sns.heatmap(
            table, ax=axis, vmin=low, vmax=max(high, low + 1e-3), cmap="crest_r", annot=True, fmt=".3f", cbar=False,
            annot_kws={"size": 8},
        )  # fmt: skip
        for row in part[part["chosen"]].itertuples():
            corner = (ks.index(row.k) + 0.04, betas.index(row.beta) + 0.06)
            axis.add_patch(Rectangle(corner, 0.92, 0.88, fill=False, edgecolor=COLOURS["orange"], linewidth=2.2))
        if beta in betas and k in ks:
            axis.plot(ks.index(k) + 0.13, betas.index(beta) + 0.5, "o", color=COLOURS["orange"], markersize=4)
        axis.set(title=f"{n_train:,} training clips", xlabel="K", ylabel="β" if axis is axes[0][0] else "")
        axis.tick_params(length=0, rotation=0)
    return figure


@themed
def plot_sensitivity(sensitivity: pd.DataFrame) -> Figure:
    """Flagged share against the size of the background, and against training clips that wrongly lie in it.

    Columns: n_train, background_size, contaminated, flagged_rate, ci_low, ci_high.
    """
    _columns(sensitivity, "n_train", "background_size", "contaminated", "flagged_rate", "ci_low", "ci_high")
    whole = sensitivity["background_size"].max()
    panels = (
        ("background_size", sensitivity[sensitivity["contaminated"] == 0], "clips in the background"),
        ("contaminated", sensitivity[sensitivity["background_size"] == whole], "training clips among them by mistake"),
    )
    figure, axes = _new(1, 2, 3.2, sharey=True)
    sizes = sorted(sensitivity["n_train"].unique())
    shades, shapes = _shades(sizes), _markers(sizes)
    for axis, (column, rows, label) in zip(axes[0], panels):
        steps = sorted(rows[column].unique())
        for place, n_train in enumerate(sizes):
            part = rows[rows["n_train"] == n_train].sort_values(column)
            x = np.array([steps.index(value) for value in part[column]]) + 0.08 * (place - (len(sizes) - 1) / 2)
            axis.vlines(x, part["ci_low"], part["ci_high"], color=shades[n_train], linewidth=1)
            axis.plot(x, part["flagged_rate"], marker=shapes[n_train], markersize=5, color=shades[n_train])
        axis.set_xticks(range(len(steps)), [f"{step:,}" for step in steps])
        axis.set(xlabel=label, ylim=(0, None))
        axis.margins(x=0.12)
    axes[0][0].set_ylabel("generated clips flagged")
    _percent(axes[0][0].yaxis)
    figure.legend(handles=_size_handles(sizes), loc="outside upper left", ncols=len(sizes))
    return figure


@themed
def plot_curve(rows: pd.DataFrame) -> Figure:
    """Near-exact share over training size and updates; a point a draw, lines through the means, zeros as upper bounds.

    Columns: n_train, draw, updates, epochs, near_exact_rate, near_exact_low, near_exact_high. On the left lines join equal
    updates, dashed ones equal epochs (where sizes share any); on the right lines join one size. With one number of updates
    there is the left panel alone.
    """
    _columns(rows, "n_train", "draw", "updates", "epochs", "near_exact_rate", "near_exact_low", "near_exact_high")
    several = rows["updates"].nunique() > 1
    figure, axes = _new(1, 2 if several else 1, 3.9, sharey=True)
    updates = _shades(rows["updates"], "viridis")
    sizes, shapes = _shades(rows["n_train"]), _markers(rows["n_train"])
    shown = rows["near_exact_rate"].where(rows["near_exact_rate"] > 0, rows["near_exact_high"])
    floor = min(0.03, shown.min() / 2)
    left = axes[0][0]
    for steps, part in rows.groupby("updates"):
        _points(left, part.assign(x=part["n_train"]), floor, updates[steps], "o")
        _mean_line(left, part, "n_train", updates[steps])
    epochs = _equal_epochs(rows)
    for _, part in epochs.groupby("group"):
        _mean_line(left, part, "n_train", INK, linestyle="--", linewidth=1.1)
    left.set(xscale="log", yscale="log", xlabel="training clips", ylabel="near-exact by rule")
    _counts(left.xaxis, rows["n_train"])
    left.margins(x=0.12)
    if several:
        right = axes[0][1]
        for n_train, part in rows.groupby("n_train"):
            _points(right, part.assign(x=part["epochs"]), floor, sizes[n_train], shapes[n_train])
            _mean_line(right, part, "epochs", sizes[n_train])
        right.set(xscale="log", xlabel="epochs")
        wide = rows["epochs"].max() > 30 * rows["epochs"].min()
        right.xaxis.set_major_locator(mpl.ticker.LogLocator(subs=(1,) if wide else (1, 2, 3, 5)))
        right.xaxis.set_major_formatter(mpl.ticker.StrMethodFormatter("{x:,g}"))
        right.xaxis.set_minor_formatter(mpl.ticker.NullFormatter())
    left.set_ylim(floor, 1.5)
    _percent(left.yaxis)
    left.yaxis.set_minor_formatter(mpl.ticker.NullFormatter())
    handles = [
        Line2D([], [], color=colour, marker="o", label=f"{steps:,} updates") for steps, colour in updates.items()
    ]
    handles += _size_handles(rows["n_train"]) if several else []
    for _, part in epochs.groupby("group"):
        label = f"equal epochs ({part['epochs'].mean():,.0f})"
        handles.append(Line2D([], [], color=INK, linestyle="--", linewidth=1.1, label=label))
    if (rows["near_exact_rate"] == 0).any():
        handles.append(Line2D([], [], color=INK, marker="v", linestyle="none", label="none: upper bound"))
    figure.legend(handles=handles, loc="outside upper left", ncols=4)
    return figure


def _points(axis, rows: pd.DataFrame, floor: float, colour: str, marker: str) -> None:
    """A point and its interval a row, draws side by side; a count of zero as a triangle at its upper bound."""
    for row in rows.itertuples():
        draws = rows["draw"].nunique()
        x = row.x * 1.05 ** (row.draw - (draws - 1) / 2)
        zero = row.near_exact_rate == 0
        value = row.near_exact_high if zero else row.near_exact_rate
        if not zero:
            limits = [max(row.near_exact_low, floor), row.near_exact_high]
            axis.plot([x, x], limits, color=colour, linewidth=0.9, alpha=0.7)
        axis.plot(x, value, "v" if zero else marker, color=colour, markersize=5)


def _mean_line(axis, rows: pd.DataFrame, by: str, colour: str, **style) -> None:
    """Through the mean over draws at each value of `by`, broken where that is zero: a logarithm has no place for it."""
    means = rows.groupby(by)["near_exact_rate"].mean()
    axis.plot(means.index, means.where(means > 0), color=colour, **{"linewidth": 1.4} | style)


def _equal_epochs(rows: pd.DataFrame, tolerance: float = 0.02) -> pd.DataFrame:
    """The rows whose epochs agree with those of another size at other updates; `group` numbers what agrees."""
    ordered = rows.sort_values("epochs")
    group = (np.diff(np.log(ordered["epochs"]), prepend=-np.inf) > tolerance).cumsum()
    ordered = ordered.assign(group=group)
    shared = ordered.groupby("group")[["n_train", "updates"]].transform("nunique").gt(1).all(axis=1)
    return ordered[shared]


@themed
def plot_dose(dose: pd.DataFrame) -> Figure:
    """Share of generated clips that replicate their own cluster against its number of copies.

    Columns: copies, kind (single, exact, altered), caption_kind (all, same, other), rate, ci_low, ci_high. On the left exact
    and altered copies; on the right exact copies under one caption and under several.
    """
    _columns(dose, "copies", "kind", "caption_kind", "rate", "ci_low", "ci_high")
    single = dose[dose["kind"] == "single"]
    panels = (
        [("exact copies", "orange", dose.query("kind == 'exact' and caption_kind == 'all'")),
         ("altered copies", "blue", dose.query("kind == 'altered' and caption_kind == 'all'"))],
        [("one caption", "green", dose.query("kind == 'exact' and caption_kind == 'same'")),
         ("several captions", "purple", dose.query("kind == 'exact' and caption_kind == 'other'"))],
    )  # fmt: skip
    figure, axes = _new(1, 2, 3.3, sharey=True)
    for axis, lines in zip(axes[0], panels):
        for place, (label, colour, rows) in enumerate(lines):
            if rows.empty:
                continue
            part = pd.concat([single, rows]).sort_values("copies")
            x = part["copies"] * 1.06 ** (place - 0.5)
            axis.vlines(x, part["ci_low"], part["ci_high"], color=COLOURS[colour], linewidth=1)
            axis.plot(x, part["rate"], marker=MARKERS[place], markersize=5, color=COLOURS[colour], label=label)
        axis.set(xscale="log", xlabel="copies in the training set")
        _counts(axis.xaxis, dose["copies"])
        axis.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=2)  # above: the intervals reach everywhere
    axes[0][0].set(
        ylabel="generated clips that replicate", ylim=(0, max(1e-3, 1.15 * dose["ci_high"].max(), dose["rate"].max()))
    )
    _percent(axes[0][0].yaxis)
    return figure


@themed
def plot_seeds(shares: pd.DataFrame) -> Figure:
    """Share of prompts by how many of their seeds came out near-exact, a panel a size. Columns: n_train, hits, share, by_luck."""
    _columns(shares, "n_train", "hits", "share", "by_luck")
    sizes = sorted(shares["n_train"].unique())
    figure, axes = _new(1, len(sizes), 2.8, sharey=True)
    for axis, n_train in zip(axes[0], sizes):
        rows = shares[shares["n_train"] == n_train]
        axis.bar(rows["hits"], rows["share"], color=COLOURS["orange"], alpha=0.75, width=0.8)
        axis.plot(rows["hits"], rows["by_luck"], "_", color=INK, markersize=12, markeredgewidth=1.6)
        axis.set(title=f"{n_train:,} training clips", xticks=rows["hits"])
        axis.grid(axis="x", visible=False)
    axes[0][0].set_ylabel("prompts")
    _percent(axes[0][0].yaxis)
    handles = [
        Rectangle((0, 0), 1, 1, color=COLOURS["orange"], alpha=0.75, label="observed"),
        Line2D(
            [], [], color=INK, marker="_", linestyle="none", markersize=12, label="if every prompt had the same chance"
        ),
    ]
    figure.legend(handles=handles, loc="outside upper left", ncols=2)
    figure.supxlabel("seeds of a prompt that came out near-exact", fontsize=10)
    return figure
