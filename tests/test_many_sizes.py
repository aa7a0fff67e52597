"""A study of six sizes in one gallery, each trained for a length of its own: what pages and figures make of it."""

import dataclasses
from types import SimpleNamespace

import numpy as np
import pandas as pd
import pytest
import synthetic_study as made_up
from bs4 import BeautifulSoup
from many_sizes import LAST, LAW, SIZES, of_many, scheduled
from three_sizes import THREE_SIZES

from helpers.book import listening, memorisation, needs, sentences
from helpers.book.figures.axes import MOST_PANELS, MOST_TICKS
from helpers.book.figures.findings import plot_curve
from helpers.book.figures.retrieval import plot_ladder, plot_quality, plot_top1
from helpers.book.figures.thresholds import plot_sensitivity, plot_thresholds
from helpers.book.figures.training import plot_training_lengths
from helpers.book.parameters import check_parameters
from helpers.book.summaries import findings, thresholds
from helpers.book.summaries.training import kept_checkpoints
from helpers.book.theme import figure_html
from helpers.copies.score_table import ScoreTable

NULL = {"null_near_exact_rate": 0.02, "null_near_exact_low": 0.01, "null_near_exact_high": 0.03}
KEPT = pd.DataFrame([(n, u) for n, of in zip(SIZES, LAW.schedules) for u in of], columns=["n_train", "updates"])
PLOTS = {
    "quality": lambda: plot_quality(scheduled(made_up.quality())),
    "ladder": lambda: plot_ladder(of_many(made_up.ladder())),
    "top1": lambda: plot_top1(of_many(made_up.top1())),
    "curve": lambda: plot_curve(scheduled(made_up.replication().assign(**NULL))),
    "thresholds": lambda: plot_thresholds(*map(of_many, made_up.normalised())),
    "sensitivity": lambda: plot_sensitivity(of_many(made_up.sensitivity())),
    "lengths": lambda: plot_training_lengths(KEPT, 32, 500),
}


@pytest.mark.parametrize("name", PLOTS)
def test_nothing_leaves_the_frame_of_a_figure_and_ticks_are_few(name):
    figure = PLOTS[name]()
    figure.draw_without_rendering()
    for part in (*figure.legends, *figure.axes):
        box = part.get_tightbbox()
        assert box.x0 >= -3 and box.x1 <= figure.bbox.x1 + 3, part
    for axis in figure.axes:
        if axis.get_xscale() == "log":
            assert len(axis.get_xticks()) <= MOST_TICKS


@pytest.mark.parametrize("name", ["ladder", "top1"])
def test_panels_of_many_sizes_stand_in_rows_and_on_a_phone_by_size(name):
    figure = PLOTS[name]()
    titles = [axis.get_title(loc="left") for axis in figure.axes]
    assert titles == [f"{n:,} training clips" for n in SIZES]
    columns = {axis.get_subplotspec().get_gridspec().ncols for axis in figure.axes}
    assert columns == {MOST_PANELS}
    assert BeautifulSoup(figure_html(figure, "x"), "html.parser").select_one(".figure-narrow svg")
    places = {axis.get_title(loc="left"): axis.get_subplotspec().num1 for axis in figure.axes}
    assert sorted(places, key=lambda title: places[title]) == titles


def test_points_stand_where_they_belong_where_there_is_no_room_beside():
    """Draws of 100 and of 200 clips end after as many epochs, but steps of a quarter leave no room for so many sizes."""
    shares = {"near_exact_rate": 0.5, "near_exact_low": 0.4, "near_exact_high": 0.6}
    rows = KEPT.assign(epochs=KEPT["updates"] * 32 / KEPT["n_train"], **shares, **NULL)
    assert rows.groupby("epochs")["n_train"].nunique().max() > 1
    for axis, x in zip(plot_curve(rows).axes, ("updates", "epochs"), strict=True):
        for line, (_, part) in zip(axis.lines, rows.groupby("n_train"), strict=True):
            assert line.get_xdata() == pytest.approx(part[x].to_numpy())


def test_the_line_of_equal_updates_is_that_of_the_page():
    assert set(PLOTS["lengths"]().axes[0].lines[0].get_ydata()) == {LAST[500]}


def test_a_page_on_one_size_has_its_own_schedule():
    chapter = check_parameters("03_training", {"profile": "pocket", "n_train": 500})
    assert (chapter.config.updates, chapter.config.checkpoints) == (LAST[500], LAW.schedules[2])
    assert chapter.changed == {"n_train": 500}
    given = dataclasses.asdict(chapter.config) | {"checkpoints": list(chapter.config.checkpoints)}
    assert check_parameters("03_training", {"profile": "pocket", **given}).changed == {"n_train": 500}
    kept = kept_checkpoints(chapter.profile, [LAST[500], 1650]).set_index("updates")
    assert (kept["clips generated in chapter 4"] == 250).all(), "each checkpoint is asked for as many clips"
    with pytest.raises(
        ValueError, match="updates: expected 15000, as profile pocket has a schedule for 500 clips, got 400"
    ):
        check_parameters("03_training", {"profile": "pocket", "n_train": 500, "updates": 400, "checkpoints": [400]})
    unlisted = check_parameters(
        "03_training", {"profile": "pocket", "n_train": 300, "updates": 400, "checkpoints": [400]}
    )
    assert unlisted.config.updates == 400
    assert not list(needs._other_values(chapter, "updates")), "no other is served"
    generation = check_parameters("04_generation", {"profile": "pocket", "n_train": 500})
    assert set(needs._other_values(generation, "updates")) == set(LAW.schedules[2])


