"""Onsets and the scaling relation, against curves whose onsets are known."""

import math
import re
import shutil

import numpy as np
import pandas as pd
import pytest
import yaml
from scipy import optimize, stats
from statsmodels.regression.linear_model import OLS
from statsmodels.tools.tools import add_constant
from three_sizes import THREE_SIZES

from helpers.base.paths import PROFILES, RESULTS
from helpers.base.protocol import read_protocol
from helpers.book.summaries import onset as summaries
from helpers.copies.conclusions.onset import ONSET_COLUMNS, fit_onset, fit_with_floor, onset_table
from helpers.copies.conclusions.relation import LAW_COLUMNS, fit_sizes, law_table
from helpers.copies.pooled import judge_own, judge_published, published_nulls
from helpers.sound.profiles import load_profile
from helpers.stages.onset import choose_sizes
from tools import predict_onset

UPDATES = 100 * 1.25 ** np.arange(12)


def _clips(onset_of_half: float, steepness: float = 3.0, n: int = 2000, seed: int = 0):
    """Clips of n prompts at every checkpoint, each replayed with the share that the curve gives."""
    share = 1 / (1 + np.exp(-steepness * np.log(UPDATES / onset_of_half)))
    made = np.random.default_rng(seed).random((n, len(UPDATES))) < share
    return np.tile(UPDATES, n), made.ravel(), np.repeat(np.arange(n), len(UPDATES))


@pytest.mark.parametrize("level", [0.05, 0.5])
def test_an_onset_is_where_the_curve_passes_the_level(level):
    true = 600 * math.exp(math.log(level / (1 - level)) / 3.0)
    onset = fit_onset(*_clips(600), level)
    assert onset.low < true < onset.high and onset.updates == pytest.approx(true, rel=0.05)
    assert not onset.censored and onset.trained_to == int(UPDATES.max())


def test_intervals_hold_the_truth_as_often_as_they_say():
    true = 600 * math.exp(math.log(1 / 19) / 3.0)
    found = [fit_onset(*_clips(600, n=100, seed=seed), 0.05) for seed in range(100)]
    assert 88 <= sum(one.low < true < one.high for one in found) <= 100


def test_without_an_onset_the_run_is_censored():
    later, never = fit_onset(*_clips(1e5), 0.5), fit_onset(UPDATES, np.zeros(12, bool), np.arange(12), 0.5)
    assert later.censored and later.updates > UPDATES.max()
    assert never.censored and never.updates == math.inf
    updates, made, prompts = _clips(600)
    falling = fit_onset(updates, ~made, prompts, 0.5)
    assert falling.censored and falling.updates == math.inf


def test_an_onset_above_a_floor_and_whether_curves_fit():
    rng, updates = np.random.default_rng(0), np.repeat(UPDATES, 400)
    rising = 1 / (1 + (600 / updates) ** 4)  # half of the way at 600
    found = fit_with_floor(updates, rng.random(len(updates)) < 0.06 + 0.94 * rising, 0.5)
    assert found.floor == pytest.approx(0.06, abs=0.02) and found.updates == pytest.approx(600, rel=0.05)
    assert found.p_with_floor > 0.01 > 1e-6 > found.p_without
    none = fit_with_floor(updates, rng.random(len(updates)) < rising, 0.5)
    assert none.floor < 0.01 < min(none.p_with_floor, none.p_without)
    assert fit_with_floor(updates, rng.random(len(updates)) < 0.06, 0.5).updates > 10 * UPDATES.max()
    few = fit_with_floor([1, 1, 2, 2], [False, False, True, False], 0.5)
    assert math.isnan(few.p_with_floor) and math.isnan(few.p_without)


def test_hits_at_one_checkpoint_alone_say_between_which_two_it_lies():
    updates, prompts = np.tile([100, 200, 400], 50), np.repeat(np.arange(50), 3)
    reached = fit_onset(updates, (updates == 400) & (prompts < 10), prompts, 0.05)
    assert (reached.low, reached.high, reached.censored) == (200, 400, False)
    not_yet = fit_onset(updates, (updates == 400) & (prompts < 2), prompts, 0.05)
    assert (not_yet.low, not_yet.high, not_yet.censored) == (200, math.inf, True)


