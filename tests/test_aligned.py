"""Shift-aligned search against a slow loop over shifts; shifted copies are found, with their shift."""

import numpy as np
import pytest
from scipy.ndimage import gaussian_filter

from helpers.copies import shifted
from helpers.copies.search import top_k
from helpers.copies.shifted import aligned_cosines, top_aligned


def slow(query, reference, max_shift):
    """Best cosine over shifts of two log-mels [T, M], and the shift, by one product after the other."""
    frames, found = len(query), []
    for shift in range(-max_shift, max_shift + 1):
        a = query[max(shift, 0) : frames + min(shift, 0)]
        b = reference[max(-shift, 0) : frames - max(shift, 0)]
        found.append((float((a * b).sum() / np.linalg.norm(a) / np.linalg.norm(b)), shift))
    return max(found)


def smooth(n, frames, bands, seed):
    """Random log-mels that change slowly along time and bands, as sounds do."""
    noise = np.random.default_rng(seed).normal(size=(n, frames, bands))
    return gaussian_filter(noise, (0, 6, 4)).astype(np.float32)


@pytest.mark.parametrize("block", [1, 5, 1000])
@pytest.mark.parametrize("frames, max_shift", [(40, 7), (33, 0), (64, 31)])
def test_every_candidate_is_compared_at_every_shift(frames, max_shift, block, monkeypatch):
    queries, references = smooth(6, frames, 3, 0), smooth(11, frames, 3, 1)
    monkeypatch.setattr(shifted, "BLOCK_BYTES", block * 1000)
    monkeypatch.setattr(shifted, "QUERIES", 4)
    found = top_aligned(queries, references, 11, max_shift, candidates=11)
    for row, query in enumerate(queries):
        truth = [slow(query, reference, max_shift) for reference in references]
        assert sorted(found[1][row]) == list(range(11))
        np.testing.assert_allclose(found[0][row], [truth[i][0] for i in found[1][row]], atol=1e-5)
        assert (np.diff(found[0][row]) <= 0).all()


@pytest.mark.parametrize("shift", [-20, -3, 0, 11, 20])
def test_a_shifted_copy_is_found_where_the_plain_cosine_misses_it(shift):
    long = smooth(60, 170, 32, 2)
    references = np.ascontiguousarray(long[:, 20:148])
    queries = np.ascontiguousarray(long[:10, 20 - shift : 148 - shift])
    found = top_aligned(queries, references, 1, 20, candidates=4)
    np.testing.assert_array_equal(found[1][:, 0], np.arange(10))
    np.testing.assert_allclose(found[0][:, 0], 1, atol=1e-5)
    plain = top_k(queries.reshape(10, -1), references.reshape(60, -1), 1).scores[:, 0]
    assert abs(shift) < 10 or np.median(plain) < 0.7


def test_a_shift_that_leaves_nothing_of_a_sound_does_not_count():
    """Sounds that are zero but for their first frames: shifted out, they leave rounding over rounding."""
    short = smooth(8, 64, 16, 3)
    short[:, 12:] = 0
    scores = aligned_cosines(short[:4], short[4:], 20)
    assert (np.abs(scores) < 0.999).all() and aligned_cosines(short[:1], short[:1], 20)[0] == pytest.approx(1, abs=1e-5)
    assert top_aligned(short, short, 1, 20, candidates=8)[1][:, 0].tolist() == [*range(8)]
    assert aligned_cosines(0 * short[:1], short[:1], 20).tolist() == [0]


def test_bad_input_is_refused_and_named():
    good = smooth(5, 20, 3, 0)
    for message, arguments in (
        (r"queries: expected \[Q, T, M\]", (good[0], good, 1, 2)),
        (r"queries: expected \[Q, T, M\]", (good[:, :, :2], good, 1, 2)),
        ("max_shift: expected 0 to less than half of 20 frames, got 10", (good, good, 1, 10)),
        ("k: expected 1 to the 5 candidates, got 6", (good, good, 6, 2)),
        ("k: expected 1 to the 2 candidates, got 3", (good, good, 3, 2, 2)),
        ("expected finite log-mels", (np.nan * good, good, 1, 2)),
    ):
        with pytest.raises(ValueError, match=message):
            top_aligned(*arguments)
