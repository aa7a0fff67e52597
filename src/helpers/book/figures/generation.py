"""The figure of generated clips beside what they came nearest to.

Notebook: 04_generation.
"""

from collections.abc import Sequence

import numpy as np
from matplotlib.figure import Figure

from helpers.book.figures.axes import new_axes
from helpers.book.theme import themed


@themed(
    "Log-mel spectrograms of three generated clips, each beside its nearest training clip: among the nearest, the median, among the least near."
)
def plot_matches(
    mels: np.ndarray, rows: Sequence[str], columns: Sequence[str], frame_s: float = 0.016, fmax_khz: float = 8.0
) -> Figure:
    """A grid of log-mel spectrograms [rows, columns, T, M] in nepers on one time axis and one colour scale."""
    mels = np.asarray(mels)
    if mels.ndim != 4 or mels.shape[:2] != (len(rows), len(columns)):
        raise ValueError(f"mels: expected [{len(rows)}, {len(columns)}, T, M], as there are labels, got {mels.shape}")
    figure, axes = new_axes(len(rows), len(columns), 0.6 + 1.3 * len(rows), sharex=True, sharey=True)
    decibel = mels * (20 / np.log(10))
    top = float(decibel.max())
    extent = (0, mels.shape[2] * frame_s, 0, fmax_khz)
    for (i, j), axis in np.ndenumerate(axes):
        image = axis.imshow(
            decibel[i, j].T, origin="lower", aspect="auto", extent=extent, cmap="magma", vmin=top - 70, vmax=top
        )
        axis.set(title=f"{columns[j]}: {rows[i]}" if j == 0 and rows[i] else columns[j], yticks=[0, fmax_khz])
        axis.grid(visible=False)
    for axis in axes[:, 0]:  # the ends alone: bands are spaced as the ear hears pitch, not evenly in Hz
        axis.set_yticklabels(["0", f"{fmax_khz:g} kHz"])
    for axis in axes[-1]:
        axis.set_xlabel("seconds")
    figure.colorbar(image, ax=axes, label="dB", shrink=min(1.0, 1.6 / len(rows)), pad=0.015)
    return figure