@pytest.mark.parametrize("prompts", ["aaaa", "abab"])
def test_one_or_two_prompts_have_an_onset_without_an_interval(prompts):
    """Of so few there is no spread to take errors from: they came out as zero, below it, or as a division by zero."""
    found = fit_onset([2, 2, 4, 4], [True, False, True, True], [*prompts], 0.5)
    assert found.updates == pytest.approx(2) and (found.low, found.high) == (0, math.inf)


def test_what_cannot_be_fitted_is_refused():
    with pytest.raises(ValueError, match="level: expected a share between 0 and 1, got 1"):
        fit_onset(*_clips(600, n=2), 1)
    with pytest.raises(ValueError, match="at least two checkpoints"):
        fit_onset([5, 5], [True, False], [0, 1], 0.5)


def test_a_clip_replays_its_own_by_its_own_score():
    ceiling = pd.DataFrame({"clip_id": ["a", "b", "c"], "own_score": [1.0, 0.9, 0.505]})
    null = pd.DataFrame({"own_score": [0.4, 0.5, 0.6]})
    made = pd.DataFrame(
        {"own_id": ["a", "a", "b", "c"], "ref_id": ["a", "b", "b", "c"], "own_score": [0.95, 0.6, 0.7, 0.504]}
    )
    judged = judge_own(made, null, ceiling, theta=0.69)
    np.testing.assert_allclose(judged["position"], [0.9, 0.2, 0.5, np.nan])  # of c, null and ceiling are one
    assert judged["near_exact"].tolist()[:3] == [True, False, False] and judged["near_exact"].isna().tolist()[3]
    assert judged["top1"].tolist() == [True, False, True, True]


def test_onsets_of_every_run_and_measure():
    updates, made, prompts = _clips(600, n=200)
    clips = pd.DataFrame(
        {"updates": updates, "own_id": prompts.astype(str), "detector": "mel", "n_train": 100, "draw": 0}
    )
    judged = clips.assign(near_exact=pd.Series(made, dtype="boolean").mask(prompts == 7), top1=True)
    table = onset_table(judged, 32)
    assert list(table) == list(ONSET_COLUMNS) and table["measure"].tolist() == ["near_exact", "top1"]
    first = fit_onset(updates[prompts != 7], made[prompts != 7], prompts[prompts != 7], 0.05)
    assert table["updates"][0] == first.updates and not table["censored"][0]


def test_the_exponent_and_its_prediction():
    exact, noisy = (fit_sizes(_runs(noise=noise)) for noise in (0.01, 0.3))
    assert exact.exponent == pytest.approx(1.2, abs=0.02) and exact.interval[0] < 1.2 < exact.interval[1]
    expected, low, high = exact.predict(4500)
    assert low < 4.0 * 4500**1.2 < high and expected == pytest.approx(4.0 * 4500**1.2, rel=0.05)
    assert np.diff(noisy.interval) > 5 * np.diff(exact.interval)


def _runs(exponent: float = 1.2, noise: float = 0.1, trained_to: float = 1e9, seed: int = 0) -> pd.DataFrame:
    """Onsets of the study's runs, from a relation whose exponent is known; those after `trained_to` are not seen."""
    n_train = np.repeat([200, 500, 1000, 2000], [3, 3, 2, 1])
    true = 4.0 * n_train**exponent * np.exp(np.random.default_rng(seed).normal(0, noise, len(n_train)))
    late = true > trained_to
    seen = np.where(late, np.inf, true)
    return pd.DataFrame({"n_train": n_train, "updates": seen, "trained_to": trained_to, "censored": late})


