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

from helpers.book.theme import COLOURS, INK, WIDTH_IN, figure_html, set_theme, show, themed

__all__ = [
    "figure_html",
    "plot_captions_and_classes",
    "plot_codec_curve",
    "plot_loss",
    "plot_roundtrip",
    "plot_similarity",
    "plot_spectrograms",
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
