"""What the last chapters print is what the tables hold: shares, clips of known kind, the bias' effect, seeds, intervals."""

import math

import pandas as pd
import pytest
import synthetic_study as made_up
from three_sizes import THREE_SIZES

from helpers.base.arms import describe_arms
from helpers.book.summaries.dose import copies_in_words, trends_in_words
from helpers.book.summaries.findings import known_kinds, matches_of_own, rare_event, seed_outcomes, seed_shares
from helpers.book.summaries.retrieval import best_detectors, strengths_in_words
from helpers.book.summaries.rows import checkpoints, rows_of
from helpers.book.summaries.thresholds import background_variants, bias_effect, paper_counts
from helpers.book.words import defined_shares, epochs_text, share_text
from helpers.copies.bias import normalised_scores
from helpers.copies.calibration import calibrate_threshold, split_calibration
from helpers.copies.score_table import ScoreTable
from helpers.sound.profiles import load_profile

RUN = ("main", 20, 0)


@pytest.fixture(scope="module")
def table(tmp_path_factory) -> ScoreTable:
    folder = tmp_path_factory.mktemp("scores")
    made_up.write_scores(folder)
    return ScoreTable(folder)


@pytest.fixture(scope="module")
def profile():
    return load_profile("tiny").replace("thresholds", k=3, beta=0.5, fpr=0.2, theta=0.5)


def test_rows_are_of_the_main_training_set_in_order():
    table = pd.DataFrame({"training_set": ["main", "duplicates", "main"], "n_train": [500, 100, 100], "arm": "main"})
    assert rows_of(table, arm="main")["n_train"].tolist() == [100, 500]
    assert rows_of(table, arm="raw").empty


def test_checkpoints_are_the_arms_that_differ_in_updates_alone():
    names, updates = ["main", "u00125", "raw", "seeds", "heldout_u00125"], [350, 125, 350, 350, 125]
    prompts = ["train"] * 4 + ["heldout"]
    arms = pd.DataFrame({"arm": names, "updates": updates, "n_train": 100, "prompt_set": prompts})
    assert checkpoints(arms)["arm"].tolist() == ["main", "u00125"]


def test_arms_are_told_by_what_they_change():
    names = describe_arms(THREE_SIZES, THREE_SIZES.arms.guidance_size, 0)
    assert names["u00125"] == "after 125 updates" and names["guidance3"] == "guidance 3"
    assert names["main"] == "as in the study" and len(set(names.values())) == len(names) == 12


@pytest.mark.parametrize(
    ("values", "text"),
    [
        ((0.25, 0.12, 0.412), "25 % (12 to 41)"),
        ((10 / 45_000, 0.000107, 0.000409), "0.022 % (0.011 to 0.041)"),
        ((0.0, 0.0, 0.008), "none (at most 0.8 %)"),
        ((1.0, math.nan, math.nan), "100 %"),
        ((0.0,), "0 %"),
        ((math.nan, 0.1, 0.2), "–"),
        ((0.0996, 0.0996, 0.1), "10 % (10 to 10)"),
    ],
)
def test_shares_in_words(values, text):
    assert share_text(*values).replace("\u00a0", " ") == text


def test_shares_say_for_how_many_they_are_undefined():
    table = pd.DataFrame({"rate": [0.25, 0.25, math.nan, math.nan, math.nan], "low": 0.12, "high": 0.41})
    table = table.assign(n_defined=[96, 93, 0, 0, math.nan], n=[96, 96, 1096, 0, math.nan])
    texts = [text.replace("\u00a0", " ") for text in defined_shares(table, "n_defined", "n", "rate", "low", "high")]
    assert texts == [
        "25 % (12 to 41)",
        "25 % (12 to 41), undefined for 3 of 96",
        "undefined for 1,096 of 1,096",
        "–",
        "–",
    ]


def test_copies_are_seen_and_strangers_spared(table, profile):
    tau = calibrate(table, profile, 0.5)
    known = known_kinds(table, RUN, profile, tau).set_index("kind")
    assert list(known.index) == ["perfect replays", "altered copies", "twins", "held-out clips"]
    assert known["clips"].tolist() == [4, 20, 80, 20]
    assert known.loc["perfect replays", ["near_exact", "own_top1"]].tolist() == [1, 1]
    assert known.loc["twins", "near_exact"] == 0 and known.loc["held-out clips", "near_exact"] == 0
    assert math.isnan(known.loc["held-out clips", "own_top1"])
    best = table.best(RUN, "mel", "twins")
    unseen = split_calibration(best["query_id"], profile.thresholds.seed) == "C3"
    flagged = table.normalised(RUN, "mel", best, 0.5, 3)[unseen] >= tau
    assert known.loc["twins", "flagged"] == pytest.approx(flagged.mean())
    assert known.loc["twins", "flagged_low"] <= flagged.mean() <= known.loc["twins", "flagged_high"]