def test_near_exact_is_called_what_it_is_in_one_gallery():
    run = {"training_set": "main", "n_train": 500, "draw": 0, "arm": "main", "updates": 15000, "epochs": 960.0}
    shares = {f"{of}{end}": 0.5 for of in ("near_exact", "null_near_exact", "own_clip_top1", "twins_top1", "precision")
              for end in ("_rate", "_low", "_high")}  # fmt: skip
    counts = dict.fromkeys(("n_generated", "n_defined", "null_n", "null_n_defined", "flagged_n_defined"), 20)
    flags = {
        "flagged": 10,
        "flagged_rate": 0.5,
        "ci_low": 0.4,
        "ci_high": 0.6,
        "distinct_clusters": 9,
        "precision": 0.5,
    }
    rows = pd.DataFrame([run | shares | counts | flags])
    made = pd.DataFrame(
        {"n_train": 500, "draw": 0, "arm": "main", "near_exact": [True, False], "own_top1": [True, True]}
    )
    assert "near-exact of any clip" in findings.last_checkpoints(rows, made)
    pooled = findings.last_checkpoints(rows, made, one_gallery=True)
    assert {"near-exact of the own clip", "of these, nearest to it"} <= set(pooled)
    table = thresholds.near_exact_and_flags(rows, 0.95, one_gallery=True)
    assert "near-exact of the own clip" in table and "of any clip" not in table.attrs["caption"]
    known = pd.DataFrame({"n": 500, "kind": ["twins", "held-out clips"], "clips": 20, "n_defined": [20, 0]})
    for name in ("near_exact", "flagged", "own_top1"):
        known = known.assign(**{name: [0.1, np.nan], f"{name}_low": 0.0, f"{name}_high": 0.2})
    told = findings.known_in_words(known, 0.05, one_gallery=True)["near-exact of the own clip"].tolist()
    assert told == ["10 % (0 to 20)".replace(" %", "\u00a0%").replace("0 to ", "0\u00a0to\u00a0"), "–"]


def test_an_altered_copy_of_a_clip_that_was_not_sent_through_has_a_position():
    """A pooled run sends those clips through the codec that it is asked for; copies are of any clip that it learned."""
    table = ScoreTable.__new__(ScoreTable)
    table.pooled, table._ceiling = True, {("main", "mel"): pd.Series([0.9, 1.0], ["a", "b"])}
    table.null_own = lambda *_: pd.Series([0.5])
    best = pd.DataFrame({"own_id": ["a", "unsent", ""], "own_score": [0.9, 0.95, np.nan]})
    found = table.positions(("main", 500, 0), "mel", best, "twins")
    assert found[:2] == pytest.approx([1.0, 1.0]) and np.isnan(found[2])


def test_what_is_said_follows_the_gallery():
    one, other = sentences.of_gallery(THREE_SIZES), sentences.of_gallery(LAW)
    assert set(one) == set(other) and all(one[name] != other[name] for name in one)
    assert "nearer by chance alone" in one["own_tau"] and "the same clips" in other["own_tau"]
    assert sentences.of_pool(THREE_SIZES) == "" and "all 9,000 training clips" in sentences.of_pool(LAW)
    assert sentences.of_scale(THREE_SIZES, 4500) == {
        "training_kept": "equal updates for all sizes", "at_papers_rate": "about one copy, or none",
    }  # fmt: skip
    assert sentences.of_scale(LAW, 250) == {
        "training_kept": "longer for larger sets", "at_papers_rate": "no copy, most likely",
    }  # fmt: skip


def test_a_near_exact_clip_with_another_one_nearer_is_told_as_that():
    clip = pd.Series({"near_exact": True, "own_top1": False, "score": 0.912, "own_score": 0.9, "position": 0.75})
    (told,) = sentences.of_judgement(clip, "A dog barks", "A cat purrs", 0.0, one_gallery=True)
    assert told.startswith(
        "The clip that was asked for is the third, “A dog barks”. The similarity to it is 0.900, which is pos"
    )
    assert "position 0.75: near-exact by rule. Yet the second, “A cat purrs”, is nearer still, at 0.912" in told


class OneClip(dict):
    """A gallery of one clip."""

    def audio(self, _) -> np.ndarray:
        return np.zeros(8, np.int16)


