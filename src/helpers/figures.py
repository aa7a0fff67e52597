"""Figures of the chapters. Each function takes tidy data and returns a matplotlib Figure; none computes a score.

Figures carry no titles: the caption in the chapter speaks, and its numbers come from result files.

Notebook: every chapter; the headline figure is in notebooks/07_findings.ipynb.
"""

import matplotlib as mpl
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from helpers.theme import COLOURS, INK, WIDTH_IN, figure_html, set_theme, show, themed

__all__ = [
    "figure_html",
    "plot_captions_and_classes",
    "plot_codec_curve",
    "plot_detection",
    "plot_loss",
    "plot_replication",
    "plot_roc",
    "plot_roundtrip",
    "plot_similarity",
    "plot_spectrograms",
    "plot_sweep",
    "plot_threshold",
    "set_theme",
    "show",
]

KINDS = {
    "generated": COLOURS["orange"],
    "twins": COLOURS["blue"],
    "held-out": COLOURS["grey"],
    "ceiling": COLOURS["green"],
}


def _new(rows: int = 1, columns: int = 1, height_in: float = 3.2, **kwargs):
    figure = Figure(figsize=(WIDTH_IN, height_in))
    return figure, figure.subplots(rows, columns, squeeze=False, **kwargs)


def _columns(data: pd.DataFrame, *names: str) -> pd.DataFrame:
    missing = [name for name in names if name not in data]
    if missing or data.empty:
        raise ValueError(f"data: expected rows with columns {', '.join(names)}, got {len(data)} rows without {missing}")
    return data


def _percent(axis) -> None:
    axis.set_major_formatter(mpl.ticker.FuncFormatter(lambda share, _: f"{100 * share:g} %"))


@themed
def plot_captions_and_classes(clips: pd.DataFrame, most_common: int = 15) -> Figure:
    """How long captions are, and which sound classes are frequent. Columns: caption, classes (a list for each clip)."""
    _columns(clips, "caption", "classes")
    figure, axes = _new(1, 2, 3.6, width_ratios=(1, 1.2))
    words = clips["caption"].str.split().str.len()
    left, right = axes[0]
    sns.histplot(x=words, discrete=True, ax=left, color=COLOURS["blue"], alpha=0.85, shrink=0.85)
    left.set(xlabel="words in a caption", ylabel="clips")
    counts = clips["classes"].explode().value_counts().head(most_common)
    right.barh(counts.index.astype(str), counts.to_numpy(), color=COLOURS["green"], alpha=0.85)
    right.invert_yaxis()
    right.grid(axis="y", visible=False)
    right.set(xlabel="clips in which the class is heard")
    return figure


@themed
def plot_codec_curve(curve: pd.DataFrame) -> Figure:
    """Error of codecs by latent size, and how near a generator on their latents comes to its training clips.

    Columns: codec (trained, linear), latent_numbers, error (nepers), and own_cosine and distance: lists, a value a generator.
    """
    _columns(curve, "codec", "latent_numbers", "error", "own_cosine", "distance")
    figure, axes = _new(1, 3, 3.2)
    labels = {
        "error": "error, nepers",
        "own_cosine": "generated to own clip, median cosine",
        "distance": "generated to training, kernel distance",
    }
    palette = {"trained": COLOURS["orange"], "linear": COLOURS["blue"]}
    for ax, (column, label) in zip(axes[0], labels.items()):
        every = curve.explode(column).astype({column: float})
        shared = {"data": every, "x": "latent_numbers", "y": column, "hue": "codec", "palette": palette, "ax": ax}
        sns.lineplot(**shared, style="codec", errorbar=None, legend=column == "error")
        sns.scatterplot(**shared, legend=False)
        ax.set(
            xlabel="latent numbers a clip", ylabel=label, xscale="log", xticks=sorted(curve["latent_numbers"].unique())
        )
        ax.xaxis.set_major_formatter(mpl.ticker.StrMethodFormatter("{x:,.0f}"))
        ax.xaxis.set_minor_locator(mpl.ticker.NullLocator())
    axes[0][0].set_ylim(0, None)
    return figure