def test_without_a_threshold_nothing_is_said_of_flags(table, profile):
    for tau in (None, math.nan):
        known = known_kinds(table, RUN, profile, tau)
        assert known["flagged"].isna().all() and known["near_exact"].notna().all()


def calibrate(table, profile, beta: float) -> float:
    best = table.best(RUN, "mel", "twins")
    part = split_calibration(best["query_id"], profile.thresholds.seed)
    return calibrate_threshold(table.normalised(RUN, "mel", best, beta, 3)[part == "C2"], profile.thresholds.fpr)


def test_bias_moves_flags_between_queries_and_the_table_says_which(table, profile):
    effect = bias_effect(table, RUN, profile).set_index("kind")
    best = table.best(RUN, "mel", "generated", "main")
    background = table.background(RUN, "mel", best["query_id"].to_numpy())
    scores = {beta: normalised_scores(best["score"].to_numpy(), background, beta, 3) for beta in (0.0, 0.5)}
    without, with_it = (scores[beta] >= calibrate(table, profile, beta) for beta in (0.0, 0.5))
    row = effect.loc["generated"]
    assert (row["both"], row["only_without"], row["only_with"]) == (
        (without & with_it).sum(), (without & ~with_it).sum(), (with_it & ~without).sum(),
    )  # fmt: skip
    assert effect.loc["twins", "clips"] == 20
    nothing = bias_effect(table, RUN, profile.replace("thresholds", beta=0.0))
    assert (nothing[["only_without", "only_with"]] == 0).all(axis=None)


def test_bias_effect_is_empty_where_the_rate_is_unattainable(table, profile):
    assert bias_effect(table, RUN, profile.replace("thresholds", fpr=0.001)).empty


def test_background_variants_count_the_same_clips():
    whole = {"n_train": 100, "background_size": 500, "contaminated": 0, "beta": 0.5, "k": 10, "n": 4500}
    rows = pd.DataFrame([whole, whole | {"n": 500}, whole | {"n": 500, "contaminated": 5}, whole | {"k": 3, "n": 4500}])
    found, beta, k = background_variants(rows, 0.6, 7)
    assert (beta, k) == (0.5, 10) and found["n"].tolist() == [500, 500]
    assert background_variants(rows[rows["contaminated"] > 5], 0.5, 10)[0].empty


def test_best_detectors_are_ranked_at_the_strongest_alteration():
    winners = best_detectors(made_up.detection()).set_index("transform")
    assert winners.loc["pitch", ["strength", "best", "second"]].tolist() == [3, "mel", "mel_centred"]
    assert winners.loc["pitch", "best_auroc"] == pytest.approx(0.8)
    assert "second" not in best_detectors(made_up.detection(("mel",)))


def decisions(arm: str, hits: dict[str, list[bool]], draw: int = 0) -> pd.DataFrame:
    rows = [("main", 16, draw, arm, own, flag) for own, flags in hits.items() for flag in flags]
    return pd.DataFrame(rows, columns=["training_set", "n_train", "draw", "arm", "own_id", "near_exact"])


def test_seeds_are_counted_by_prompt_and_set_beside_luck():
    table = pd.concat(
        [decisions("seeds", {"a": [True, True], "b": [False, False]}), decisions("main", {"a": [True] * 9})]
    )
    outcomes = seed_outcomes(table)
    assert outcomes[["own_id", "hits", "seeds"]].to_numpy().tolist() == [["a", 2, 2], ["b", 0, 2]]
    shares = seed_shares(outcomes)
    assert shares["share"].tolist() == [0.5, 0, 0.5] and shares["by_luck"].tolist() == pytest.approx([0.25, 0.5, 0.25])