def test_a_pair_to_judge_holds_the_clip_that_the_model_learned():
    """The nearest clip of the pool may be one that it never met: then neither of the two would be its training clip."""
    slot = "quantile 0.50"
    gallery = OneClip({slot: {"kind": "generated", "query_id": "q", "own_id": "own", "caption": "words"}})
    best = pd.DataFrame({"query_id": ["q"], "ref_id": ["stranger"], "own_id": ["own"], "score": [0.9]})
    table = SimpleNamespace(best=lambda *_: best, positions=lambda *_: np.array([0.5]))
    data = SimpleNamespace(clip=lambda name: (np.zeros(8, np.int16), name))
    references = {
        study.pooled: listening._blind(table, gallery, slot, "which", data, study, 100).reference
        for study in (THREE_SIZES, LAW)
    }
    assert references == {False: "stranger", True: "own"}


def test_the_map_keeps_positions_that_are_of_the_own_clip_anyway(tmp_path):
    judged = pd.DataFrame({
        "draw": 0, "n_train": 100, "updates": 2800, "query_id": ["a", "b"], "own_id": ["x", "y"], "position": [0.9, 0.8],
        "near_exact": pd.array([True, False], "boolean"), "top1": [True, False],
    })  # fmt: skip
    arms = pd.DataFrame({"query_id": ["a", "b"], "caption": "words", "file": ["a.ogg", "b.ogg"]})
    arms.assign(silent=False).to_csv(tmp_path / "prompts.csv", index=False)
    arms.assign(slot=["arm u1", "arm u2"], kind="generated", role="arm").to_csv(tmp_path / "gallery.csv", index=False)
    found = {
        study.pooled: memorisation.of_study(judged, [tmp_path], None, study).clips["position"].tolist()
        for study in (THREE_SIZES, LAW)
    }
    assert found[True] == [0.9, 0.8] and found[False][0] == 0.9 and np.isnan(found[False][1])


def test_sizes_that_end_alike_share_a_part_of_the_answer():
    rows = []
    for n, share in zip(SIZES, (0.99, 0.97, 0.9, 0.4, 0.3, 0.2)):
        for arm, updates, rate in (("u00100", LAST[n] // 4, 0.0), ("main", LAST[n], share)):
            rows.append((n, 0, arm, updates, 32 * updates / n, rate, max(0, rate - 0.05), rate + 0.05))
        rows.append((n, 0, "heldout_u00100", LAST[n] // 4, 8 * LAST[n] / n, np.nan, np.nan, np.nan))
    names = ["n_train", "draw", "arm", "updates", "epochs", "near_exact_rate", "near_exact_low", "near_exact_high"]
    table = pd.DataFrame(rows, columns=names).assign(**NULL, n_generated=250, n_defined=250, prompt_set="train")
    table.loc[table["arm"] == "heldout_u00100", "prompt_set"] = "heldout"
    assert sentences.of_answer(table) == (
        "Trained for long enough on 100, 200 or 500 clips, a model replays nearly all of them; on 1,000, 2,000 or 4,500, some "
        "of them."
    )


def test_sizes_that_share_no_moment_are_compared_where_their_epochs_are_nearly_equal():
    rows = []
    for n, factor in ((100, 1.0), (200, 1.1), (500, 1.2)):
        for epochs, rate in ((50, 0.0), (100, 0.4), (200, 0.99)):
            rows.append((n, 0, "main" if epochs == 200 else f"u{epochs}", int(epochs * n), factor * epochs, rate))
    table = pd.DataFrame(rows, columns=["n_train", "draw", "arm", "updates", "epochs", "near_exact_rate"])
    table = table.assign(
        near_exact_low=table["near_exact_rate"] - 0.05, near_exact_high=table["near_exact_rate"] + 0.05
    )
    table = table.assign(**NULL, n_generated=250, n_defined=250, prompt_set="train")
    found = findings.equal_moments(table)
    assert found["moment"].unique().tolist() == [
        "Nearly equal updates (20,000 to 25,000)",
        "Nearly equal epochs (200 to 240)",
    ]
    assert sentences.of_equal_moments(table).endswith("At nearly equal epochs no fall shows. Both by log-mel.")
    later = table.assign(epochs=table["epochs"] * np.where(table["n_train"] == 500, 10, 1))
    assert findings.equal_moments(later)["moment"].iloc[-1] == "Nearly equal epochs (200 to 220)", "two of three sizes"
    fewer = findings.equal_moments(later[later["n_train"] != 200])
    assert set(fewer["axis"]) == {"updates"}
    falling = table.assign(
        near_exact_rate=50 / table["n_train"],
        near_exact_low=45 / table["n_train"],
        near_exact_high=55 / table["n_train"],
    )
    told = "At nearly equal epochs, 500 clips are clearly copied less than 100. Both by clap."
    assert sentences.of_equal_moments(falling, "clap").endswith(told)
    falling.loc[falling["n_train"] == 500, ["near_exact_rate", "near_exact_high"]] = 0.001
    assert "At nearly equal epochs, 500 clips are copied far less than 100." in sentences.of_equal_moments(falling)
    falling.loc[falling["n_train"] == 500, "near_exact_high"] = 0.3
    falling.loc[falling["n_train"] == 200, "near_exact_high"] = 0.5
    told = "At nearly equal epochs only the largest set is clearly copied less than the smallest."
    assert told in sentences.of_equal_moments(falling)