def test_each_size_weighs_as_many_runs_as_it_has():
    found = [fit_sizes(_runs(seed=seed)) for seed in range(200)]
    assert found[0].df == 2 and found[0].sizes == (200, 500, 1000, 2000)
    assert 180 <= sum(one.interval[0] < 1.2 < one.interval[1] for one in found) <= 199
    onsets = [4.0 * 4500**1.2 * math.exp(np.random.default_rng(1000 + seed).normal(0, 0.1)) for seed in range(200)]
    inside = [one.predict(4500)[1] < onset < one.predict(4500)[2] for one, onset in zip(found, onsets)]
    assert 180 <= sum(inside) <= 199
    two = _runs().query("n_train <= 500")
    line = OLS(np.log(two["updates"]), add_constant(np.log(two["n_train"]))).fit()
    assert (fit_sizes(two).exponent, fit_sizes(two).df) == (
        pytest.approx(line.params.iloc[1]),
        line.df_resid == 4 and 4,
    )
    assert fit_sizes(two).interval == pytest.approx(tuple(line.conf_int().iloc[1]))


def test_runs_without_an_onset_are_not_dropped():
    """Only early onsets of the large sizes are seen: without the censored ones the exponent would come out too small."""
    cut = 4.0 * 1000**1.2
    found, dropped = [], []
    for seed in range(40):
        runs = _runs(noise=0.3, trained_to=cut, seed=seed)
        if runs["censored"].any() and runs.loc[~runs["censored"], "n_train"].nunique() > 2:
            found.append(fit_sizes(runs).exponent)
            dropped.append(fit_sizes(runs[~runs["censored"]]).exponent)
    assert len(found) > 15 and abs(np.mean(found) - 1.2) < 0.1 < 1.2 - np.mean(dropped)
    with pytest.raises(ValueError, match=r"expected some of at least two sizes, got those of \[200\]"):
        fit_sizes(_runs(trained_to=4.0 * 300**1.2, noise=0))


def test_a_run_without_an_onset_has_the_greatest_likelihood_and_tells_less_than_one_with():
    runs = _runs(noise=0.15)
    late = runs.assign(censored=runs["n_train"] == 2000, trained_to=0.9 * runs["updates"])
    known, unknown = fit_sizes(runs), fit_sizes(late)
    less, more = (one.covariance[1, 1] / one.variance for one in (known, unknown))
    assert unknown.df == known.df == 2 and less < more
    at = np.log(late["updates"].where(~late["censored"], late["trained_to"]))

    def loss(params):
        z = (at - params[0] - params[1] * np.log(late["n_train"])) / math.exp(params[2])
        return -np.where(late["censored"], stats.norm.logsf(z), stats.norm.logpdf(z) - params[2]).sum()

    best = optimize.minimize(
        loss, [*known.params, -2], method="Nelder-Mead", options={"maxiter": 9999, "xatol": 1e-9, "fatol": 1e-12}
    )
    assert unknown.params == pytest.approx(best.x[:2], abs=1e-4)


def test_the_interval_holds_the_exponent_though_runs_have_no_onset():
    """In the study's shape, where runs of a size share luck, with the largest size's only run stopped too early."""
    inside = []
    for seed in range(150):
        rng = np.random.default_rng(seed)
        runs = _runs(noise=0.05, seed=seed)
        luck = dict(zip([200, 500, 1000, 2000], rng.normal(0, 0.05, 4)))
        runs = runs.assign(updates=runs["updates"] * np.exp(runs["n_train"].map(luck)))
        runs = runs.assign(censored=(runs["n_train"] == 2000), trained_to=0.95 * runs["updates"])
        low, high = fit_sizes(runs).interval
        inside.append(low < 1.2 < high)
    assert 0.9 < np.mean(inside) < 1


