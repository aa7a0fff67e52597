"""Figures of the findings: replication against data size, training and copies.

Notebook: 07_findings.
"""

import numpy as np
import pandas as pd
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Rectangle

from helpers.book.figures.axes import (
    beside,
    check_columns,
    count_axis,
    front,
    honest_band,
    legend_above,
    new_axes,
    percent_axis,
    round_ticks,
    shades_of,
    share_axis,
    side_by_side,
    size_panels,
    write_ends,
)
from helpers.book.theme import COLOURS, INK, themed

KINDS = {
    "generated": COLOURS["orange"],
    "twins": COLOURS["blue"],
    "held-out": COLOURS["grey"],
    "ceiling": COLOURS["green"],
}

ANSWER = {  # of the first page's chart: colour, marker and line of each kind
    "this book, by rule": (COLOURS["orange"], "o", "-"),
    "the paper, as summarised": (COLOURS["grey"], "D", ":"),
}
HONEST = "clips that copied nothing"  # the chart's band


@themed("Distributions of best-match similarity by training size: generated clips, twins, held-out clips, ceiling.")
def plot_similarity(scores: pd.DataFrame, detector: str = "", bins: int = 40, in_rows: bool = False) -> Figure:
    """Best-match similarity per training size, the paper's main figure.

    Columns: score, kind (generated, twins, held-out, ceiling), n_train. The triangle marks the median. The ceiling is a
    band, from its 5th to its 95th percentile: as a histogram its one narrow peak would dwarf the others. `in_rows`: panels
    stand beside one another, which takes less of a screen, instead of one above the other.
    """
    check_columns(scores, "score", "kind", "n_train")
    unknown = set(scores["kind"]) - set(KINDS)
    if unknown:
        raise ValueError(f"kind: expected one of {', '.join(KINDS)}, got {min(unknown)!r}")
    sizes = sorted(scores["n_train"].unique())
    if in_rows:
        figure, panels = size_panels(sizes, 2.2, sharex=True)
    else:
        figure, axes = new_axes(len(sizes), 1, 0.7 + 1.5 * len(sizes), sharex=True)
        panels = [*axes.flat]
    edges = np.histogram_bin_edges(scores.loc[scores["kind"] != "ceiling", "score"], bins=bins)
    for axis, n_train in zip(panels, sizes):
        rows = scores[scores["n_train"] == n_train]
        for kind, colour in KINDS.items():
            values = rows.loc[rows["kind"] == kind, "score"].to_numpy()
            if not len(values):
                continue
            if kind == "ceiling":
                axis.axvspan(*np.quantile(values, (0.05, 0.95)), color=colour, alpha=0.28)
                axis.axvline(np.median(values), color=colour, linewidth=1.4)
            else:
                weights = np.full(len(values), 1 / len(values))
                axis.hist(values, edges, weights=weights, histtype="stepfilled", color=colour, alpha=0.28)
                axis.hist(values, edges, weights=weights, histtype="step", color=colour, linewidth=1.4, label=kind)
            axis.plot(np.median(values), 0, marker="^", color=colour, markersize=7, clip_on=False, zorder=5)
        axis.set(
            title=f"{n_train:,} training clips", ylabel="share of clips" if axis is panels[0] or not in_rows else ""
        )
        percent_axis(axis.yaxis)
    handles = [
        Line2D([], [], color=colour, linewidth=3, label=kind)
        for kind, colour in KINDS.items()
        if kind in set(scores["kind"])
    ]
    handles.append(Line2D([], [], color=INK, marker="^", linestyle="none", label="median"))
    figure.legend(handles=handles, loc="outside upper left", ncols=len(handles))
    figure.supxlabel(f"{detector} similarity to the nearest training clip".strip(), fontsize=10)
    return figure


