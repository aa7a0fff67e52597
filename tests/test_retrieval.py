"""The normalised score against its formula, centring, and what becomes of silent clips."""

import numpy as np
import pandas as pd
import pytest

from helpers.copies.bias import bias, centre, normalised_scores
from helpers.copies.search import top_k
from helpers.stages import retrieval


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
    unit = [x / np.linalg.norm(x, axis=1, keepdims=True) for x in (queries, background)]
    slow = -np.sort(-(unit[0] @ unit[1].T), axis=1)
    np.testing.assert_allclose(bias(top_k(queries, background, 7).scores, 3), slow[:, :3].mean(axis=1), atol=1e-6)


def test_centre_removes_the_mean():
    features = np.random.default_rng(2).normal(size=(11, 4, 3)) + 7
    np.testing.assert_allclose(centre(features, features.mean(axis=0)).mean(axis=0), 0, atol=1e-6)
    np.testing.assert_allclose(centre(features, features.mean(axis=(0, 1))).mean(axis=(0, 1)), 0, atol=1e-6)
    assert centre(features, features.mean(axis=0)).dtype == np.float32
    for wrong in (np.zeros(4), np.zeros((3, 4)), np.zeros((11, 4, 3)), 0.5):
        with pytest.raises(ValueError, match="expected the trailing axes"):
            centre(features, wrong)


def test_silent_clips_are_listed_but_not_searched_and_silence_alone_is_an_error():
    """Every query keeps its row; the audio is that of the sounding ones."""
    rows = {"query_id": ["a", "b", "c"], "kind": "generated", "index": [3, 4, 5], "caption": "rain", "row": range(3)}
    table = pd.DataFrame({**rows, "silent": [False, True, False], "prompt_set": ["train", "train", "heldout"]})
    audio = np.arange(3, dtype=np.int16)[:, None] * np.ones((1, 4), np.int16)
    kept, sound = retrieval._complete(table.copy(), audio, "generation_main")
    assert kept["query_id"].tolist() == ["a", "b", "c"] and sound[0:2][:, 0].tolist() == [0, 2]
    assert kept["index"].tolist() == [3, 4, -1]  # a held-out prompt has no training clip of its own
    with pytest.raises(ValueError, match="generation_main: expected sound, got 1 silent clips"):
        retrieval._complete(table[1:2].reset_index(drop=True), audio, "generation_main")
