"""Figures of the chapters on how clips are made: suspected duplicates, training length, generated clips and their matches.

As in `figures`, each function takes tidy data and returns a matplotlib Figure; none computes a score.

Notebooks: 01_corpus, 03_training, 04_generation.
"""

from collections.abc import Sequence

import matplotlib as mpl
import numpy as np
import pandas as pd
from matplotlib.figure import Figure

from helpers.book.theme import COLOURS, INK, WIDTH_IN, themed


def _columns(data: pd.DataFrame, *names: str) -> None:
    missing = [name for name in names if name not in data]
    if missing or data.empty:
        raise ValueError(f"data: expected rows with columns {', '.join(names)}, got {len(data)} rows without {missing}")


@themed
def plot_pairs(pairs: pd.DataFrame, threshold: float) -> Figure:
    """Suspected duplicates: how alike two recordings look against how alike their waveforms are.

    Columns: score (centred log-mel cosine), correlation (of the waveforms), verified. `threshold`: of the correlation.
    """
    _columns(pairs, "score", "correlation", "verified")
    figure = Figure(figsize=(WIDTH_IN, 3.4))
    axis = figure.subplots()
    verified = pairs["verified"].astype(bool)
    # distance from 1 on a logarithmic axis: the certain pairs would otherwise be one dot at the right edge
    distance = (1 - pairs["score"]).clip(lower=1e-6)
    for mask, label, colour, marker in (
        (verified, "same waveform", COLOURS["orange"], "o"),
        (~verified, "only alike", COLOURS["grey"], "x"),
    ):
        style = {"s": 26, "marker": marker, "color": colour, "alpha": 0.75, "linewidths": 1.1}
        axis.scatter(distance[mask], pairs["correlation"][mask], label=f"{label} ({int(mask.sum())} pairs)", **style)
    axis.axhline(threshold, color=INK, linewidth=0.9, linestyle=":")
    axis.set(xscale="log", xlabel="log-mel cosine of the two beginnings", ylabel="waveform correlation", ylim=(0, 1.04))
    axis.invert_xaxis()
    axis.xaxis.set_major_formatter(mpl.ticker.FuncFormatter(lambda gap, _: f"{1 - gap:.10g}"))
    axis.xaxis.set_minor_formatter(mpl.ticker.NullFormatter())
    figure.legend(loc="outside upper left", ncols=2)
    return figure


@themed
def plot_training_lengths(points: pd.DataFrame, batch_size: int, n_train: int, epochs: int = 40) -> Figure:
    """Which (training clips, updates) a study has models of; the page's own size is filled, a diagonal is equal epochs.

    Columns: n_train, updates.
    """
    _columns(points, "n_train", "updates")
    figure = Figure(figsize=(WIDTH_IN, 3.6))
    axis = figure.subplots()
    own = points["n_train"] == n_train
    for mask, face in ((own, COLOURS["orange"]), (~own, "none")):
        axis.scatter(
            points["n_train"][mask], points["updates"][mask], s=55, zorder=3, facecolor=face,
            edgecolor=COLOURS["orange"], linewidth=1.5,
        )  # fmt: skip
    last = int(points["updates"].max())
    low, high = points["n_train"].min() / 1.6, points["n_train"].max() * 1.6
    ends = np.array([low, high])
    axis.axhline(last, color=COLOURS["blue"], linewidth=1.3)
    axis.plot(ends, epochs * ends / batch_size, color=COLOURS["green"], linewidth=1.3)
    axis.set(xscale="log", yscale="log", xlabel="training clips", ylabel="updates", xlim=(low, high))
    bottom = min(points["updates"].min(), epochs * low / batch_size) / 2  # room for the diagonal's name below it
    axis.set_ylim(bottom, max(last, epochs * high / batch_size) * 1.6)
    axis.annotate(
        f"equal updates: {last:,}", (low, last), xytext=(8, 4), textcoords="offset points",
        color=COLOURS["blue"], fontsize=9.5, ha="left", va="bottom",
    )  # fmt: skip
    axis.annotate(
        f"equal epochs: {epochs}", (low, epochs * low / batch_size), xytext=(8, -4), textcoords="offset points",
        color=COLOURS["green"], fontsize=9.5, ha="left", va="top",
    )  # fmt: skip
    sizes, updates = (sorted(points[name].unique()) for name in ("n_train", "updates"))
    axis.set_xticks(sizes, [f"{n:,}" for n in sizes])
    axis.set_yticks(updates, [f"{n:,}" for n in updates])
    axis.xaxis.set_minor_locator(mpl.ticker.NullLocator())
    axis.yaxis.set_minor_locator(mpl.ticker.NullLocator())
    return figure


@themed
def plot_matches(
    mels: np.ndarray, rows: Sequence[str], columns: Sequence[str], frame_s: float = 0.016, fmax_khz: float = 8.0
) -> Figure:
    """A grid of log-mel spectrograms [rows, columns, T, M] in nepers on one time axis and one colour scale."""
    mels = np.asarray(mels)
    if mels.ndim != 4 or mels.shape[:2] != (len(rows), len(columns)):
        raise ValueError(f"mels: expected [{len(rows)}, {len(columns)}, T, M], as there are labels, got {mels.shape}")
    figure = Figure(figsize=(WIDTH_IN, 0.6 + 1.3 * len(rows)))
    axes = figure.subplots(len(rows), len(columns), sharex=True, sharey=True, squeeze=False)
    decibel = mels * (20 / np.log(10))
    top = float(decibel.max())
    extent = (0, mels.shape[2] * frame_s, 0, fmax_khz)
    for (i, j), axis in np.ndenumerate(axes):
        image = axis.imshow(
            decibel[i, j].T, origin="lower", aspect="auto", extent=extent, cmap="magma", vmin=top - 70, vmax=top
        )
        axis.set(title=f"{columns[j]}: {rows[i]}" if j == 0 else columns[j], yticks=[0, fmax_khz])
        axis.grid(visible=False)
    for axis in axes[:, 0]:  # the ends alone: bands are spaced as the ear hears pitch, not evenly in Hz
        axis.set_yticklabels(["0", f"{fmax_khz:g} kHz"])
    for axis in axes[-1]:
        axis.set_xlabel("seconds")
    figure.colorbar(image, ax=axes, label="dB", shrink=min(1.0, 1.6 / len(rows)), pad=0.015)
    return figure