@themed
def plot_spectrograms(mels: np.ndarray, labels: list[str], frame_s: float = 0.016, fmax_khz: float = 8.0) -> Figure:
    """Log-mel spectrograms [N, T, M] in nepers, one below the other on one time axis and one colour scale."""
    mels = np.asarray(mels)
    if mels.ndim != 3 or len(mels) != len(labels):
        raise ValueError(f"mels: expected [N, T, M] with N = {len(labels)} labels, got shape {mels.shape}")
    figure, axes = _new(len(mels), 1, 0.5 + 1.25 * len(mels), sharex=True)
    decibel = mels * (20 / np.log(10))
    top = float(decibel.max())
    for axis, mel, label in zip(axes[:, 0], decibel, labels):
        extent = (0, mel.shape[0] * frame_s, 0, mel.shape[1])
        image = axis.imshow(mel.T, origin="lower", aspect="auto", extent=extent, cmap="magma", vmin=top - 70, vmax=top)
        axis.set(title=label, yticks=[0, mel.shape[1]], yticklabels=["0", f"{fmax_khz:g} kHz"])
        axis.grid(visible=False)
    axes[-1, 0].set_xlabel("seconds")
    bar = figure.colorbar(image, ax=axes[:, 0], label="dB", shrink=min(1.0, 1.5 / len(mels)), pad=0.015)
    bar.outline.set_visible(False)
    return figure


@themed
def plot_roundtrip(scores: pd.DataFrame) -> Figure:
    """Cumulative share of clips by similarity. Columns: score, kind ("round trip" and what it is compared with)."""
    _columns(scores, "score", "kind")
    figure, axes = _new()
    axis = axes[0, 0]
    colours = [COLOURS["green"], COLOURS["blue"], COLOURS["grey"], COLOURS["orange"], COLOURS["purple"]]
    for colour, (kind, rows) in zip(colours, scores.groupby("kind", sort=False)):
        ordered = np.sort(rows["score"].to_numpy())
        axis.step(ordered, np.arange(1, len(ordered) + 1) / len(ordered), where="post", label=kind, color=colour)
    axis.set(xlabel="similarity to the original clip", ylabel="share of clips at most this similar", ylim=(0, 1.02))
    _percent(axis.yaxis)
    axis.legend(loc="upper left")
    return figure


@themed
def plot_loss(losses: pd.DataFrame, window: int = 25) -> Figure:
    """Training loss, raw (faint) and its running mean over `window` rows. Columns: update, loss, run."""
    _columns(losses, "update", "loss", "run")
    figure, axes = _new()
    axis = axes[0, 0]
    for colour, (run, rows) in zip(COLOURS.values(), losses.groupby("run", sort=False)):
        rows = rows.sort_values("update")
        axis.plot(rows["update"], rows["loss"], color=colour, alpha=0.22, linewidth=0.7)
        smooth = rows["loss"].rolling(window, min_periods=1, center=True).mean()
        axis.plot(rows["update"], smooth, color=colour, label=str(run))
    axis.set(xlabel="update", ylabel="training loss", yscale="log")
    axis.yaxis.set_minor_formatter(mpl.ticker.NullFormatter())
    axis.yaxis.set_major_formatter(mpl.ticker.FormatStrFormatter("%g"))
    axis.legend()
    return figure


