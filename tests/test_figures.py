"""Figures draw the data they are given, reach the page with a name, and follow its colours; tables escape."""

import base64
from xml.etree import ElementTree

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
from bs4 import BeautifulSoup
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Polygon, Rectangle

from helpers.book import theme
from helpers.book.figures.axes import legend_above, new_axes
from helpers.book.figures.codec import plot_codec_curve, plot_roundtrip
from helpers.book.figures.corpus import plot_captions_and_classes, plot_pairs
from helpers.book.figures.findings import plot_similarity
from helpers.book.figures.generation import plot_matches
from helpers.book.figures.training import plot_loss, plot_training_lengths
from helpers.book.summaries import prevention
from helpers.book.tables import captioned, table_html
from helpers.book.theme import COLOURS, INK
from helpers.sound.profiles import load_profile

RNG = np.random.default_rng(0)
CLIPS = pd.DataFrame(
    {"caption": ["a dog barks", "rain", "rain and wind"], "classes": [["dog"], ["rain"], ["rain", "wind"]]}
)
KINDS = ("generated", "twins", "held-out", "ceiling")
SIMILARITY = pd.DataFrame(
    [(RNG.normal(0.8, 0.05), kind, n) for n in (64, 16) for kind in KINDS for _ in range(20)],
    columns=["score", "kind", "n_train"],
)
LOSS = pd.DataFrame({"update": range(50), "loss": np.geomspace(1, 0.1, 50), "run": "n = 16"})
CURVE = pd.DataFrame(
    [(c, n, 10 / n, 64, [0.5, 0.6], [0.1, 0.2]) for c in ("linear", "trained") for n in (2048, 4096)],
    columns=["codec", "latent_numbers", "error", "n_heldout", "own_cosine", "distance"],
)
ROUNDTRIP = pd.DataFrame({"score": [0.9, 0.8, 0.5, 0.4], "kind": ["round trip"] * 2 + ["another clip"] * 2})

PLOTS = {
    "captions": lambda: plot_captions_and_classes(CLIPS),
    "codec curve": lambda: plot_codec_curve(CURVE),
    "roundtrip": lambda: plot_roundtrip(ROUNDTRIP),
    "loss": lambda: plot_loss(LOSS),
    "similarity": lambda: plot_similarity(SIMILARITY),
    "similarity beside one another": lambda: plot_similarity(SIMILARITY, in_rows=True),
}


@pytest.mark.parametrize("name", PLOTS)
def test_every_figure_reaches_the_page_named_and_in_the_page_colours(name):
    before = dict(mpl.rcParams)
    figure = PLOTS[name]()
    html = theme.figure_html(figure, 'rain & "wind"')
    assert isinstance(figure, Figure) and dict(mpl.rcParams) == before
    svg = BeautifulSoup(html, "html.parser").svg
    assert svg["aria-label"] == 'rain & "wind"' and svg["role"] == "img"
    assert INK not in html and "currentColor" in html and "<metadata" not in html
    assert "#000000" not in html  # black would vanish in the dark theme
    ids = {tag["id"] for tag in svg.find_all(id=True)}
    assert {tag["xlink:href"].removeprefix("#") for tag in svg.find_all("use")} <= ids


def test_two_figures_on_one_page_do_not_share_ids_and_the_same_figure_is_the_same_bytes():
    first, second = (theme.figure_html(PLOTS[name](), "x") for name in ("loss", "roundtrip"))
    ids = [{tag["id"] for tag in BeautifulSoup(html, "html.parser").find_all(id=True)} for html in (first, second)]
    assert ids[0] and not ids[0] & ids[1]
    assert first == theme.figure_html(PLOTS["loss"](), "x")


def test_a_figure_without_alternative_text_is_refused():
    with pytest.raises(ValueError, match="alt"):
        theme.figure_html(PLOTS["loss"](), "  ")


def test_similarity_has_a_panel_for_each_size_in_order_and_shares_that_sum_to_one():
    figure = plot_similarity(SIMILARITY)
    assert [axis.get_title(loc="left") for axis in figure.axes] == ["16 training clips", "64 training clips"]
    filled = [patch for patch in figure.axes[0].patches if patch.get_fill()]
    heights = [patch.get_xy()[:, 1] for patch in filled if isinstance(patch, Polygon)]
    assert len(heights) == len(KINDS) - 1 and all(0 < height.max() <= 1 for height in heights)
    (ceiling,) = (patch for patch in filled if isinstance(patch, Rectangle))
    scores = SIMILARITY.query("kind == 'ceiling' and n_train == 16")["score"]
    assert ceiling.get_x() == pytest.approx(scores.quantile(0.05))


def test_similarity_refuses_an_unknown_kind():
    with pytest.raises(ValueError, match="expected one of generated.*'strange'"):
        plot_similarity(SIMILARITY.assign(kind="strange"))


def test_missing_columns_and_wrong_shapes_are_named():
    with pytest.raises(ValueError, match=r"without \['loss'\]"):
        plot_loss(LOSS.drop(columns="loss"))


def test_colours_are_seen_on_light_and_on_dark():
    def luminance(colour):
        rgb = np.array(mpl.colors.to_rgb(colour))
        linear = np.where(rgb <= 0.04045, rgb / 12.92, ((rgb + 0.055) / 1.055) ** 2.4)
        return float(linear @ [0.2126, 0.7152, 0.0722])

    for colour in COLOURS.values():
        value, light, dark = luminance(colour), 1.0, luminance("#121212")
        assert (light + 0.05) / (value + 0.05) > 2.4 and (value + 0.05) / (dark + 0.05) > 2.4, colour