@themed(
    "Share of generated clips that are near-exact of their own clip against updates and against epochs, a line for each training size, with the level of honest clips."
)
def plot_curve(rows: pd.DataFrame, null: str = "twins") -> Figure:
    """Near-exact share over training time, a line a size: by updates, and by epochs. With one number of updates, over sizes.

    Columns: n_train, updates, epochs; near_exact and null_near_exact with _rate, _low and _high. A point is the mean over
    draws; the bars of the smallest and of the largest size go from the lowest to the highest limit. Points of one moment stand side by side. The band holds the
    means of honest clips, `null` in words, at every size. The scale is that of `share_axis`.
    """
    shares = [f"{whose}near_exact_{end}" for whose in ("", "null_") for end in ("rate", "low", "high")]
    check_columns(rows, "n_train", "updates", "epochs", *shares)
    pooled = rows.groupby(["n_train", "updates"], as_index=False).agg(
        epochs=("epochs", "mean"), rate=("near_exact_rate", "mean"), low=("near_exact_low", "min"),
        high=("near_exact_high", "max"), honest=("null_near_exact_rate", "mean"),
    )  # fmt: skip
    over = ["updates", "epochs"] if pooled["updates"].nunique() > 1 else ["n_train"]
    figure, axes = new_axes(1, len(over), 3.7, sharey=True)
    shades = shades_of(pooled["n_train"])
    share_axis(axes[0][0], "y")
    axes[0][0].set_ylabel("near-exact of the own clip")
    for axis, x in zip(axes[0], over):
        lines = {}
        for place, (n_train, part) in enumerate(pooled.groupby("n_train")):
            # small sets, of more epochs, to the right
            moved = beside(part[x], place, len(shades), 1 / 1.12) if side_by_side(pooled, x, 1.12) else part[x]
            layer = front(n_train, shades)
            (line,) = axis.plot(moved, part["rate"], marker="o", markersize=4, color=shades[n_train], zorder=layer)
            lines[f"{n_train:,}{' clips' if layer > 2 else ''}"] = line
            if layer > 2 or x == "n_train":
                axis.vlines(moved, part["low"], part["high"], color=shades[n_train], linewidth=1, alpha=0.6)
        axis.set(xscale="log", xlabel="training clips" if x == "n_train" else x)
        if pooled["honest"].notna().any():
            honest_band(axis, pooled["honest"].min(), pooled["honest"].max(), f"{null}: no copies")
        if x == "n_train":
            axis.margins(x=0.08)
        else:
            write_ends(axis, lines)
        count_axis(axis.xaxis, [1, 10, 100, 1_000, 10_000] if x == "epochs" else pooled[x])
    return figure


MOMENTS = (  # the name of the figure, and its caption
    "fig-moments",
    "Near-exact of the own clip by training size, at equal updates and at equal epochs, or nearly equal ones; a bar holds all "
    "95 % intervals of a size. The band is what the rule says of clips that are no copies. Linear below 1 %, logarithmic above.",
)


@themed(
    "Near-exact share of each training size, with its interval, at nearly equal updates and at nearly equal epochs, with the level of honest clips."
)
def plot_moments(moments: pd.DataFrame, null: str = "twins") -> Figure:
    """Near-exact share by training size at a moment that sizes have nearly in common, a panel each for updates and for epochs.

    Columns: moment, the panel's title; n_train, rate, low, high, null_rate, whose band is that of honest clips, `null` in words. The
    scale is that of `share_axis`.
    """
    check_columns(moments, "moment", "n_train", "rate", "low", "high", "null_rate")
    sizes = sorted(moments["n_train"].unique())
    panels = dict([*moments.groupby("moment", sort=False)])
    figure, axes = new_axes(1, len(panels), 1.2 + 0.28 * len(sizes), sharey=True)
    honest = moments["null_rate"].agg(["min", "max"])
    for axis, (title, rows) in zip(axes[0], panels.items()):
        y = [sizes.index(n) for n in rows["n_train"]]
        axis.hlines(y, rows["low"], rows["high"], color=COLOURS["orange"], linewidth=1.6)
        axis.plot(rows["rate"], y, "o", color=COLOURS["orange"], markersize=6)
        share_axis(axis, "x")
        axis.set(title=title, ylim=(len(sizes) - 0.5, -1), xlabel="near-exact of the own clip")
        axis.set_yticks(range(len(sizes)), [f"{n:,} clips" for n in sizes])
        if honest.notna().all():
            axis.axvspan(*honest, facecolor=(COLOURS["blue"], 0.18), edgecolor=(COLOURS["blue"], 0.6), linewidth=1)
            axis.text(honest["max"], -0.6, f" {null}: no copies", color=COLOURS["blue"], size=8, va="center")
    return figure