@themed
def plot_similarity(
    scores: pd.DataFrame, bins: int = 40, label: str = "similarity to the nearest training clip"
) -> Figure:
    """Best-match similarity per training size, the paper's main figure.

    Columns: score, kind (generated, twins, held-out, ceiling), n_train. The triangle marks the median. The ceiling is a
    band, from its 5th to its 95th percentile: as a histogram its one narrow peak would dwarf the others."""
    _columns(scores, "score", "kind", "n_train")
    unknown = set(scores["kind"]) - set(KINDS)
    if unknown:
        raise ValueError(f"kind: expected one of {', '.join(KINDS)}, got {min(unknown)!r}")
    sizes = sorted(scores["n_train"].unique())
    figure, axes = _new(len(sizes), 1, 0.7 + 1.5 * len(sizes), sharex=True)
    edges = np.histogram_bin_edges(scores.loc[scores["kind"] != "ceiling", "score"], bins=bins)
    for axis, n_train in zip(axes[:, 0], sizes):
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
        axis.set(title=f"{n_train:,} training clips", ylabel="share of clips")
        _percent(axis.yaxis)
    handles = [
        Line2D([], [], color=colour, linewidth=3, label=kind)
        for kind, colour in KINDS.items()
        if kind in set(scores["kind"])
    ]
    handles.append(Line2D([], [], color=INK, marker="^", linestyle="none", label="median"))
    figure.legend(handles=handles, loc="outside upper left", ncols=len(handles))
    axes[-1, 0].set_xlabel(label)
    return figure


@themed
def plot_roc(points: pd.DataFrame) -> Figure:
    """Detection curves with a logarithmic false-positive axis, where detectors differ. Columns: detector, fpr, tpr."""
    _columns(points, "detector", "fpr", "tpr")
    figure, axes = _new(height_in=3.8)
    axis = axes[0, 0]
    least = points.loc[points["fpr"] > 0, "fpr"].min()
    for colour, (detector, rows) in zip(COLOURS.values(), points.groupby("detector", sort=False)):
        rows = rows.sort_values(["fpr", "tpr"])
        axis.step(rows["fpr"].clip(lower=least), rows["tpr"], where="post", color=colour, label=str(detector))
    chance = np.geomspace(least, 1, 100)
    axis.plot(chance, chance, color=INK, linestyle=":", linewidth=1, label="chance")
    axis.set(xscale="log", xlabel="false-positive rate", ylabel="altered copies found", xlim=(least, 1), ylim=(0, 1.02))
    for side in (axis.xaxis, axis.yaxis):
        _percent(side)
    axis.legend(loc="lower right")
    return figure


@themed
def plot_detection(detection: pd.DataFrame) -> Figure:
    """AUROC by alteration (rows) and detector (columns). Columns: detector, transform, strength, auroc."""
    _columns(detection, "detector", "transform", "strength", "auroc")
    data = detection.assign(alteration=detection["transform"] + "  " + detection["strength"].astype(str))
    table = data.pivot_table(index="alteration", columns="detector", values="auroc", sort=False)
    figure, axes = _new(height_in=0.8 + 0.3 * len(table))
    axis = axes[0, 0]
    # Its own light-to-dark colours at every theme, so the numbers in the cells need no theme of their own.
    sns.heatmap(
        table,
        ax=axis,
        vmin=0.5,
        vmax=1,
        cmap="crest_r",
        annot=True,
        fmt=".2f",
        annot_kws={"size": 9},
        cbar_kws={"label": "AUROC"},
    )
    axis.set(xlabel="", ylabel="")
    axis.tick_params(length=0)
    axis.tick_params(axis="y", rotation=0)
    return figure


@themed
def plot_sweep(sweep: pd.DataFrame) -> Figure:
    """Flagged share against β, a line for each K. Columns: beta, k, flagged_rate."""
    _columns(sweep, "beta", "k", "flagged_rate")
    figure, axes = _new()
    axis = axes[0, 0]
    ks = sorted(sweep["k"].unique())
    colours = mpl.colormaps["viridis"](np.linspace(0.35, 0.8, len(ks)))  # its dark end would vanish in the dark theme
    for colour, marker, k in zip(colours, "osD^vPX*" * len(ks), ks):
        rows = sweep[sweep["k"] == k].sort_values("beta")
        axis.plot(rows["beta"], rows["flagged_rate"], marker=marker, markersize=5, color=colour, label=f"K = {k}")
    axis.set(xlabel="β, weight of the bias", ylabel="generated clips flagged", ylim=(0, None))
    _percent(axis.yaxis)
    axis.legend(ncols=2)
    return figure


