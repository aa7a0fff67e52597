"""Figures of the last chapters: they draw what they are given, on made-up tables of the shape of a study of three sizes."""

import matplotlib as mpl
import numpy as np
import pandas as pd
import pytest
import synthetic_study as made_up
from bs4 import BeautifulSoup
from matplotlib.figure import Figure

from helpers.book.figures.axes import shades_of
from helpers.book.figures.findings import (
    ANSWER,
    plot_answer,
    plot_copies,
    plot_curve,
    plot_dose,
    plot_moments,
    plot_seeds,
)
from helpers.book.figures.onset import plot_collapse
from helpers.book.figures.retrieval import plot_alterations, plot_ladder, plot_quality, plot_roc, plot_top1
from helpers.book.figures.thresholds import plot_choices, plot_sensitivity, plot_thresholds
from helpers.book.summaries import thresholds
from helpers.book.summaries.findings import (
    PAPER_SHARES,
    equal_moments,
    moments_in_words,
    seed_shares,
    shares_and_papers,
)
from helpers.book.theme import COLOURS, INK, NARROW_IN, figure_html

NULL = {"null_near_exact_rate": 0.02, "null_near_exact_low": 0.01, "null_near_exact_high": 0.03}
ONE = made_up.replication().query("updates == 5625 and draw == 0 and n_train < 4500")
PLOTS = {
    "quality": lambda: plot_quality(made_up.quality()),
    "quality of one checkpoint": lambda: plot_quality(
        made_up.quality().query("updates == 5625 and embedding == 'clap'")
    ),
    "quality without clap": lambda: plot_quality(
        made_up.quality().query("embedding == 'aisfx'").assign(clap_agreement=np.nan)
    ),
    "ladder": lambda: plot_ladder(made_up.ladder()),
    "top1": lambda: plot_top1(made_up.top1()),
    "top1 without twins": lambda: plot_top1(
        made_up.top1().assign(twins_top1_rate=np.nan, twins_top1_low=np.nan, twins_top1_high=np.nan)
    ),
    "alterations": lambda: plot_alterations(made_up.detection()),
    "alterations of one strength": lambda: plot_alterations(made_up.detection(("mel", "clap"), 1)),
    "roc": lambda: plot_roc(made_up.roc()),
    "thresholds": lambda: plot_thresholds(*made_up.normalised()),
    "choices": lambda: plot_choices(made_up.choices(), 0.5, 10),
    "sensitivity": lambda: plot_sensitivity(made_up.sensitivity()),
    "sensitivity without a threshold": lambda: plot_sensitivity(
        made_up.sensitivity().assign(
            flagged_rate=lambda t: t["flagged_rate"].where(t["n_train"] > 100), ci_low=np.nan, ci_high=np.nan
        )
    ),
    "answer": lambda: plot_answer(shares_and_papers(made_up.replication().assign(**NULL))),
    "curve": lambda: plot_curve(made_up.replication().assign(**NULL)),
    "curve of one checkpoint": lambda: plot_curve(ONE.assign(**NULL)),
    "curve of nothing": lambda: plot_curve(ONE.assign(near_exact_rate=0.0, near_exact_low=0.0, **NULL)),
    "dose": lambda: plot_dose(made_up.dose()),
    "dose of nothing": lambda: plot_dose(made_up.dose().assign(rate=0.0, ci_low=np.nan, ci_high=np.nan)),
    "moments": lambda: plot_moments(equal_moments(counted())),
    "copies": lambda: plot_copies(copied(), 0.044),
    "seeds": lambda: plot_seeds(seed_shares(made_up.outcomes())),
    "collapse": lambda: plot_collapse(stretched(), 1.1, 0.05),
}


