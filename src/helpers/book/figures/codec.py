"""Figures of the codec: what is kept on the way through it, and the choice of its size.

Notebook: 02_codec.
"""

import matplotlib as mpl
import numpy as np
import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure

from helpers.book.figures.axes import check_columns, new_axes, percent_axis
from helpers.book.theme import COLOURS, themed


@themed("Cumulative share of clips by similarity to their original, for the codec alone and for codec and vocoder.")
def plot_roundtrip(scores: pd.DataFrame) -> Figure:
    """Cumulative share of clips by similarity. Columns: score, kind ("round trip" and what it is compared with)."""
    check_columns(scores, "score", "kind")
    figure, axes = new_axes()
    axis = axes[0, 0]
    colours = [COLOURS["green"], COLOURS["blue"], COLOURS["grey"], COLOURS["orange"], COLOURS["purple"]]
    for colour, (kind, rows) in zip(colours, scores.groupby("kind", sort=False)):
        ordered = np.sort(rows["score"].to_numpy())
        axis.step(ordered, np.arange(1, len(ordered) + 1) / len(ordered), where="post", label=kind, color=colour)
    axis.set(xlabel="similarity to the original clip", ylabel="share of clips at most this similar", ylim=(0, 1.02))
    percent_axis(axis.yaxis)
    axis.legend(loc="upper left")
    return figure


@themed()
def plot_codec_curve(curve: pd.DataFrame) -> Figure:
    """Error of codecs by latent size, and how near a generator on their latents comes to its training clips.

    Columns: codec (trained, linear), latent_numbers, error (dB), n_heldout (clips), and own_cosine and distance: lists, a
    value a generator.
    """
    check_columns(curve, "codec", "latent_numbers", "error", "n_heldout", "own_cosine", "distance")
    figure, axes = new_axes(1, 3, 3.2)
    labels = {
        "error": "error, dB",
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
    over = f"over {curve['n_heldout'].iloc[0]} held-out clips"
    figure.set_label(f"Error of the round trip {over}, and what a generator makes of the latents, by latent size.")
    return figure
