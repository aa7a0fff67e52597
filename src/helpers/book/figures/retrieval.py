"""Figures of quality and retrieval.

Notebook: 05_retrieval.
"""

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from helpers.book.figures.axes import (
    check_columns,
    count_axis,
    legend_above,
    new_axes,
    percent_axis,
    scale_of,
    shades_of,
    size_panels,
    strength_text,
)
from helpers.book.theme import COLOURS, INK, themed

# From honest clip to copy, with what each is called in a figure.
LADDER = {
    "heldout": ("held-out", COLOURS["grey"]),
    "same_bed": ("same bed", COLOURS["purple"]),
    "twins": ("twins", COLOURS["blue"]),
    "generated": ("generated", COLOURS["orange"]),
    "altered": ("altered copies", COLOURS["red"]),
    "empirical": ("perfect replays", COLOURS["green"]),
    "ceiling": ("the clips themselves", COLOURS["green"]),
}


LINES = ("medianprops", "whiskerprops", "capprops")  # of a box


@themed(
    "Kernel distance, caption agreement and silent share against updates, by training size, beside what real clips reach."
)
def plot_quality(quality: pd.DataFrame) -> Figure:
    """Kernel distance by each embedding, agreement with captions, and silent clips, against updates: of the smallest size, one in the
    middle, and the largest. Lines are means over draws, dashed for held-out prompts.

    Columns: n_train, updates, prompt_set (train, heldout), embedding, kid, floor_kid, twins_kid, clap_agreement, real_agreement,
    silent_rate. What real clips reach is blue: twins, or held-out clips where there are none. Distances are on a logarithmic axis, or
    a linear one where a mean is not above 0.
    """
    check_columns(
        quality, "n_train", "updates", "prompt_set", "embedding", "kid", "floor_kid", "twins_kid", "clap_agreement",
        "real_agreement", "silent_rate",
    )  # fmt: skip
    sizes = sorted(quality["n_train"].unique())
    sizes = sorted({sizes[0], sizes[len(sizes) // 2], sizes[-1]})
    of_three = quality[quality["n_train"].isin(sizes)]
    values = ["kid", "floor_kid", "twins_kid", "clap_agreement", "real_agreement", "silent_rate"]
    means = of_three.groupby(["embedding", "n_train", "prompt_set", "updates"], sort=False)[values].mean().reset_index()
    real_kid = "twins_kid" if means["twins_kid"].notna().any() else "floor_kid"
    once = means[means["embedding"] == means["embedding"].iloc[0]]  # the rest is the same whatever the embedding
    panels = [
        (f"kernel distance, {name}", rows, "kid", real_kid) for name, rows in means.groupby("embedding", sort=False)
    ]
    if once["clap_agreement"].notna().any():
        panels.append(("agreement with the caption", once, "clap_agreement", "real_agreement"))
    panels.append(("silent clips", once, "silent_rate", None))
    columns = 2 if len(panels) > 3 else len(panels)
    rows_of_panels = -(-len(panels) // columns)
    figure, axes = new_axes(rows_of_panels, columns, 0.7 + 2.4 * rows_of_panels, sharex=True)
    given = {
        "x": "updates",
        "hue": "n_train",
        "palette": shades_of(sizes),
        "style": "prompt_set",
        "legend": False,
        "errorbar": None,
    }
    styles = {"style_order": ["train", "heldout"], "dashes": [(), (4, 2)], "markers": ["o", "o"]}
    for axis, (label, rows, value, real) in zip(axes.flat, panels):
        sns.lineplot(rows, y=value, **given, **styles, markersize=4, markeredgewidth=0, ax=axis)
        axis.set(ylabel=label, xlabel="updates", xscale=scale_of(rows["updates"]))
        axis.tick_params(labelbottom=True)
        reached = [rows[real].mean()] if real and rows[real].notna().any() else []
        for level in reached:
            axis.axhline(level, color=COLOURS["blue"], linewidth=1.2)
        if value == "kid":
            axis.set_yscale(scale_of([*rows["kid"].dropna(), *reached]))
            axis.yaxis.set_major_formatter("{x:g}")
            axis.yaxis.set_minor_formatter("")
        if value == "silent_rate":
            percent_axis(axis.yaxis)
    updates = means["updates"].unique()
    count_axis(axes[0][0].xaxis, updates)  # shared by all panels
    if len(updates) == 1 and updates[0] > 0:
        axes[0][0].set_xlim(updates[0] / 1.6, updates[0] * 1.6)
    handles = [Line2D([], [], color=colour, label=f"{n:,} clips") for n, colour in shades_of(sizes).items()]
    if (means["prompt_set"] == "heldout").any():
        handles.append(Line2D([], [], color=INK, linestyle=(0, (4, 2)), label="held-out prompts"))
    handles.append(Line2D([], [], color=COLOURS["blue"], label="real clips"))
    legend_above(figure, handles)
    return figure


@themed(
    "Box plots of best-match similarity for clips of seven kinds, from held-out clips to training clips themselves, by training size."
)
def plot_ladder(scores: pd.DataFrame, detector: str = "") -> Figure:
    """Best-match similarity of clips of every kind, from honest clips to copies. Columns: score, kind (of LADDER), n_train.

    Boxes are the middle half with the median, whiskers reach from the 5th to the 95th percentile.
    """
    check_columns(scores, "score", "kind", "n_train")
    if unknown := set(scores["kind"]) - set(LADDER):
        raise ValueError(f"kind: expected one of {', '.join(LADDER)}, got {min(unknown)!r}")
    kinds = [kind for kind in LADDER if kind in set(scores["kind"])]
    sizes = sorted(scores["n_train"].unique())
    figure, axes = size_panels(sizes, 0.9 + 0.32 * len(kinds), sharey=True, sharex=True)
    for axis, n_train in zip(axes, sizes):
        rows = scores[scores["n_train"] == n_train]
        scores_of = [rows.loc[rows["kind"] == kind, "score"].dropna().to_numpy() for kind in kinds]
        boxes = axis.boxplot(
            scores_of, positions=range(len(kinds)), orientation="horizontal", whis=(5, 95), showfliers=False, widths=0.62,
            patch_artist=True, **{part: {"color": INK, "linewidth": 0.9} for part in LINES},
        )  # fmt: skip
        for box, kind in zip(boxes["boxes"], kinds):
            box.set(facecolor=LADDER[kind][1], alpha=0.75, edgecolor=INK, linewidth=0.9)
        axis.set(title=f"{n_train:,} training clips", ylim=(len(kinds) - 0.4, -0.6))
        axis.set_yticks(range(len(kinds)), [LADDER[kind][0] for kind in kinds])
        axis.grid(axis="y", visible=False)
        axis.tick_params(axis="y", length=0)
    figure.supxlabel(f"{detector} similarity to the nearest training clip".strip(), fontsize=10)
    return figure


@themed(
    "Share of clips whose nearest training clip is the own one, by detector and training size, for generated clips and for twins."
)
def plot_top1(rows: pd.DataFrame) -> Figure:
    """How often the nearest clip is the own one, by detector and size, for generated clips and for twins; a point a draw.

    Columns: n_train, draw, detector, own_clip_top1_rate, twins_top1_rate, each with _low and _high.
    """
    check_columns(rows, "n_train", "draw", "detector", "own_clip_top1_rate", "twins_top1_rate")
    detectors, sizes = list(dict.fromkeys(rows["detector"])), sorted(rows["n_train"].unique())
    figure, axes = size_panels(sizes, 0.9 + 0.4 * len(detectors), sharey=True, sharex=True)
    for axis, n_train in zip(axes, sizes):
        for row in rows[rows["n_train"] == n_train].itertuples():
            base = detectors.index(row.detector) + 0.09 * row.draw
            for name, colour, offset in (("twins", COLOURS["blue"], -0.2), ("own_clip", COLOURS["orange"], 0.0)):
                value, low, high = (getattr(row, f"{name}_top1_{end}") for end in ("rate", "low", "high"))
                axis.plot([low, high], [base + offset] * 2, color=colour, linewidth=1.2)
                axis.plot(value, base + offset, "o", color=colour, markersize=5)
        axis.set(title=f"{n_train:,} training clips", xlim=(-0.03, 1.03), ylim=(len(detectors) - 0.5, -0.6))
        axis.set_yticks(range(len(detectors)), detectors)
        axis.set_xticks([0, 0.5, 1])
        axis.grid(axis="y", visible=False)
        percent_axis(axis.xaxis)
    handles = [
        Line2D([], [], color=COLOURS[colour], marker="o", label=label)
        for label, colour in (("generated, a point a draw", "orange"), ("twins", "blue"))
    ]
    figure.legend(handles=handles, loc="outside upper left", ncols=2)
    figure.supxlabel("nearest training clip is the own one", fontsize=10)
    return figure


@themed("Heat map of the area under the ROC curve for every alteration and detector, from weak to strong.")
def plot_alterations(detection: pd.DataFrame) -> Figure:
    """AUROC by alteration (rows) and detector (columns), a panel a strength. Columns: detector, transform, strength, auroc.

    Strengths are taken to come from weak to strong, as the alterations stage writes them.
    """
    check_columns(detection, "detector", "transform", "strength", "auroc")
    strengths = {
        name: list(dict.fromkeys(rows["strength"])) for name, rows in detection.groupby("transform", sort=False)
    }
    count = max(map(len, strengths.values()))
    place = [strengths[row.transform].index(row.strength) for row in detection.itertuples()]
    titles = {1: [""], 3: ["weak", "middle", "strong"]}.get(count, [f"strength {i + 1}" for i in range(count)])
    detectors = list(dict.fromkeys(detection["detector"]))
    figure, axes = new_axes(1, count, 1.5 + 0.28 * len(strengths), sharey=True)
    for number, (axis, title) in enumerate(zip(axes[0], titles)):
        part = detection[np.array(place) == number]
        table = part.pivot(index="transform", columns="detector", values="auroc").reindex(
            list(strengths), columns=detectors
        )
        # Its own light-to-dark colours at every theme, so the numbers in the cells need no theme of their own, and no bar of
        # colours is needed, which would keep the panels from being drawn below one another on a phone.
        sns.heatmap(
            table, ax=axis, vmin=0.5, vmax=1, cmap="crest_r", annot=True, fmt=".2f", cbar=False,
            annot_kws={"size": 9 if count == 1 else 7.5},
        )  # fmt: skip
        axis.set(title=title, xlabel="", ylabel="")
        axis.tick_params(length=0)
        axis.tick_params(axis="x", rotation=90)
        axis.tick_params(axis="y", rotation=0)
    labels = [f"{name.replace('_', ' ')}: {strength_text(name, values)}" for name, values in strengths.items()]
    axes[0][0].set_yticks(np.arange(len(labels)) + 0.5, labels, rotation=0)
    return figure


@themed(
    "ROC curves of every detector, a panel for each alteration at its strongest, on a logarithmic axis of false positives."
)
def plot_roc(curves: pd.DataFrame, columns: int = 4) -> Figure:
    """ROC curves at each alteration's strongest, a panel an alteration, a line a detector; what chance reaches is dashed.

    Columns: detector, transform, strength, fpr, tpr, points in order. The axis of false positives is logarithmic and starts at the
    lowest rate that the negatives can show: thresholds are set near there, while most of an area lies elsewhere.
    """
    check_columns(curves, "detector", "transform", "strength", "fpr", "tpr")
    detectors = dict(zip(dict.fromkeys(curves["detector"]), COLOURS.values()))
    transforms = list(dict.fromkeys(curves["transform"]))
    rows = -(-len(transforms) // columns)
    figure, axes = new_axes(rows, columns, 0.7 + 1.75 * rows, sharex=True, sharey=True)
    lowest = curves.loc[curves["fpr"] > 0, "fpr"].min()
    for axis, transform in zip(axes.flat, transforms):
        part = curves[curves["transform"] == transform]
        strongest = part["strength"].iloc[-1]
        for detector, curve in part[part["strength"] == strongest].groupby("detector", sort=False):
            fpr = curve["fpr"].clip(lowest)
            axis.step(fpr, curve["tpr"], where="post", color=detectors[detector], linewidth=1.2)
        chance = np.geomspace(lowest, 1, 50)
        axis.plot(chance, chance, "--", color=COLOURS["grey"], linewidth=1)
        axis.set(xscale="log", ylim=(-0.03, 1.03))
        axis.set_title(f"{transform.replace('_', ' ')} {strength_text(transform, [strongest])}", fontsize=8)
        axis.minorticks_off()
        percent_axis(axis.xaxis)
        percent_axis(axis.yaxis)
    for axis in axes.flat[len(transforms) :]:
        axis.remove()
    handles = [Line2D([], [], color=colour, label=name) for name, colour in detectors.items()]
    figure.legend(handles=handles, loc="outside upper left", ncols=len(handles))
    figure.supxlabel("honest clips taken for copies", fontsize=10)
    figure.supylabel("copies found", fontsize=10)
    return figure