def test_the_law_and_what_becomes_of_its_prediction():
    runs = _runs(noise=0.02).assign(measure="near_exact", level=0.05, draw=0)

    def verdict(**run):
        large = pd.DataFrame([{"measure": "near_exact", "level": 0.05, "n_train": 4500, "draw": 0} | run])
        table = law_table(pd.concat([runs, large]), [200, 500, 1000, 2000], [4500])
        assert list(table) == list(LAW_COLUMNS) and len(table) == 1
        return table.iloc[0]

    true = 4.0 * 4500**1.2
    row = verdict(updates=true, trained_to=90000, censored=False)
    assert row["verdict"] == "supported" and row["leave_one_out_low"] < row["exponent"] < row["leave_one_out_high"]
    assert row["observed_updates"] == pytest.approx(true) and row["sizes_fitted"] == "200 500 1000 2000"
    assert verdict(updates=3 * true, trained_to=1e6, censored=False)["verdict"] == "refuted"
    assert verdict(updates=math.inf, trained_to=3 * true, censored=True)["verdict"] == "refuted"
    assert verdict(updates=math.inf, trained_to=true / 3, censored=True)["verdict"] == "undecided"
    assert law_table(runs, [200, 500, 1000, 2000], [4500])["verdict"].tolist() == ["no run"]
    assert law_table(runs, [200], [4500]).empty


def test_the_planned_sizes_are_fitted_all_of_them():
    planned = [200, 500, 1000, 2000]
    assert choose_sizes(load_profile("pocket").sizes, planned) == (planned, 4500)
    assert choose_sizes((100, *planned, 4500), planned) == (planned, 4500)
    assert choose_sizes(THREE_SIZES.sizes, planned) == ([100, 500], 4500)
    assert choose_sizes((4, 8), planned) == ([4], 8)


def test_the_committed_prediction_comes_from_the_published_tables():
    plan = yaml.safe_load((PROFILES / "protocol.yml").read_text())["first_prediction"]
    assert plan == predict_onset.predict(RESULTS / "pocket_first")


def test_the_second_prediction_comes_from_the_published_runs_of_no_more_than_2000_clips():
    plan = yaml.safe_load((PROFILES / "protocol.yml").read_text())["second_prediction"]
    assert predict_onset.predict_second(RESULTS / "pocket") == {name: plan[name] for name in ("near_exact", "top1")}


def test_a_run_that_copies_from_the_first_checkpoint_on_has_begun_by_then():
    updates, prompts = np.repeat([100, 200, 400], 20), np.tile(np.arange(20), 3)
    for outcomes in (np.ones(60, bool), prompts < 2):
        onset = fit_onset(updates, outcomes, prompts, 0.05)
        assert (onset.updates, onset.low, onset.high, onset.censored) == (100, 0, 100, False)
    late = fit_onset(updates, (updates == 100) & (prompts < 1), prompts, 0.1)
    assert late.censored, "one clip in twenty at first, and none later, is no onset of a tenth"


@pytest.mark.parametrize(
    ("updates", "censored", "factor", "told"),
    [
        ([], [], 2, "None of them is searched yet."),
        ([25_000], [False], 2, "It came at 25,000: inside, as predicted."),
        ([25_000], [False], 3, "It came at 25,000: inside. But the plan calls a prediction supported only where "),
        ([9_000], [False], 2, "It came at 9,000: outside, so the second prediction is refuted."),
        ([99_000], [True], 2, "The onset had not come by the end of training, so the second prediction is refuted."),
        ([21_000], [True], 2, "The run was stopped before it came."),
    ],
)
def test_what_became_of_the_second_prediction(updates, censored, factor, told):
    columns = {
        "measure": "near_exact",
        "n_train": 4500,
        "updates": updates,
        "censored": censored,
        "trained_to": updates,
    }
    runs = pd.DataFrame(columns)
    prediction = {"near_exact": {"sizes": "200 2000", "predicted": {4500: [24_000, 20_000, 20_000 * factor]}}}
    said = summaries.second_sentence(runs, prediction)
    assert "of 200 and 2,000 clips: the onset at 24,000 updates (20,000 to " in said and told in said
    assert summaries.second_sentence(runs, {"of": "what is predicted"}).endswith("It is not made yet.")


