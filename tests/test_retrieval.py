"""Exact search against an independent slow answer, and the normalised score against its formula."""

import numpy as np
import pandas as pd
import pytest

from helpers import scores
from helpers.retrieval import CHUNK_ROWS, bias, centre, normalised_scores, top_k


def slow_top_k(queries, references, k):
    """Double-precision cosines and a full sort; equal scores by index (rounded: double copies differ by 1e-16)."""
    unit = [x / np.linalg.norm(x, axis=1, keepdims=True) for x in (queries.astype(float), references.astype(float))]
    cosines = unit[0] @ unit[1].T
    order = np.array([sorted(range(len(row)), key=lambda r, row=row: (-round(row[r], 9), r))[:k] for row in cosines])
    return np.take_along_axis(cosines, order, axis=1), order


@pytest.mark.parametrize("seed", range(6))
@pytest.mark.parametrize("k", [1, 5, 40])
def test_top_k_equals_a_full_sort(seed, k):
    rng = np.random.default_rng(seed)
    queries, references = rng.normal(size=(23, 17)) * 10, rng.normal(size=(40, 17)) + 0.5
    references[rng.integers(40, size=12)] = references[3]  # copies: ties, also at the k-th place
    references[7] = 250 * references[3]  # the same direction at another length
    queries[0] = references[3]
    scores, indices = top_k(queries, references, k)
    slow_scores, slow_indices = slow_top_k(queries, references, k)
    assert scores.dtype == np.float32 and indices.dtype == np.int64
    np.testing.assert_array_equal(indices, slow_indices)
    np.testing.assert_allclose(scores, slow_scores, atol=2e-6)
    assert (np.diff(scores, axis=1) <= 0).all()


@pytest.mark.parametrize("copies", [30, 90])
def test_ties_at_the_last_place_take_the_lower_index(copies):
    """More copies than the search looks at first: it must widen before it may choose among them."""
    rng = np.random.default_rng(copies)
    references = rng.normal(size=(200, 8)).astype(np.float32)
    tied = np.sort(rng.choice(200, copies, replace=False))
    # Copies but for one part in 10,000: cosines differ by 1e-8, which float32 turns into an arbitrary order.
    references[tied] = references[tied[0]] * (1 + 1e-4 * rng.normal(size=(copies, 8)))
    _, indices = top_k(references[tied[:1]], references, 4)
    np.testing.assert_array_equal(indices[0], tied[:4])


def test_a_difference_above_the_tie_tolerance_is_kept():
    angle = np.array([2e-3, 1e-4])  # cosines 1 - 2e-6 and 1 - 5e-9
    references = np.stack([np.cos(angle), np.sin(angle)], axis=1)
    assert top_k(np.array([[1.0, 0.0]]), references, 2).indices.tolist() == [[1, 0]]


def test_more_rows_than_a_chunk():
    rng = np.random.default_rng(1)
    references = rng.normal(size=(2 * CHUNK_ROWS + 3, 12)).astype(np.float16)
    scores, indices = top_k(references, references, 1)
    np.testing.assert_array_equal(indices[:, 0], np.arange(len(references)))
    np.testing.assert_allclose(scores, 1, atol=1e-6)


def test_bad_input_is_refused_and_named():
    good = np.eye(4)
    for value, words in ((0, "all zeros"), (np.nan, "not finite"), (np.inf, "not finite")):
        bad = np.eye(4)
        bad[2] = value
        with pytest.raises(ValueError, match=f"references: row 2 is {words}"):
            top_k(good, bad, 1)
        with pytest.raises(ValueError, match=f"queries: row 2 is {words}"):
            top_k(bad, good, 1)
    late = np.ones((CHUNK_ROWS + 5, 2))
    late[CHUNK_ROWS + 1] = 0
    with pytest.raises(ValueError, match=f"row {CHUNK_ROWS + 1} is all zeros"):
        top_k(late, np.eye(2), 1)
    with pytest.raises(ValueError, match="expected 1 to the number of references = 4, got 5"):
        top_k(good, good, 5)
    with pytest.raises(ValueError, match="expected 4 dimensions as in references, got 3"):
        top_k(good[:, :3], good, 1)
    with pytest.raises(ValueError, match="references: expected shape"):
        top_k(good, good[0], 1)


