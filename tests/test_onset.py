"""Onsets and the scaling relation, against curves whose onsets are known."""

import math

import numpy as np
import pandas as pd
import pytest
import yaml

from helpers.base.paths import PROFILES, RESULTS
from helpers.copies.onset import ONSET_COLUMNS, fit_onset, fit_relation, judge_own, onset_table
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


def test_what_cannot_be_fitted_is_refused():
    with pytest.raises(ValueError, match="level: expected a share between 0 and 1, got 1"):
        fit_onset(*_clips(600, n=2), 1)
    with pytest.raises(ValueError, match="at least two checkpoints"):
        fit_onset([5, 5], [True, False], [0, 1], 0.5)
    with pytest.raises(ValueError, match="at least three of at least two sizes, got 2"):
        fit_relation([100, 200], [1, 2])


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
    sizes, rng = np.repeat([200, 500, 1000, 2000], 3), np.random.default_rng(0)
    exact = fit_relation(sizes, 4.0 * sizes**1.2 * np.exp(rng.normal(0, 0.01, 12)))
    assert exact.exponent == pytest.approx(1.2, abs=0.02) and exact.low < 1.2 < exact.high
    expected, low, high = exact.predict(4500)
    assert low < 4.0 * 4500**1.2 < high and expected == pytest.approx(4.0 * 4500**1.2, rel=0.05)
    noisy = fit_relation(sizes, 4.0 * sizes**1.2 * np.exp(rng.normal(0, 0.3, 12)))
    assert noisy.high - noisy.low > 5 * (exact.high - exact.low)


def test_the_committed_prediction_comes_from_the_published_tables():
    plan = yaml.safe_load((PROFILES / "protocol_law.yml").read_text())["first_prediction"]
    assert plan == predict_onset.predict(RESULTS / "pocket")
