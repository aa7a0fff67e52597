"""How figures look and how they reach the page: theme, palette, and SVG that follows the page's light or dark colours.

Text and lines are drawn in a stand-in ink that `figure_html` turns into the page's own text colour, on no background,
so one figure suits both themes.
"""

import base64
import hashlib
import io
import re
import textwrap
from functools import wraps
from html import escape

import matplotlib as mpl
from IPython.display import HTML, display
from matplotlib.figure import Figure
from matplotlib.gridspec import GridSpec

from helpers.book.words import file_stem

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
LARGEST_SVG = 150_000  # characters of a figure that is offered as a file: it is twice on the page
NARROW_IN = 3.75  # 360 px: a phone's page
BY_WIDTH = "<style>@media(min-width:600px){.figure-narrow{display:none}}@media(max-width:599px){.figure-wide{display:none}}</style>"
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
    """The figure as SVG inside the page, named for screen readers by `alt`, or by its label; drawn anew for a phone.

    The figure is spent by it: its panels are moved. Raises ValueError where neither says anything.
    """
    alt = figure.get_label() if alt is None else alt
    if not alt.strip():
        raise ValueError("alt: expected a sentence that says what the figure shows, got nothing")
    with mpl.rc_context(THEME):
        svgs = [_svg(figure, alt)]
        if _narrow(figure):
            svgs.append(_svg(figure, alt))
    link = _svg_link(svgs[0], alt)
    box = '<div class="figure-box" style="overflow-x:auto" tabindex="0" role="group" aria-label="Figure">'
    if len(svgs) == 1:
        # below this, letters would be too small to read: it scrolls
        least = min(round(80 * figure.get_figwidth()), 560)
        return f'{box}<div style="min-width:{least}px">{svgs[0]}</div></div>{link}'
    wide, narrow = (f'<div class="figure-{name}">{svg}</div>' for name, svg in zip(("wide", "narrow"), svgs))
    return f"{BY_WIDTH}{box}{wide}{narrow}</div>{link}"


def _svg_link(svg: str, alt: str) -> str:
    """A figure as a file for slides, in dark letters on no background; none of one that is large."""
    if len(svg) > LARGEST_SVG:
        return ""
    held = base64.b64encode(svg.replace("currentColor", "#23282b").encode()).decode()
    return f'<a class="figure-svg" download="{file_stem(alt)}.svg" href="data:image/svg+xml;base64,{held}">SVG</a>'


def _narrow(figure: Figure) -> bool:
    """Draws the figure anew for a phone: panels below one another, the legend in few columns; whether it had to be."""
    width, height = figure.get_size_inches()
    bars = {bar.ax: bar for axis in figure.axes for image in axis.images if (bar := image.colorbar)}
    places = {axis: axis.get_subplotspec() for axis in figure.axes if axis not in bars}
    if width <= NARROW_IN or not places or not all(places.values()):
        return False
    rows, columns = next(iter(places.values())).get_gridspec().get_geometry()
    in_order = sorted(places, key=lambda axis: places[axis].num1)
    for axis in places:
        axis.set_ylabel(textwrap.fill(axis.get_ylabel(), 26))
        for text in axis.get_legend().get_texts() if axis.get_legend() else ():
            text.set_fontsize(8)
    if columns > 1:
        grid = GridSpec(len(places), 1, figure=figure)
        for number, axis in enumerate(in_order):
            axis.set_subplotspec(grid[number])
            axis.tick_params(labelleft=True, labelbottom=True)
        if len({axis.get_xlabel() for axis in in_order} - {""}) == 1:
            for axis in in_order[:-1]:
                axis.set_xlabel("")
        height *= 0.85 * len(places) / rows
    for bar in bars.values():  # beside its maps it would take of their width
        image, label = bar.mappable, bar.ax.get_ylabel()
        bar.remove()
        figure.colorbar(image, ax=in_order, label=label, location="bottom", aspect=40)
        height += 0.5
    for legend in list(figure.legends):
        texts = [text.get_text() for text in legend.get_texts()]
        columns = 1 if max(map(len, texts)) > 22 else 2
        figure.legend(handles=legend.legend_handles, labels=texts, loc="outside upper left", ncols=columns)
        legend.remove()
        height += 0.2 * (len(texts) // columns)
    figure.set_size_inches(NARROW_IN, height)
    return True


def _svg(figure: Figure, alt: str) -> str:
    buffer = io.StringIO()
    figure.savefig(buffer, format="svg", metadata={"Date": None})
    svg = buffer.getvalue()
    svg = re.sub(r"<metadata>.*?</metadata>", "", svg[svg.index("<svg") :], flags=re.DOTALL)
    mark = "f" + hashlib.sha256(svg.encode()).hexdigest()[:8]  # ids are unique within a figure only
    svg = re.sub(r'\bid="([^"]+)"', rf'id="{mark}-\1"', svg)
    svg = re.sub(r'(xlink:href="|url\()#([^")]+)', rf"\1#{mark}-\2", svg)
    svg = svg.replace(INK, "currentColor")
    style = f"display:block;width:100%;max-width:{round(figure.get_figwidth() * 96)}px;height:auto"
    head = f'<svg role="img" aria-label="{escape(alt)}" style="{style}"'
    svg = re.sub(r'<svg( [^>]*?)\bheight="[^"]*"', r"<svg\1", svg, count=1)
    svg = re.sub(r'^<svg([^>]*?) width="[^"]*"', r"<svg\1", svg, count=1)
    return svg.replace("<svg", head, 1).strip()


def captioned_html(figure: Figure, name: str, caption: str) -> str:
    """`figure_html` with a caption, for a place where a page has either a figure or words."""
    return f'<figure id="{escape(name)}">{figure_html(figure)}<figcaption>{escape(caption)}</figcaption></figure>'


def show(figure: Figure, alt: str | None = None) -> None:
    """Displays `figure_html` in the notebook."""
    display(HTML(figure_html(figure, alt)))