def test_table_is_escaped_formatted_and_named():
    data = pd.DataFrame({"<b>": ["<script>", "x"], "share": [0.12345, np.nan], "n": [1234, 5], "score": [0.98765, 1.0]})
    html = table_html(captioned(data, "a & b", {"share": ".1%", "n": ","}))
    table = BeautifulSoup(html, "html.parser").table
    assert "<script>" not in html and table.caption.get_text() == "a & b"
    cells = [[cell.get_text() for cell in row.find_all("td")] for row in table.tbody.find_all("tr")]
    assert cells == [["<script>", "12.3\u00a0%", "1,234", "0.988"], ["x", "–", "5", "1"]]
    assert all(head["scope"] == "col" for head in table.find_all("th"))
    with pytest.raises(ValueError, match="'nothing'"):
        table_html(captioned(data, "", {"nothing": "d"}))


PAIRS = pd.DataFrame({"score": [1.0, 0.99, 0.95], "correlation": [1.0, 0.7, 0.1], "verified": [True, True, False]})
LENGTHS = pd.DataFrame([(n, u) for n in (100, 500) for u in (125, 625)], columns=["n_train", "updates"])
ON_GENERATION = {
    "pairs": lambda: plot_pairs(PAIRS, 0.6),
    "lengths": lambda: plot_training_lengths(LENGTHS, 32, 100),
    "matches": lambda: plot_matches(RNG.normal(-5, 1, (3, 2, 32, 8)), "abc", ["made", "nearest"]),
}


@pytest.mark.parametrize("name", ON_GENERATION)
def test_figures_on_how_clips_are_made_reach_the_page_alike(name, monkeypatch):
    monkeypatch.setitem(PLOTS, name, ON_GENERATION[name])
    test_every_figure_reaches_the_page_named_and_in_the_page_colours(name)


def test_pairs_are_told_apart_and_identical_ones_have_a_place():
    axis = plot_pairs(PAIRS, 0.6).axes[0]
    places = [collection.get_offsets() for collection in axis.collections]
    assert [len(offsets) for offsets in places] == [2, 1] and axis.get_xlim()[0] > axis.get_xlim()[1]
    assert places[0][0].tolist() == pytest.approx([1e-6, 1.0]) and places[1][0].tolist() == pytest.approx([0.05, 0.1])


def test_equal_epochs_pass_through_the_checkpoints_that_are_forty_epochs():
    axis = plot_training_lengths(LENGTHS, 32, 100).axes[0]
    level, diagonal = axis.lines
    assert set(level.get_ydata()) == {625}
    x, y = diagonal.get_data()
    assert np.interp([100, 500], x, y) == pytest.approx([125, 625])
    own, others = axis.collections
    assert set(own.get_offsets()[:, 0]) == {100} and set(others.get_offsets()[:, 0]) == {500}
    assert len(others.get_facecolor()) == 0


def test_matches_share_one_colour_scale_and_refuse_another_number_of_labels():
    figure = ON_GENERATION["matches"]()
    assert len({axis.images[0].get_clim() for axis in figure.axes if axis.images}) == 1
    with pytest.raises(ValueError, match=r"expected \[1, 2, T, M\].*got \(3, 2, 4, 4\)"):
        plot_matches(np.zeros((3, 2, 4, 4)), ["a"], ["made", "nearest"])
    with pytest.raises(ValueError, match=r"without \['updates'\]"):
        plot_training_lengths(LENGTHS.drop(columns="updates"), 32, 100)


def test_a_figure_can_be_taken_along_as_a_file_in_letters_that_show():
    html = BeautifulSoup(theme.figure_html(plot_loss(LOSS), "Loss, by update"), "html.parser")
    (link,) = html.select("a[download]")
    svg = base64.b64decode(link["href"].removeprefix("data:image/svg+xml;base64,")).decode()
    assert link["download"] == "loss-by-update.svg" and "currentColor" not in svg and "#23282b" in svg
    assert ElementTree.fromstring(svg).tag == "{http://www.w3.org/2000/svg}svg"
    large = plot_loss(pd.concat([LOSS] * 400).assign(update=range(20_000), loss=RNG.random(20_000)))
    assert "download" not in theme.figure_html(large, "x"), "a large one would be twice on the page"


def test_on_a_phone_spectrograms_stand_in_one_column_above_one_bar_of_colours():
    shades = np.random.default_rng(0).normal(size=(3, 2, 8, 4))
    figure = plot_matches(shades, ["near", "median", "far"], ["generated", "nearest"])
    assert BeautifulSoup(theme.figure_html(figure, "x"), "html.parser").select_one(".figure-narrow svg")
    *panels, bar = (axis.get_position() for axis in figure.axes)
    assert len(panels) == 6 and len({round(panel.x0, 3) for panel in panels}) == 1
    assert all(above.y0 > below.y1 for above, below in zip(panels, [*panels[1:], bar]))
    assert [axis.get_xlabel() for axis in figure.axes[:6]] == [*[""] * 5, "seconds"]


def test_a_legend_of_long_names_stays_within_its_figure():
    """The names of chapter 10, which has the longest."""
    figure, _ = new_axes()
    names = [load_profile(name).intervention for name in prevention.CHANGED]
    legend_above(figure, [Line2D([], [], label=name) for name in (prevention.STUDY, *names, "twins: no copies")])
    figure.draw_without_rendering()
    assert figure.legends[0].get_window_extent().x1 <= figure.bbox.x1