@themed(
    "Near-exact share against the number of training clips: this book's sizes, the paper's three sizes, and a band that clips reach which copied nothing."
)
def plot_answer(shares: pd.DataFrame) -> Figure:
    """The first page's chart, narrow enough for a phone: near-exact shares over training size, ours beside the paper's.

    Columns: kind, n_train, rate, low, high; kinds of ANSWER and HONEST, limits of the paper's shares unknown (NaN). The band goes from the
    lowest to the highest limit of honest clips at any size. The scale is that of `share_axis`.
    """
    check_columns(shares, "kind", "n_train", "rate", "low", "high")
    figure, axes = new_axes(1, 1, 3.1)
    figure.set_figwidth(3.6)
    axis = axes[0][0]
    for kind, (colour, marker, style) in ANSWER.items():
        part = shares[(shares["kind"] == kind) & shares["rate"].notna()].sort_values("n_train")
        axis.vlines(part["n_train"], part["low"], part["high"], color=colour, linewidth=1.4)
        axis.plot(part["n_train"], part["rate"], style, marker=marker, color=colour, markersize=6, label=kind)
    honest = shares[shares["kind"] == HONEST]
    axis.set(xscale="log", xlabel="training clips", ylabel="near-exact copies")
    share_axis(axis, "y")
    if honest["high"].notna().any():
        honest_band(axis, honest["low"].min(), honest["high"].max(), HONEST, inside=True)
    count_axis(axis.xaxis, [100, 1_000, 10_000])
    axis.set_xlim(shares["n_train"].min() / 1.5, 9e4)
    figure.legend(loc="outside upper left", ncols=1)
    return figure


@themed(
    "Share of generated clips that replicate their own clip against its number of copies, for exact and altered copies and by caption."
)
def plot_dose(dose: pd.DataFrame) -> Figure:
    """Share of generated clips that replicate their own cluster against its number of copies.

    Columns: copies, kind (single, exact, altered), caption_kind (all, same, other), rate, ci_low, ci_high. On the left exact
    and altered copies; on the right exact copies under one caption and under several.
    """
    check_columns(dose, "copies", "kind", "caption_kind", "rate", "ci_low", "ci_high")
    single = dose[dose["kind"] == "single"]
    panels = (
        [("exact copies", "orange", dose.query("kind == 'exact' and caption_kind == 'all'")),
         ("altered copies", "blue", dose.query("kind == 'altered' and caption_kind == 'all'"))],
        [("one caption", "green", dose.query("kind == 'exact' and caption_kind == 'same'")),
         ("several captions", "purple", dose.query("kind == 'exact' and caption_kind == 'other'"))],
    )  # fmt: skip
    figure, axes = new_axes(1, 2, 3.3, sharey=True)
    for axis, lines in zip(axes[0], panels):
        for place, (label, colour, rows) in enumerate(lines):
            if rows.empty:
                continue
            part = pd.concat([single, rows]).sort_values("copies")
            x = beside(part["copies"], place, len(lines), 1.06)
            axis.vlines(x, part["ci_low"], part["ci_high"], color=COLOURS[colour], linewidth=1)
            axis.plot(x, part["rate"], marker="os"[place], markersize=5, color=COLOURS[colour], label=label)
        axis.set(xscale="log", xlabel="copies in the training set")
        count_axis(axis.xaxis, dose["copies"])
        axis.legend(loc="lower left", bbox_to_anchor=(0, 1), ncols=2)  # above: the intervals reach everywhere
    axes[0][0].set(
        ylabel="generated clips that replicate", ylim=(0, max(1e-3, 1.15 * dose["ci_high"].max(), dose["rate"].max()))
    )
    percent_axis(axes[0][0].yaxis)
    return figure