@themed
def plot_threshold(query_scores: np.ndarray, null_scores: np.ndarray, tau: float, null_name: str = "twins") -> Figure:
    """Normalised scores of generated clips [N] and of a null [M], with the threshold between them."""
    query_scores, null_scores = np.asarray(query_scores), np.asarray(null_scores)
    figure, axes = _new()
    axis = axes[0, 0]
    edges = np.histogram_bin_edges(np.concatenate([query_scores, null_scores]), bins=40)
    for values, label, colour in (
        (null_scores, null_name, COLOURS["blue"]),
        (query_scores, "generated", COLOURS["orange"]),
    ):
        weights = np.full(len(values), 1 / len(values))
        axis.hist(values, edges, weights=weights, histtype="stepfilled", color=colour, alpha=0.28)
        axis.hist(values, edges, weights=weights, histtype="step", color=colour, linewidth=1.4, label=label)
    axis.axvspan(tau, max(edges[-1], tau), color=INK, alpha=0.06, linewidth=0)
    axis.axvline(tau, color=INK, linewidth=1.2)
    axis.annotate(
        "τ  flagged →",
        (tau, 1),
        xycoords=("data", "axes fraction"),
        xytext=(5, -11),
        textcoords="offset points",
        fontsize=10,
    )
    axis.set(xlabel="best normalised score", ylabel="share of clips")
    _percent(axis.yaxis)
    axis.legend(loc="upper left")
    return figure


@themed
def plot_replication(
    replication: pd.DataFrame, paper: pd.DataFrame | None = None, rate: str = "flagged_rate"
) -> Figure:
    """Replication against training size, a point and interval for each draw; zero counts show their upper bound.

    Columns: n_train, draw, `rate`, ci_low, ci_high (near_exact_low, near_exact_high for rate "near_exact_rate").
    `paper`: n_train, rate, label ("near-exact", "flagged"): figures as summarised, drawn hollow.
    """
    low, high = ("near_exact_low", "near_exact_high") if rate == "near_exact_rate" else ("ci_low", "ci_high")
    _columns(replication, "n_train", "draw", rate, low, high)
    figure, axes = _new(height_in=3.8)
    axis = axes[0, 0]
    for n_train, rows in replication.groupby("n_train"):
        for place, row in enumerate(rows.sort_values("draw").itertuples()):
            x = n_train * 1.09 ** (place - (len(rows) - 1) / 2)  # draws side by side
            value, bottom, top = getattr(row, rate), getattr(row, low), getattr(row, high)
            axis.plot([x, x], [max(bottom, 1e-6), top], color=COLOURS["orange"], linewidth=1.4)
            zero = value == 0
            axis.plot(x, top if zero else value, marker="v" if zero else "o", color=COLOURS["orange"], markersize=7)
    handles = [Line2D([], [], color=COLOURS["orange"], marker="o", label="this book, one draw")]
    if (replication[rate] == 0).any():
        handles.append(Line2D([], [], color=COLOURS["orange"], marker="v", linestyle="none", label="none: upper bound"))
    if paper is not None:
        for marker, (label, rows) in zip(
            "sD^", _columns(paper, "n_train", "rate", "label").groupby("label", sort=False)
        ):
            style = {
                "marker": marker,
                "linestyle": "none",
                "color": COLOURS["blue"],
                "markerfacecolor": "none",
                "markersize": 8,
            }
            axis.plot(rows["n_train"], rows["rate"], **style)
            handles.append(Line2D([], [], label=f"paper, {label}, as summarised", **style))
    axis.set(xscale="log", yscale="log", xlabel="training clips", ylabel=rate.replace("_", " "), ylim=(1e-4, 1.3))
    sizes = {*replication["n_train"], *(paper["n_train"] if paper is not None else ())}
    axis.set_xticks(sorted(sizes), [f"{n:,}" for n in sorted(sizes)])
    axis.margins(x=0.15)
    _percent(axis.yaxis)
    axis.yaxis.set_minor_formatter(mpl.ticker.NullFormatter())
    axis.xaxis.set_minor_formatter(mpl.ticker.NullFormatter())
    figure.legend(handles=handles, loc="outside upper left", ncols=2)
    return figure
