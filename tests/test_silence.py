"""Silence is one constant value, however it is stored; the cosine of a silent clip's row of zeros is not a number."""

import numpy as np
import pytest

from helpers.base.cosine import row_cosines
from helpers.sound.silence import is_silent, refuse_silence, shared_silence


@pytest.mark.parametrize("constant", [0, -3, 32_767, -32_768])
def test_a_constant_clip_is_silent_and_one_step_is_not(constant):
    clips = np.full((3, 100), constant, np.int16)
    clips[1, 7] += 1 if constant < 0 else -1
    assert is_silent(clips).tolist() == [True, False, True]
    assert is_silent(clips[1:, 8:]).all() and is_silent(clips[0]) and not is_silent(clips[1])
    with pytest.raises(ValueError, match=r"expected sound in every clip, got silence in clip 0 \(2 in all\)"):
        refuse_silence(clips)
    refuse_silence(clips[1:2])


def test_rounding_is_silence_and_the_faintest_sound_is_not():
    constant = np.full(1000, 0.1) * 3 - 0.3  # 5.6e-17 and not 0
    constant[0] = 0
    assert np.ptp(constant) > 0 and is_silent(constant)
    assert not is_silent(np.float32([0, 1e-7, 0])), "of a 24-bit recording's lowest bit"


def test_full_range_does_not_overflow():
    assert not is_silent(np.array([-32_768, 32_767], np.int16)), "their difference is -1 in int16"


def test_cosine_of_rows():
    rng = np.random.default_rng(0)
    a, b = rng.normal(size=(2, 5, 300)).astype(np.float32)
    a[2] = 0
    expected = [u @ v / np.sqrt((u @ u) * (v @ v)) for u, v in zip(a[[0, 1, 3, 4]].astype(float), b[[0, 1, 3, 4]])]
    for dtype in (None, np.float64):
        cosines = row_cosines(a, b, dtype)
        assert cosines.dtype == np.float64 and np.isnan(cosines[2])
        np.testing.assert_allclose(np.delete(cosines, 2), expected, atol=1e-6)


def test_silence_is_shared_where_both_are_faint():
    loud = np.tile(np.array([3000, -3000], np.int16), 2048)
    half = np.where(np.arange(4096) < 2048, loud, 5).astype(np.int16)
    assert (shared_silence(half, half), shared_silence(half, loud), shared_silence(half * 0, half)) == (0.5, 0.0, 0.5)
    with pytest.raises(ValueError, match=r"second: expected shape \(4096,\) as first, got \(8,\)"):
        shared_silence(half, half[:8])