def copied() -> pd.DataFrame:
    """Near-exact shares of clips with 1, 4 and 128 copies at three checkpoints; those with copies under both kinds of captions."""
    rows = [
        (arm, copies, updates, min(1, copies * updates / 50_000))
        for arm, doses in (("same", (1, 4, 128)), ("other", (4, 128)))
        for copies in doses
        for updates in (300, 1000, 3000)
    ]
    return pd.DataFrame(rows, columns=["caption_kind", "copies", "updates", "own_near_exact_rate"])


def stretched() -> pd.DataFrame:
    """Shares of three sizes, two runs each, whose curves are one curve of updates / n**1.1."""
    rows = [
        (n, draw, moment * n**1.1, 1 / (1 + 9 / moment))
        for n in (100, 200, 500)
        for draw in (0, 1)
        for moment in (1, 3, 9)
    ]
    return pd.DataFrame(rows, columns=["n_train", "draw", "updates", "near_exact"])


def test_curves_that_differ_by_the_relation_alone_fall_together():
    apart, together = ([line for line in axis.lines if len(line.get_xdata()) == 3] for axis in PLOTS["collapse"]().axes)
    assert len(apart) == len(together) == 6
    for line in together:
        assert line.get_xdata() == pytest.approx([1, 3, 9]) and list(line.get_ydata()) == list(together[0].get_ydata())
    assert len({tuple(line.get_xdata()) for line in apart}) == 3
    assert [axis.get_xlabel() for axis in PLOTS["collapse"]().axes] == ["updates", "updates / n¹·¹⁰"]


@pytest.mark.parametrize("name", PLOTS)
def test_every_figure_reaches_the_page_in_the_page_colours(name):
    before = dict(mpl.rcParams)
    figure = PLOTS[name]()
    html = figure_html(figure, "what it shows")
    assert isinstance(figure, Figure) and dict(mpl.rcParams) == before
    assert INK not in html and "currentColor" in html and "#000000" not in html
    assert BeautifulSoup(html, "html.parser").svg["aria-label"] == "what it shows"


@pytest.mark.parametrize("name", PLOTS)
def test_every_figure_is_drawn_for_a_phone_and_nothing_leaves_its_frame(name):
    figure = PLOTS[name]()
    narrow = BeautifulSoup(figure_html(figure, "x"), "html.parser").select_one(".figure-narrow svg")
    if name.startswith("answer"):  # narrow anyway
        assert narrow is None
        return
    assert float(narrow["viewbox"].split()[2]) == pytest.approx(72 * NARROW_IN, abs=1)
    for part in (*figure.legends, *figure.axes):
        box = part.get_tightbbox()  # letters are measured at another resolution than that of the SVG: some pixels apart
        assert box.x0 >= -3 and box.x1 <= figure.bbox.x1 + 3, part


def titles(figure) -> list[str]:
    return [axis.get_title(loc="left") for axis in figure.axes if axis.get_title(loc="left")]


def test_roc_curves_are_those_of_the_strongest_alteration_down_to_the_lowest_rate_there_is():
    curves = made_up.roc()
    figure = PLOTS["roc"]()
    assert len(titles(figure)) == curves["transform"].nunique()
    first = curves[curves["transform"] == curves["transform"].iloc[0]]
    strongest = first[first["strength"] == first["strength"].iloc[-1]]
    expected = [rows["tpr"].tolist() for _, rows in strongest.groupby("detector", sort=False)]
    lines = figure.axes[0].lines[: len(expected)]
    assert [list(line.get_ydata())[: len(rows)] for line, rows in zip(lines, expected, strict=True)] == expected
    assert {min(line.get_xdata()) for line in lines} == {0.01} and figure.axes[0].get_xscale() == "log"


def test_panels_come_by_size():
    expected = ["100 training clips", "500 training clips", "4,500 training clips"]
    for name in ("ladder", "top1", "thresholds"):
        assert titles(PLOTS[name]()) == expected


def test_quality_has_a_panel_for_each_measure_there_is():
    labels = {name: [axis.get_ylabel() for axis in PLOTS[name]().axes] for name in PLOTS if name.startswith("quality")}
    assert labels["quality"] == [
        "kernel distance, clap", "kernel distance, aisfx", "agreement with the caption", "silent clips",
    ]  # fmt: skip
    assert labels["quality without clap"] == ["kernel distance, aisfx", "silent clips"]