def test_seeds_come_from_the_main_arm_where_it_has_several_and_else_from_none():
    assert seed_outcomes(decisions("main", {"a": [True, False]}))["hits"].tolist() == [1]
    assert seed_outcomes(decisions("main", {"a": [True], "b": [False]})).empty
    short = decisions("seeds", {"a": [True, True], "b": [False]})  # one seed of b was silent
    assert seed_shares(seed_outcomes(short))["prompts"].tolist() == [0, 0, 1]
    partly = decisions("seeds", {"a": [True, True], "b": [False, pd.NA]}).astype({"near_exact": "boolean"})
    assert seed_shares(seed_outcomes(partly))["prompts"].tolist() == [0, 0, 1]
    assert seed_outcomes(partly.assign(near_exact=pd.array([pd.NA] * 4, dtype="boolean"))).empty


def test_the_papers_counts_have_exact_intervals():
    counts = paper_counts().set_index("trained_on")
    row = counts.loc["all of AudioCaps"]
    assert row["near_exact_rate"] == pytest.approx(10 / 45_000) and row["precision"] == pytest.approx(0.005)
    # the Poisson limits of a count of ten, which an exact binomial of a rare event nearly has: 4.795 and 18.39
    assert row["near_exact_low"] * 45_000 == pytest.approx(4.795, rel=1e-3)
    assert row["near_exact_high"] * 45_000 == pytest.approx(18.39, rel=1e-3)
    assert counts.loc["5,000 clips", "precision"] == pytest.approx(30 / 178)


def test_a_rare_event_in_words():
    words = rare_event(10, 45_000)
    assert (words["rare_rate"], words["rare_million"]) == ("0.022", "222")
    assert float(words["rare_low"]) < float(words["rare_rate"]) < float(words["rare_high"])
    assert words["rare_thousand"] == f"{100 * (1 - (1 - 10 / 45_000) ** 1000):.0f}"


def test_copies_and_trends_in_words():
    columns = ["copies", "kind", "caption_kind", "n_clusters", "n_generated", "n_defined", "rate", "ci_low", "ci_high"]
    dose = pd.DataFrame(
        [(1, "single", "all", 30, 120, 120, 0.0, 0.0, 0.012), (2, "exact", "same", 9, 9, 9, 1, 1, 1)], columns=columns
    )
    dose = dose.assign(
        flagged_rate=[0.5, 1], flagged_low=[0.4, 1], flagged_high=[0.6, 1], own_cluster_top1_rate=[0.0092, 1]
    )
    (row,) = copies_in_words(dose).to_dict("records")
    row = {key: value.replace("\u00a0", " ") if isinstance(value, str) else value for key, value in row.items()}
    assert row == {
        "copies": 1, "kind": "single", "clips of the set": 30, "generated": 120, "replicate": "none (at most 1.2 %)",
        "flagged": "50 % (40 to 60)", "nearest is its own": "0.92 %",
    }  # fmt: skip
    trend = pd.DataFrame({"outcome": ["replicated", "top1"], "kind": "exact", "slope_per_doubling": [math.nan, 0.5],
                          "low": [math.nan, 0.4], "high": [math.nan, 0.6], "note": ["no event", math.nan]})  # fmt: skip
    shown = trends_in_words(trend)
    assert shown["outcome"].tolist() == ["replicates", "nearest is its own"] and shown["note"].tolist() == [
        "no event",
        "",
    ]
    assert (
        shown["log-odds for each doubling"].tolist()[0] in ("–", "") and "0.4" in shown["log-odds for each doubling"][1]
    )


def test_matches_of_own_clip_are_counted_by_run_among_the_near_exact():
    rows = [(10, 0, "main", True, True), (10, 0, "main", True, False), (10, 0, "main", False, True),
            (10, 0, "raw", True, True), (10, 1, "main", True, True)]  # fmt: skip
    decisions = pd.DataFrame(rows, columns=["n_train", "draw", "arm", "near_exact", "own_top1"])
    runs = pd.DataFrame({"n_train": [10, 10, 50], "draw": [0, 1, 0]})
    words = [text.replace("\u00a0", " ") for text in matches_of_own(decisions, runs)]
    assert words == ["1 of 2", "1 of 1", "0 of 0"]
    assert matches_of_own(decisions.assign(near_exact=pd.array([pd.NA] * 5, dtype="boolean")), runs[:1]) == ["–"]


def test_units_of_strengths_are_named_once():
    assert strengths_in_words(["gain", "pink_noise", "gain"]) == "gain dB, pink noise dB SNR"


@pytest.mark.parametrize(
    ("epochs", "text"), [(1800.0, "1,800"), (89.6, "90"), (9.956, "10"), (2.49, "2.5"), (0.889, "0.89")]
)
def test_epochs_are_told_without_exponents(epochs, text):
    assert epochs_text(epochs) == text
