"""Planted duplicates must be found, and nothing else; waveform correlation against a direct sum."""

import numpy as np
import pandas as pd
import pytest

from helpers.copies.pairs import clusters_of, pair_metrics, pairs_above, waveform_correlation


@pytest.fixture
def planted():
    """Random features with copies: {2, 9, 600} exact at other lengths, {5, 40} nearly exact."""
    features = np.random.default_rng(0).normal(size=(632, 30)).astype(np.float32)
    features[9], features[600] = 3 * features[2], 0.1 * features[2]
    features[40] = features[5] + 0.02 * features[6]
    return features, [f"train_{i:05d}" for i in range(len(features))]


def test_planted_clusters_are_found(planted):
    found = clusters_of(pairs_above(planted[0], 0.99), planted[1])
    assert found.clip_id.tolist() == ["train_00002", "train_00009", "train_00600", "train_00005", "train_00040"]
    assert found.cluster_id.tolist() == [0, 0, 0, 1, 1]
    np.testing.assert_allclose(found.score[:3], 1, atol=1e-6)
    assert (found.score[3:] < 0.9999).all()


def test_exact_copies_are_found_at_a_threshold_of_one_in_spite_of_rounding():
    rows = np.random.default_rng(3).normal(size=(100, 40))
    pairs = pairs_above(np.concatenate([rows, 7 * rows]), 1.0)
    assert (pairs.i == np.arange(100)).all() and (pairs.j == pairs.i + 100).all()


def test_pairs_equal_a_slow_search(planted):
    features = planted[0][:80]
    pairs = pairs_above(features, 0.2)
    cosines = np.corrcoef(features) * 0
    for i in range(80):
        for j in range(80):
            cosines[i, j] = features[i] @ features[j] / np.linalg.norm(features[i]) / np.linalg.norm(features[j])
    slow = {(i, j) for i in range(80) for j in range(i + 1, 80) if cosines[i, j] >= 0.2}
    assert set(zip(pairs.i, pairs.j)) == slow and len(pairs) == len(slow) > 100
    np.testing.assert_allclose(pairs.score, [cosines[i, j] for i, j in zip(pairs.i, pairs.j)], atol=1e-5)


def test_clusters_chain_and_keep_each_clips_best_score():
    pairs = pd.DataFrame({"i": [1, 2, 0], "j": [2, 4, 5], "score": [0.95, 0.99, 0.97]})
    found = clusters_of(pairs, list("abcdef"))
    assert found.clip_id.tolist() == ["a", "f", "b", "c", "e"]
    assert found.cluster_id.tolist() == [0, 0, 1, 1, 1]
    assert found.score.tolist() == [0.97, 0.97, 0.95, 0.99, 0.99]


def test_no_duplicates_give_empty_tables():
    found = clusters_of(pairs_above(np.eye(4), 0.9), list("abcd"))
    assert found.empty and list(found.columns) == ["clip_id", "cluster_id", "score"]
    assert pairs_above(np.empty((0, 4)), 0.9).empty


def test_bad_features_are_refused():
    features = np.eye(4)
    features[2] = 0
    with pytest.raises(ValueError, match="row 2 is all zeros"):
        pairs_above(features, 0.9)


def test_precision_and_recall_of_unordered_pairs():
    metrics = pair_metrics([("b", "a"), ("a", "b"), ("c", "d"), ("e", "f")], [("a", "b"), ("c", "d"), ("x", "y")])
    assert (metrics.precision.count, metrics.precision.n) == (2, 3)
    assert (metrics.recall.count, metrics.recall.n) == (2, 3)
    assert metrics.precision.low < 2 / 3 < metrics.precision.high
    nothing = pair_metrics([], [("a", "b")])
    assert nothing.precision is None and nothing.recall.count == 0
    with pytest.raises(ValueError, match="two different clips"):
        pair_metrics([("a", "a")], [])


def test_waveform_correlation_against_a_direct_sum():
    rng = np.random.default_rng(1)
    a, b = rng.normal(size=60), rng.normal(size=60)
    b[10:40] += 3 * a[:30]
    u, v = (x - x.mean() for x in (a, b))
    slow = max(abs(sum(u[t] * v[t + lag] for t in range(60) if 0 <= t + lag < 60)) for lag in range(-59, 60)) / np.sqrt(
        (u**2).sum() * (v**2).sum()
    )
    assert waveform_correlation(a, b) == pytest.approx(slow)


def test_waveform_correlation_tells_copies_from_other_clips():
    rng = np.random.default_rng(2)
    clip = (rng.normal(size=8000) * 3000).astype(np.int16)
    assert waveform_correlation(clip, -(clip // 4)) == pytest.approx(1, abs=1e-3)
    shifted = np.concatenate([np.zeros(800, np.int16), clip[:-800]])
    assert waveform_correlation(clip, shifted) == pytest.approx(np.sqrt(0.9), abs=0.02)
    assert waveform_correlation(clip, rng.normal(size=8000)) < 0.1
    with pytest.raises(ValueError, match="not silent"):
        waveform_correlation(clip, np.zeros(8000))