def test_quality_draws_three_sizes_at_most_and_no_bars():
    many = made_up.quality()
    many = pd.concat([many, many.assign(n_train=many["n_train"] * 2)])
    figure = plot_quality(many)
    texts = [text.get_text() for text in figure.legends[0].get_texts()]
    assert texts == ["100 clips", "1,000 clips", "9,000 clips", "held-out prompts", "real clips"]
    hues = {line.get_color() for axis in figure.axes for line in axis.lines}
    assert hues == {COLOURS[name] for name in ("orange", "grey", "green", "blue")}
    assert not any(axis.collections for axis in figure.axes)
    assert [axis.get_yscale() for axis in figure.axes] == ["log", "log", "linear", "linear"]
    below = plot_quality(many.assign(kid=many["kid"] - 0.3))
    assert below.axes[0].get_yscale() == "linear", "a distance may lie below 0"


def test_ladder_goes_from_stranger_to_copy_and_refuses_another_kind():
    axis = PLOTS["ladder"]().axes[0]
    labels = [text.get_text() for text in axis.get_yticklabels()]
    assert labels[0] == "held-out" and labels[-1] == "the clips themselves" and len(labels) == 7
    with pytest.raises(ValueError, match="expected one of heldout.*'strange'"):
        plot_ladder(made_up.ladder().assign(kind="strange"))


def test_alterations_have_a_panel_for_each_strength_with_its_numbers():
    figure = PLOTS["alterations"]()
    assert titles(figure) == ["weak", "middle", "strong"]
    texts = [text.get_text() for text in figure.axes[1].texts]
    table = made_up.detection().groupby("transform", sort=False).nth(range(5, 10))
    assert texts == [f"{value:.2f}" for value in table["auroc"]]
    assert figure.axes[0].get_yticklabels()[1].get_text() == "pitch: 0.25, 1, 3 semitones"


def test_an_unattainable_threshold_draws_no_line():
    lines = [[float(line.get_xdata()[0]) for line in axis.lines] for axis in PLOTS["thresholds"]().axes]
    assert lines == [[0.54, 0.56], [0.56], [0.56, 0.56]]


def test_the_setting_in_use_is_framed_and_no_number_is_on_it():
    for axis in PLOTS["choices"]().axes:
        (frame,) = axis.patches
        assert frame.get_xy() == (2, 1) and not axis.texts  # K = 10, beta = 0.5
    other = plot_choices(made_up.choices(), 0.7, 10)
    assert not other.axes[0].patches and len(other.legends[0].get_texts()) == 2, (
        "nothing in the legend that is not drawn"
    )


def test_how_good_the_setting_in_use_is_is_told_and_every_number_is_in_the_table():
    choices = made_up.choices()
    assert thresholds.of_choice(choices, 1.0, 1) == "It is the best of those tried at 2 of 2 sizes here."
    assert thresholds.of_choice(choices, 0.5, 10) == (
        "It is the best of those tried at 0 of 2 sizes here, and at most 0.019 from the best at the others."
    )
    assert thresholds.of_choice(choices, 0.7, 10) == "" == thresholds.of_choice(choices[:0], 0.5, 10)
    table = thresholds.choices_in_words(choices)
    assert [*table] == ["β", "K", "100 clips", "4,500 clips"] and len(table) == 9
    assert len(thresholds.choices_in_words(choices[:0])) == 0


