"""Figures of when copying begins: shares over training, and clips as they come out of noise.

Notebook: 08_onset.
"""

from collections.abc import Sequence

import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure

from helpers.book.figures.axes import (
    check_columns,
    count_axis,
    front,
    new_axes,
    percent_axis,
    round_ticks,
    shades_of,
    write_ends,
)
from helpers.book.theme import COLOURS, INK, themed

# Of an exponent: mathtext has fonts of its own, and warns on the page.
RAISED = str.maketrans("-0123456789.", "⁻⁰¹²³⁴⁵⁶⁷⁸⁹·")
KINDS = {"training": "orange", "held-out": "blue"}  # of prompts, as the trajectory stage names them


@themed(
    "Near-exact share against updates, a line for each run, and against updates divided by a power of the number of training clips."
)
def plot_collapse(shares: pd.DataFrame, exponent: float, level: float) -> Figure:
    """Near-exact share of the own clip over updates, and over updates / n**exponent, a line a run; the level is dashed.

    Columns: n_train, draw, updates, near_exact. Where the scaling relation holds, the lines of all sizes fall together on the
    right, as all of training, not the onset alone, is then stretched by n**exponent.
    """
    check_columns(shares, "n_train", "draw", "updates", "near_exact")
    figure, axes = new_axes(1, 2, 3.5, sharey=True)
    axes[0][0].set(ylim=(-0.06, 1.12), ylabel="near-exact of the own clip")
    percent_axis(axes[0][0].yaxis)
    shades = shades_of(shares["n_train"])
    for axis, power in zip(axes[0], (0, exponent)):
        lines = {}
        for (n_train, _), run in shares.sort_values("updates").groupby(["n_train", "draw"]):
            layer = front(n_train, shades)
            (line,) = axis.plot(
                run["updates"] / n_train**power, run["near_exact"],
                marker="o", markersize=3, linewidth=1.2, color=shades[n_train], zorder=layer,
            )  # fmt: skip
            name = f"{n_train:,}{' clips' if layer > 2 else ''}"  # beside its highest run
            lines[name] = max(lines.get(name, line), line, key=lambda one: one.get_ydata()[-1])
        scaled = shares["updates"] / shares["n_train"] ** power
        ticks = round_ticks(scaled.min(), scaled.max())
        axis.set(xscale="log", xlabel=f"updates / n{f'{power:.2f}'.translate(RAISED)}" if power else "updates")
        axis.axhline(level, color=INK, linestyle="--", linewidth=1)
        write_ends(axis, lines)
        count_axis(axis.xaxis, ticks or [scaled.min()])
        axis.annotate("onset", (0.02, level), (0, 2), ("axes fraction", "data"), textcoords="offset points", size=8)
    return figure


@themed(
    "Nearness of the clean estimate to the prompt's own clip after each step of the sampler, for prompts of both kinds."
)
def plot_nearness(trajectory: pd.DataFrame) -> Figure:
    """Nearness after each step: a thin line a prompt, a thick one the median of its kind. Columns: kind, clip_id, step, nearness."""
    check_columns(trajectory, "kind", "clip_id", "step", "nearness")
    figure, axes = new_axes(1, 1, 3.0)
    colours = {kind: COLOURS[name] for kind, name in KINDS.items()}
    given = {"data": trajectory, "x": "step", "y": "nearness", "hue": "kind", "palette": colours, "ax": axes[0][0]}
    sns.lineplot(**given, units="clip_id", estimator=None, linewidth=0.7, alpha=0.5, legend=False)
    axis = sns.lineplot(**given, estimator="median", errorbar=None, linewidth=2.6)
    axis.set(xlabel="step of the sampler", ylabel="nearness to the own clip")
    axis.set_xticks([1, *range(5, trajectory["step"].max() + 1, 5)])
    handles, labels = axis.get_legend_handles_labels()
    axis.get_legend().remove()
    figure.legend(handles, [f"{label} prompts" for label in labels], loc="outside upper left", ncols=2)
    return figure


@themed()
def plot_estimates(mels: Sequence[np.ndarray], rows: Sequence[str], columns: Sequence[str], frame_s: float) -> Figure:
    """Clean estimates of clips, a column a clip, a row a step, the own clip last: log-mels [R, T, M] of each, in nepers."""
    figure, axes = new_axes(1, len(columns), 0.6 + 0.6 * len(rows), sharex=True, sharey=True)
    bands, gap = mels[0].shape[2], 6
    for axis, clip, title in zip(axes[0], mels, columns):
        decibel = np.asarray(clip, np.float64) * (20 / np.log(10))
        top = decibel[-1].max()
        # the first row stands on top
        padded = np.pad(decibel[::-1], ((0, 0), (0, 0), (0, gap)), constant_values=np.nan)
        image = padded.transpose(0, 2, 1).reshape(-1, clip.shape[1])
        extent = (0, clip.shape[1] * frame_s, 0, len(image))
        axis.imshow(image, origin="lower", aspect="auto", extent=extent, cmap="magma", vmin=top - 70, vmax=top)
        middles = (bands + gap) * np.arange(len(rows)) + bands / 2
        axis.set_yticks(middles, rows[::-1], size=8)
        axis.tick_params(axis="y", length=0)
        axis.set(xlabel="seconds", title=title)
        axis.grid(visible=False)
        axis.spines[:].set_visible(False)
    figure.set_label(
        f"Log-mel spectrograms after some steps of the sampler, and of the own clip: {'; '.join(columns)}."
    )
    return figure
