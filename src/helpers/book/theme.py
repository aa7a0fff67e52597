"""How figures look and how they reach the page: theme, palette, and SVG that follows the page's light or dark colours.

Text and lines are drawn in a stand-in ink that `figure_html` turns into the page's own text colour, on no background,
so one figure suits both themes.
"""

import hashlib
import io
import re
from functools import wraps
from html import escape

import matplotlib as mpl
from IPython.display import HTML, display
from matplotlib.figure import Figure

INK = "#010203"  # stands for the page's text colour until `show` replaces it
# Okabe and Ito's colour-blind-safe palette, lightness evened out so that each colour is seen on white and on black.
COLOURS = {
    "blue": "#2f86c8",
    "orange": "#de8a1e",
    "green": "#18a07a",
    "red": "#d9623b",
    "purple": "#b678a5",
    "grey": "#8b9196",
}
WIDTH_IN = 7.2
THEME = {
    "figure.facecolor": "none",
    "savefig.facecolor": "none",
    "axes.facecolor": "none",
    "axes.edgecolor": INK,
    "axes.labelcolor": INK,
    "axes.linewidth": 0.7,
    "axes.grid": True,
    "axes.axisbelow": True,
    "axes.spines.top": False,
    "axes.spines.right": False,
    "axes.titlesize": 10,
    "axes.titlelocation": "left",
    "axes.labelsize": 10,
    "axes.prop_cycle": mpl.cycler(color=list(COLOURS.values())),
    "grid.color": INK,
    "grid.alpha": 0.12,
    "grid.linewidth": 0.6,
    "text.color": INK,
    "xtick.color": INK,
    "ytick.color": INK,
    "xtick.labelsize": 9,
    "ytick.labelsize": 9,
    "legend.frameon": False,
    "legend.fontsize": 9,
    "lines.linewidth": 1.6,
    "patch.linewidth": 0,
    "figure.constrained_layout.use": True,
    "svg.fonttype": "path",
    "svg.hashsalt": "figures",
}


def set_theme() -> None:
    """The book's look for a reader's own plots; the functions here set it for themselves."""
    mpl.rcParams.update(THEME)


def themed(alt: str = ""):
    """A decorator of functions that return a figure: draws in the book's look and leaves matplotlib's settings alone.

    `alt`, a sentence on what the figure shows, becomes its label, and with that its alternative text on the page; where the
    sentence depends on the data, the function sets the label.
    """

    def decorate(plot):
        @wraps(plot)
        def in_theme(*args, **kwargs) -> Figure:
            with mpl.rc_context(THEME):
                figure = plot(*args, **kwargs)
            if alt:
                figure.set_label(alt)
            return figure

        return in_theme

    return decorate


def figure_html(figure: Figure, alt: str | None = None) -> str:
    """The figure as SVG inside the page, named for screen readers by `alt`, or by its label; wide ones scroll in a box.

    Raises ValueError where neither says anything.
    """
    alt = figure.get_label() if alt is None else alt
    if not alt.strip():
        raise ValueError("alt: expected a sentence that says what the figure shows, got nothing")
    buffer = io.StringIO()
    with mpl.rc_context(THEME):
        figure.savefig(buffer, format="svg", metadata={"Date": None})
    svg = buffer.getvalue()
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg[svg.index("<svg") :], flags=re.DOTALL)
    mark = "f" + hashlib.sha256(svg.encode()).hexdigest()[:8]  # ids are unique within a figure only
    svg = re.sub(r'\bid="([^"]+)"', rf'id="{mark}-\1"', svg)
    svg = re.sub(r'(xlink:href="|url\()#([^")]+)', rf"\1#{mark}-\2", svg)
    svg = svg.replace(INK, "currentColor")
    width_px = round(figure.get_figwidth() * 96)
    smallest_px = min(width_px, 560)  # below this, letters would be too small to read: scroll instead
    style = f"display:block;width:100%;min-width:{smallest_px}px;max-width:{width_px}px;height:auto"
    head = f'<svg role="img" aria-label="{escape(alt)}" style="{style}"'
    svg = re.sub(r'<svg( [^>]*?)\bheight="[^"]*"', r"<svg\1", svg, count=1)
    svg = re.sub(r'^<svg([^>]*?) width="[^"]*"', r"<svg\1", svg, count=1)
    box = '<div class="figure-box" style="overflow-x:auto" tabindex="0" role="group" aria-label="Figure">'
    return box + svg.replace("<svg", head, 1).strip() + "</div>"


def show(figure: Figure, alt: str | None = None) -> None:
    """Displays `figure_html` in the notebook."""
    display(HTML(figure_html(figure, alt)))