@themed(
    "Near-exact share against updates, a line for each number of copies: under one caption, and under several; with the level of honest clips."
)
def plot_copies(dose: pd.DataFrame, twins: float) -> Figure:
    """Near-exact share of the own clip over updates, a line for each number of copies; clips without a copy are in both panels.

    Columns: caption_kind (same, other), copies, updates, own_near_exact_rate. Groups are few, so intervals would cover one another.
    `twins`: their share.
    """
    check_columns(dose, "caption_kind", "copies", "updates", "own_near_exact_rate")
    figure, axes = new_axes(1, 2, 3.5, sharey=True)
    axes[0][0].set(ylim=(-0.1, 1.12), ylabel="near-exact of the own clip")
    percent_axis(axes[0][0].yaxis)
    shades = shades_of(dose["copies"])
    for axis, (caption_kind, title) in zip(axes[0], {"same": "under one caption", "other": "under several"}.items()):
        arm = dose[(dose["caption_kind"] == caption_kind) | (dose["copies"] == 1)]
        lines = {}
        for copies, rows in arm.sort_values("updates").groupby("copies"):
            shares, layer = rows["own_near_exact_rate"], front(copies, shades)
            (line,) = axis.plot(rows["updates"], shares, marker="o", markersize=3, color=shades[copies], zorder=layer)
            lines["once" if copies == 1 else f"{copies:.0f}{' times' if layer > 2 else ''}"] = line
        axis.set(xscale="log", xlabel="updates", title=title)
        level = axis.axhline(twins, color=COLOURS["blue"], linewidth=1.2, label="twins: no copies")
        write_ends(axis, lines)
        count_axis(axis.xaxis, round_ticks(dose["updates"].min(), dose["updates"].max()) or [dose["updates"].min()])
    legend_above(figure, [level])
    return figure


@themed(
    "Bars with the share of prompts by the number of their seeds that came out near-exact, beside what equal chances would give."
)
def plot_seeds(shares: pd.DataFrame) -> Figure:
    """Share of prompts by how many of their seeds came out near-exact, a panel a size. Columns: n_train, hits, share, by_luck."""
    check_columns(shares, "n_train", "hits", "share", "by_luck")
    sizes = sorted(shares["n_train"].unique())
    figure, axes = size_panels(sizes, 2.8, sharey=True)
    for axis, n_train in zip(axes, sizes):
        rows = shares[shares["n_train"] == n_train]
        axis.bar(rows["hits"], rows["share"], color=COLOURS["orange"], alpha=0.75, width=0.8)
        axis.plot(rows["hits"], rows["by_luck"], "_", color=INK, markersize=12, markeredgewidth=1.6)
        axis.set(title=f"{n_train:,} training clips", xticks=rows["hits"])
        axis.grid(axis="x", visible=False)
    axes[0].set_ylabel("prompts")
    percent_axis(axes[0].yaxis)
    handles = [
        Rectangle((0, 0), 1, 1, color=COLOURS["orange"], alpha=0.75, label="observed"),
        Line2D(
            [], [], color=INK, marker="_", linestyle="none", markersize=12, label="if every prompt had the same chance"
        ),
    ]
    figure.legend(handles=handles, loc="outside upper left", ncols=2)
    figure.supxlabel("seeds of a prompt that came out near-exact", fontsize=10)
    return figure