def test_the_key_figure_draws_each_size_once_over_updates_and_over_epochs_and_the_level_of_honest_clips():
    rows = made_up.replication().assign(**NULL)
    figure = PLOTS["curve"]()
    means = rows.groupby(["n_train", "updates"])[["epochs", "near_exact_rate"]].mean().reset_index()
    for axis, x in zip(figure.axes, ("updates", "epochs"), strict=True):
        assert axis.get_xscale() == "log" and axis.get_xlabel() == x
        for place, line, (_, part) in zip((-1, 0, 1), axis.lines, means.groupby("n_train"), strict=True):
            where = part[[x, "near_exact_rate"]].to_numpy(float) * [1.12**-place, 1]
            assert np.asarray(line.get_xydata()) == pytest.approx(where), "side by side"
            assert axis.get_ylim()[0] < min(line.get_ydata()) and max(line.get_ydata()) < axis.get_ylim()[1], (
                "zeros too"
            )
        (band,) = axis.patches
        assert (band.get_y(), band.get_y() + band.get_height()) == pytest.approx((0.02, 0.02))
        texts = {text.get_text(): text.get_color() for text in axis.texts}
        assert texts == dict(zip(
            ("100 clips", "500", "4,500 clips", "twins: no copies"), [*map(COLOURS.get, ("orange", "grey", "green")), INK]
        ))  # fmt: skip
    assert not figure.legends
    alone = plot_curve(rows.assign(null_near_exact_rate=np.nan))
    assert not alone.axes[0].patches and len(alone.axes[0].texts) == 3, "no name of what is not drawn"
    assert len(PLOTS["curve of one checkpoint"]().axes) == 1
    for figure in (PLOTS["curve"](), PLOTS["answer"]()):
        ends = [path.vertices for group in figure.axes[0].collections for path in group.get_paths()]
        bars = [end[0, 0] for end in ends if np.isfinite(end).all()]
        assert len(bars) > 2 and np.diff(np.log(sorted(bars))).min() > 0.1, "no bar hides another"


def test_backgrounds_stand_apart_from_contaminated_ones():
    left, right = PLOTS["sensitivity"]().axes
    assert [text.get_text() for text in left.get_xticklabels()] == ["25", "100", "250", "500"]
    assert [text.get_text() for text in right.get_xticklabels()] == ["0", "1", "5", "50"]


def test_dose_lines_start_at_the_single_clips():
    left, right = PLOTS["dose"]().axes
    for axis, labels in ((left, ["exact copies", "altered copies"]), (right, ["one caption", "several captions"])):
        assert [text.get_text() for text in axis.get_legend().get_texts()] == labels
        assert all(len(line.get_xdata()) == 5 and line.get_ydata()[0] == 0.02 for line in axis.lines)


def test_seeds_draw_the_shares_beside_luck():
    axis = PLOTS["seeds"]().axes[0]
    heights = [patch.get_height() for patch in axis.patches]
    assert sum(heights) == pytest.approx(1) and heights[0] == heights[-1] == 0.5
    assert sum(axis.lines[0].get_ydata()) == pytest.approx(1)


def test_the_smallest_and_the_largest_size_have_a_colour_and_those_between_are_grey():
    orange, grey, green = (COLOURS[name] for name in ("orange", "grey", "green"))
    assert shades_of([4500, 100, 500, 100, 200]) == {100: orange, 200: grey, 500: grey, 4500: green}
    assert shades_of([100, 500]) == {100: orange, 500: green} and shades_of([500]) == {500: orange}


@pytest.mark.parametrize("name", ["curve", "collapse", "copies", "sensitivity"])
def test_texts_at_the_ends_of_lines_cover_neither_one_another_nor_a_line(name):
    figure = PLOTS[name]()
    figure.draw_without_rendering()
    for axis in figure.axes:
        boxes = {
            text.get_text(): text.get_window_extent() for text in axis.texts if text.get_color() != COLOURS["blue"]
        }
        assert len(boxes) >= 3
        for text, box in boxes.items():
            assert not any(box.overlaps(other) for of, other in boxes.items() if of != text), text
            assert axis.bbox.x0 <= box.x0 and box.x1 <= axis.bbox.x1 + 3, text
        points = np.concatenate(
            [axis.transData.transform(line.get_xydata()) for line in axis.lines if len(line.get_xdata()) > 2]
        )
        assert not any(box.contains(*point) for box in boxes.values() for point in points)