def test_what_was_predicted_stands_beside_what_came():
    onsets = pd.DataFrame({"measure": ["near_exact"] * 6, "n_train": [50, 50, 100, 100, 200, 200], "draw": [0, 1] * 3})
    onsets = onsets.assign(updates=[5.0, 5.0, 90.0, 110.0, 150.0, 400.0], censored=False, trained_to=500)
    prediction = {"near_exact": {"predicted": {50: [5, 4, 6], 100: [100, 80, 120], 200: [220, 180, 260]}}}
    rows = summaries.beside_prediction(onsets, prediction)
    assert summaries.in_words(rows)["came"].tolist() == ["5 / 5", "90 / 110", "150 / 400"]
    told = "Of 6 runs, 4 began to copy inside the predicted interval, 1 earlier and 1 later. From 100 to 200 clips the onset was predicted to come "
    none = pd.DataFrame(columns=["exponent_low", "exponent_high"])
    assert summaries.sentence(rows, [1.0, 0.9, 1.1], [100, 200], none) == (
        f"{told}2.0 times as late (1.9 to 2.1). It came 2.5 times as late: outside that interval."
    )
    for limits, came in (
        ((1.0, 1.6), "(2.0 to 3.0). The intervals overlap."),
        ((1.2, 1.6), "(2.3 to 3.0). The intervals do not overlap."),
    ):
        law = pd.DataFrame([limits], columns=none.columns)
        assert summaries.sentence(rows, [1.0, 0.9, 1.1], [100, 200], law).endswith(f"It came 2.5 times as late {came}")
    never = summaries.beside_prediction(onsets.assign(censored=[False] * 5 + [True]), prediction)
    assert summaries.in_words(never)["came"].iloc[2] == "150 / not yet"
    assert summaries.sentence(never, [1.0, 0.9, 1.1], [100, 200], none).endswith("1 later.")
    for trained_to, place in (
        (250, "within the interval (180 to 260), so it says little about the first prediction."),
        (170, "before the beginning of the interval (180 to 260), so it says nothing about the first prediction."),
    ):
        waiting = summaries.beside_prediction(
            onsets.assign(censored=[False] * 5 + [True], trained_to=trained_to), prediction
        )
        assert f"at {trained_to} updates. That is {place}" in summaries.sentence(
            waiting, [1.0, 0.9, 1.1], [100, 200], none
        )


def test_the_first_prediction_is_as_it_was_committed():
    first = read_protocol()["first_prediction"]
    assert first["near_exact"]["exponent"] == [1.104, 1.004, 1.203] and first["top1"]["exponent"] == [
        1.168,
        1.035,
        1.301,
    ]
    assert first["near_exact"]["predicted"] == {
        100: [880, 701, 1103], 200: [1890, 1529, 2337], 500: [5196, 4143, 6516], 1000: [11164, 8617, 14465],
        2000: [23990, 17702, 32512], 4500: [58705, 40705, 84664],
    }  # fmt: skip


def test_what_cannot_be_a_copy_is_told_beside_what_was_trained_on(tmp_path):
    """Of four prompts three are replayed, of four of another draw one, of eight twins of two clips two."""
    law = load_profile("pocket")
    clips = [f"clip{i}" for i in range(8)]
    made = pd.DataFrame({"arm": ["main"] * 4 + ["other_draw"] * 4, "own_id": clips, "ref_id": clips, "rank": 1})
    made = made.assign(own_score=[0.99, 0.99, 0.99, 0.8, 0.99, 0.8, 0.8, 0.8], detector="mel", n_train=100)
    twins = pd.DataFrame(
        {"kind": "twins", "own_id": ["clip0"] * 4 + ["clip4"] * 4, "ref_id": "", "own_score": [0.98, 0.98, *[0.8] * 6]}
    )
    ceiling = pd.DataFrame({"kind": "ceiling", "own_id": clips, "ref_id": clips, "own_score": 1.0})
    folder = tmp_path / "retrieval" / "n100_d0"
    folder.mkdir(parents=True)
    made.to_parquet(folder / "scores.parquet")
    pd.concat([twins, ceiling]).assign(detector="mel", rank=1, n_train=100).to_parquet(folder / "null.parquet")
    nulls = published_nulls(tmp_path, law)
    assert nulls.set_index("kind")["own_near_exact_rate"].to_dict() == {
        "trained": 0.75,
        "other draw": 0.25,
        "twins": 0.25,
    }
    low, high = nulls.set_index("kind").loc["twins", ["own_near_exact_low", "own_near_exact_high"]]
    assert (low, high) == (0.0, 0.5), "whole clips are drawn anew, not twins"
    assert published_nulls(tmp_path, law, "aisfx").empty, "another detector's are not there"
    for name in ("scores", "null"):  # once the study is whole, its tables are collected
        table = pd.read_parquet(folder / f"{name}.parquet").assign(training_set="main")
        pd.concat([table, table.assign(training_set="duplicates")]).to_parquet(tmp_path / f"{name}.parquet")
    shutil.rmtree(tmp_path / "retrieval")
    pd.testing.assert_frame_equal(published_nulls(tmp_path, law), nulls)
    told = summaries.nulls_in_words(nulls)
    assert list(told) == ["n", "own prompts", "prompts of clips it never met", "twins"] and len(told) == 1
    assert summaries.nulls_sentence(nulls) == (
        "Among twins, 25\u00a0% count as near-exact, depending on the size. Among the models' own clips from prompts of clips that "
        "they never met, 25\u00a0%."
    )


