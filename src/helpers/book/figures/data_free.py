"""Figure of what tells replayed prompts from others, without a search of the training set.

Notebook: 09_data_free.
"""

import pandas as pd
import seaborn as sns
from matplotlib.figure import Figure

from helpers.book.figures.axes import check_columns, new_axes
from helpers.book.theme import COLOURS, themed

COLOUR_OF = {"replayed": "orange", "held out": "blue"}


@themed("The score of every prompt by four methods, a panel each: replayed prompts apart from held-out ones, or not.")
def plot_signs(prompts: pd.DataFrame, titles: dict[str, str]) -> Figure:
    """A point a prompt, a panel a method; further right means more like a replay.

    Columns: kind, replayed, and each method of `titles`, whose values name the panels. Prompts of training clips that are
    not replayed are left out.
    """
    check_columns(prompts, "kind", "replayed", *titles)
    shown = prompts[prompts["replayed"] | (prompts["kind"] == "heldout")]
    shown = shown.assign(prompt=shown["replayed"].map({True: "replayed", False: "held out"}))
    figure, axes = new_axes(2, 2, 3.6)
    palette = {kind: COLOURS[name] for kind, name in COLOUR_OF.items()}
    for axis, (method, title) in zip(axes.flat, titles.items()):
        sns.stripplot(
            shown, x=method, y="prompt", hue="prompt", order=list(COLOUR_OF), palette=palette, size=3.5, jitter=0.25,
            legend=False, ax=axis,
        )  # fmt: skip
        axis.set(title=title, xlabel="", ylabel="")
        axis.set_xticklabels([])
    return figure