@pytest.mark.parametrize(
    "name", ["curve", "curve of nothing", "answer", "moments", "collapse", "copies", "sensitivity"]
)
def test_everything_lies_within_the_limits_of_its_axes(name):
    for axis in PLOTS[name]().axes:
        (left, right), (low, high) = axis.get_xlim(), axis.get_ylim()
        low, high = sorted((low, high))
        points = [line.get_xydata() for line in axis.lines if line.get_transform() == axis.transData]
        points += [path.vertices for group in axis.collections for path in group.get_paths()]
        points = np.concatenate(points)
        points = points[np.isfinite(points).all(axis=1)]
        assert ((left < points[:, 0]) & (points[:, 0] < right)).all() and (
            (low < points[:, 1]) & (points[:, 1] < high)
        ).all()


def test_moments_show_each_size_beside_twins_and_are_told_and_tabled():
    rows = counted()
    left, right = plot_moments(equal_moments(rows)).axes
    assert titles(left.figure) == ["Equal updates (5,625)", "Equal epochs (40)"]
    for axis in (left, right):
        assert [text.get_text() for text in axis.texts] == [" twins: no copies"]
    assert [text.get_text() for text in left.get_yticklabels()] == ["100 clips", "500 clips", "4,500 clips"]
    (dots,) = left.lines
    main = rows[rows["updates"] == 5625].groupby("n_train")["near_exact_rate"].mean()
    assert dots.get_xdata() == pytest.approx(main)
    assert len(moments_in_words(equal_moments(rows))) == len(left.lines[0].get_xdata()) + len(
        right.lines[0].get_xdata()
    )
    one = rows[rows["n_train"] == 100]
    assert equal_moments(one).empty and moments_in_words(equal_moments(one)).empty


def counted() -> pd.DataFrame:
    """`made_up.replication` with the columns of counts, and with checkpoints of all sizes after 40 epochs."""
    rows = made_up.replication()
    early = rows[(rows["n_train"] < 4500) & (rows["arm"] == "main")].assign(
        arm="u00000", epochs=40.0, updates=lambda t: 40 * t["n_train"] // 32
    )
    return pd.concat([rows, early]).assign(**NULL, n_generated=96, n_defined=96, prompt_set="train")


def test_missing_columns_are_named():
    with pytest.raises(ValueError, match=r"without \['epochs'\]"):
        plot_curve(made_up.replication().assign(**NULL).drop(columns="epochs"))
    with pytest.raises(ValueError, match=r"got 0 rows"):
        plot_ladder(pd.DataFrame(columns=["score", "kind", "n_train"]))


def test_the_first_chart_draws_ours_the_nulls_and_the_papers_shares_within_its_frame():
    rows = made_up.replication().assign(**NULL)
    figure = plot_answer(shares_and_papers(rows))
    (axis,) = figure.axes
    drawn = {line.get_label(): line.get_xydata() for line in axis.lines}
    assert list(drawn) == list(ANSWER) == [text.get_text() for text in figure.legends[0].get_texts()]
    ours, paper = (dict(points) for points in drawn.values())
    means = rows[rows["arm"] == "main"].groupby("n_train")["near_exact_rate"].mean()
    assert ours == pytest.approx(means.to_dict()) and paper == pytest.approx(PAPER_SHARES), "each at its own size"
    (band,) = axis.patches
    assert (band.get_y(), band.get_y() + band.get_height()) == pytest.approx((0.01, 0.03)), "from limit to limit"
    assert [text.get_text() for text in axis.texts] == ["clips that copied nothing"]
    unknown = {f"null_near_exact_{end}": np.nan for end in ("rate", "low", "high")}
    bare = plot_answer(shares_and_papers(rows.assign(**unknown))).axes[0]
    assert not bare.patches and not bare.texts