def test_what_follows_with_a_floor_is_told():
    rng, runs = np.random.default_rng(0), []
    for n_train in (200, 500, 1000):
        updates = np.repeat(n_train * UPDATES / 100, 300)
        hits = rng.random(len(updates)) < 0.08 + 0.92 / (1 + (6 * n_train / updates) ** 4)
        runs.append(pd.DataFrame({"n_train": n_train, "draw": 0, "updates": updates, "near_exact": hits}))
    floors = summaries.above_floor(pd.concat(runs))
    assert floors["floor"].between(0.05, 0.11).all() and not floors["censored"].any()
    assert "for 3 of 3 runs the curve does not fit" in (
        told := summaries.floor_sentence(floors, load_profile("pocket"))
    )
    assert re.search(r"the exponent is (0\.9|1\.0)\d \(.*4,500 clips are expected at 1[0-9],000 updates", told)
    assert summaries.floors_in_words(floors)["n"].tolist() == [200, 500, 1000]
    assert summaries.floor_sentence(floors[:1], load_profile("pocket")) == ""


def test_what_was_expected_above_a_floor_comes_from_the_nine_runs_of_then():
    law = load_profile("pocket")
    floors = summaries.above_floor(judge_published(RESULTS / "pocket", law, 2000))
    of_then = floors[(floors["n_train"] < 2000) | (floors["draw"] == 0)]
    row = summaries.relation_of(of_then.assign(measure="near_exact", level=0.05), law).iloc[0]
    told = read_protocol()["second_prediction"]["above_a_floor"]
    # roughly, as the median twin is of all runs that are published since
    assert told["exponent"] == pytest.approx([row[f"exponent{end}"] for end in ("", "_low", "_high")], abs=0.03)
    assert told["predicted"] == {
        4500: pytest.approx([row[f"predicted_{name}"] for name in ("updates", "low", "high")], rel=0.1)
    }