def test_bias_and_normalised_scores_by_hand():
    background = np.array([[0.9, 0.6, 0.3], [0.5, 0.5, 0.1]], dtype=np.float32)
    np.testing.assert_allclose(bias(background, 1), [0.9, 0.5], atol=1e-7)
    np.testing.assert_allclose(bias(background, 3), [0.6, 1.1 / 3], atol=1e-7)
    np.testing.assert_allclose(normalised_scores(np.array([0.8, 0.7]), background, 0.5, 2), [0.425, 0.45], atol=1e-7)
    table = np.array([[0.8, 0.2], [0.7, 0.6]])
    normalised = normalised_scores(table, background, 1.0, 2)
    np.testing.assert_allclose(normalised, [[0.05, -0.55], [0.2, 0.1]], atol=1e-7)
    np.testing.assert_array_equal(normalised_scores(table, background, 0.0, 1), table)


def test_the_bias_never_changes_the_nearest_reference_but_changes_who_passes():
    rng = np.random.default_rng(5)
    scores, background = rng.uniform(size=(50, 9)), -np.sort(-rng.uniform(size=(50, 6)), axis=1)
    normalised = normalised_scores(scores, background, 0.8, 4)
    np.testing.assert_array_equal(np.argsort(normalised, axis=1), np.argsort(scores, axis=1))
    assert (np.argsort(normalised.max(axis=1)) != np.argsort(scores.max(axis=1))).any()


def test_background_must_be_descending_and_wide_enough():
    with pytest.raises(ValueError, match="row 1 rising"):
        bias(np.array([[0.5, 0.4], [0.1, 0.2]]), 1)
    with pytest.raises(ValueError, match="rising"):
        bias(np.array([[0.5, np.nan]]), 1)
    with pytest.raises(ValueError, match="expected 1 to 2 background neighbours, got 3"):
        bias(np.array([[0.5, 0.4]]), 3)
    with pytest.raises(ValueError, match="expected 3 rows"):
        normalised_scores(np.zeros(3), np.array([[0.5, 0.4]]), 1.0, 1)


def test_top_k_of_a_background_feeds_the_bias():
    rng = np.random.default_rng(8)
    queries, background = rng.normal(size=(5, 6)), rng.normal(size=(20, 6))
    slow, _ = slow_top_k(queries, background, 7)
    np.testing.assert_allclose(bias(top_k(queries, background, 7).scores, 3), slow[:, :3].mean(axis=1), atol=1e-6)


def test_centre_removes_the_mean():
    features = np.random.default_rng(2).normal(size=(11, 4, 3)) + 7
    np.testing.assert_allclose(centre(features, features.mean(axis=0)).mean(axis=0), 0, atol=1e-6)
    np.testing.assert_allclose(centre(features, features.mean(axis=(0, 1))).mean(axis=(0, 1)), 0, atol=1e-6)
    assert centre(features, features.mean(axis=0)).dtype == np.float32
    for wrong in (np.zeros(4), np.zeros((3, 4)), np.zeros((11, 4, 3)), 0.5):
        with pytest.raises(ValueError, match="expected the trailing axes"):
            centre(features, wrong)


def test_silent_clips_are_left_out_and_silence_alone_is_an_error():
    table, audio = pd.DataFrame({"query_id": ["a", "b"], "silent": [False, True]}), np.ones((2, 4), np.int16)
    kept, sound = scores._sounding(table, audio, "generation_n00016_d0")
    assert kept["query_id"].tolist() == ["a"] and len(sound) == 1
    with pytest.raises(ValueError, match="generation_n00016_d0: expected sound, got 1 silent"):
        scores._sounding(table[1:], audio[1:], "generation_n00016_d0")
