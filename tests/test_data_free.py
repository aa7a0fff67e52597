"""Which prompts count as replayed, and how methods are judged on them."""

import dataclasses

import numpy as np
import pandas as pd
import pytest

from helpers.sound.profiles import load_profile
from helpers.stages import data_free

PROFILE = load_profile("pocket")
IDS = np.array(["a", "b", "c", "d"])


@pytest.fixture
def retrieval(tmp_path):
    """Twins at a median of .5 by mel; a perfect replay reaches .9, of "d" nothing more; nine in ten are above .91 by aisfx."""
    rows = [("mel", "twins", "", 1, 0.5)] * 3 + [("mel", "twins", "", 2, 0.99)]
    rows += [("mel", "ceiling", clip, 1, 0.9) for clip in "abc"] + [("mel", "ceiling", "d", 1, 0.5)]
    rows += [("aisfx", "ceiling", "", 1, score) for score in np.linspace(0.9, 1, 101)]
    table = pd.DataFrame(rows, columns=["detector", "kind", "own_id", "rank", "own_score"])
    table.to_parquet(tmp_path / "null.parquet")
    return tmp_path


def test_a_replayed_prompt_needs_three_of_four_clips_by_both_detectors(retrieval):
    theta = PROFILE.thresholds.theta
    at, below = 0.5 + 0.4 * (theta + 0.01), 0.5 + 0.4 * (theta - 0.01)
    mel = np.array([[at, at, at, below], [at, at, below, below], [at] * 4, [0.9] * 4]).ravel()
    second = np.array([[0.95] * 4, [0.95] * 4, [0.95, 0.95, 0.905, 0.1], [0.95] * 4]).ravel()
    judged = data_free._replayed({"mel": mel, "aisfx": second}, IDS, retrieval, PROFILE)
    assert judged.tolist() == [True, False, False, False]  # the last one's position is undefined
    assert data_free._replayed({"mel": mel}, IDS, retrieval, PROFILE).tolist() == [True, False, True, False]


def table(positives: int) -> pd.DataFrame:
    rng, kinds = np.random.default_rng(0), ["train"] * 20 + ["heldout"] * 100
    replayed = np.arange(120) < positives
    scores = {name: rng.standard_normal(120) for name in data_free.NEEDS} | {"one_step": replayed + rng.random(120) / 2}
    return pd.DataFrame({"kind": kinds, "clip_id": np.arange(120).astype(str), "replayed": replayed} | scores)


def test_methods_are_judged_on_replayed_against_held_out_prompts():
    thresholds = dataclasses.replace(PROFILE.thresholds, n_bootstrap=100)
    rows = data_free._detection(table(8), {"one_step": 0.5}, dataclasses.replace(PROFILE, thresholds=thresholds))
    assert set(rows["positives"]) == {8} and set(rows["negatives"]) == {100} and set(rows["neither"]) == {12}
    by = rows.set_index("method")
    assert by.loc["one_step", "auroc"] == 1 and by.loc["one_step", "low"] < 1
    assert by.loc["one_step", "tpr_at_fpr_1pct"] == 1 and by.loc["one_step", "seconds_a_clip"] == 0.5
    assert abs(by.loc["caption_effect", "auroc"] - 0.5) < 0.3
    assert by["needs"].value_counts().to_dict() == {"nothing": 3, "the clip": 1, "the clip; defines the truth": 1}


def test_without_replays_nothing_is_claimed():
    rows = data_free._detection(table(1), {}, PROFILE)
    assert rows[["auroc", "low", "high", "tpr_at_fpr_1pct"]].isna().all(axis=None) and set(rows["positives"]) == {1}