def test_the_relation_is_shown_a_row_a_measure_and_shares_leave_undefined_clips_out():
    onsets = pd.DataFrame(
        [("near_exact", 0.05, n, draw, 5.0 * n, n * 90, False) for n in (100, 200, 400) for draw in (0, 1)],
        columns=["measure", "level", "n_train", "draw", "updates", "trained_to", "censored"],
    )
    table = summaries.relation_in_words(law_table(onsets, [100, 200, 400], [4500]))
    assert table["onset"].tolist() == ["5 % near-exact of their own clip"] and table["exponent"].str.startswith(
        "1 (1\u00a0to\u00a01"
    ).tolist() == [True]
    assert table["without one size"].tolist() == ["1.00 to 1.00"]
    assert table["onset at 4,500 clips"].str.startswith("22,000 (").all()
    onsets["updates"] *= [1, 1.1] * 3
    two = law_table(onsets, [100, 200], [4500])
    assert summaries.relation_in_words(two)["without one size"].tolist() == ["not known"]
    assert law_table(onsets[onsets["draw"] == 0], [100, 200], [4500]).empty  # two points leave no interval
    nothing = law_table(onsets.assign(level=0.2, censored=True), [100, 200, 400], [4500])
    assert nothing.empty and summaries.levels_in_words(nothing).empty  # no run came so far
    levels = summaries.levels_in_words(law_table(onsets.assign(level=0.2), [100, 200, 400], [4500]))
    assert levels["onset"].tolist() == ["20\u00a0% near-exact"] and "exploratory" in levels.attrs["caption"]
    slower = law_table(
        onsets.assign(level=0.2, updates=onsets["updates"] * onsets["n_train"] ** 0.4), [100, 200, 400], [4500]
    )
    shares = pd.DataFrame({"n_train": [200, 400], "draw": 0, "near_exact": [0.9, 0.3]})
    relation = law_table(onsets, [100, 200, 400], [4500])
    assert (
        "is 1.40 (" in (said := summaries.levels_sentence(relation, slower, shares))
        and "In the one run of 400 clips the share rises more slowly" in said
    )
    even = summaries.levels_sentence(relation, law_table(onsets.assign(level=0.2), [100, 200, 400], [4500]), shares)
    assert even.endswith("about equally well.")
    assert summaries.levels_sentence(relation, slower, shares.assign(near_exact=0.1)) == ""
    both = pd.concat([onsets, onsets.assign(level=0.2, updates=onsets["updates"] * 10)])
    observed = law_table(both, [100, 200, 400], [400])["observed_updates"]
    assert observed.iloc[1] == pytest.approx(10 * observed.iloc[0])  # a level's onsets are its own
    judged = pd.DataFrame({"n_train": 100, "draw": [0, 0, 0], "updates": [5, 5, 5], "near_exact": pd.array([True, False, None], "boolean")})  # fmt: skip
    assert summaries.shares_over_training(judged).iloc[0].tolist() == [100, 0, 5, 0.5, 2]


def test_how_good_clips_are_when_copying_begins():
    onsets = pd.DataFrame(
        [("near_exact", 100, 0, 600.0, False), ("near_exact", 100, 1, 700.0, False), ("near_exact", 500, 0, 3000.0, False),
         ("near_exact", 4500, 0, 50_000.0, True), ("top1", 500, 0, 300.0, False)],
        columns=["measure", "n_train", "draw", "updates", "censored"],
    )  # fmt: skip
    kids = {100: {275: 1.2, 640: 0.7, 2800: 0.2}, 500: {1650: 0.2, 2900: 0.12, 15_000: 0.1}, 4500: {8300: 0.1}}
    quality = pd.DataFrame(
        [(n, draw, u, kid + 0.1 * draw, where, of) for n, points in kids.items() for draw in (0, 1) for u, kid in points.items()
         for where, of in (("heldout", "aisfx"), ("train", "aisfx"), ("heldout", "clap"))],
        columns=["n_train", "draw", "updates", "kid", "prompt_set", "embedding"],
    )  # fmt: skip
    quality.loc[(quality["prompt_set"] == "train") | (quality["embedding"] == "clap"), "kid"] = 9.0
    rows = summaries.quality_at_onset(onsets, quality)
    np.testing.assert_allclose(rows[["at_onset", "lowest"]], [[0.7, 0.2], [0.8, 0.3], [0.12, 0.1]])
    assert summaries.quality_in_words(rows)["KID at the onset"].tolist() == ["0.70 to 0.80", "0.12"]
    law = pd.DataFrame({"sizes_fitted": ["200 500"]})
    told = summaries.quality_sentence(rows, law)
    assert told.startswith("With 100 clips copying begins before clips are good") and told.endswith(
        "left 100 out of the fit."
    )
    assert "left" not in summaries.quality_sentence(rows, law.assign(sizes_fitted="100 500"))
    assert summaries.quality_sentence(rows[rows["n_train"] == 500], law).startswith(
        "At every size that copies, clips come within twice"
    )
    assert summaries.quality_sentence(rows[:0], law) == ""
