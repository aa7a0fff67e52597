"""What clips differ in beside content is measured and named, and clips are made alike."""

import numpy as np
import pandas as pd
import pytest
from scipy import signal

from helpers.sound.likeness import MEASURES, _spectrum, differences, make_alike, measure

RATE = 16_000


def clip(number: int, seconds: float = 3.0) -> np.ndarray:
    """Bursts of noise of random colour over a faint hiss, int16."""
    rng = np.random.default_rng(number)
    t = np.arange(round(seconds * RATE)) / RATE
    loud = sum(np.exp(-((t - at) ** 2) / 0.02) for at in rng.uniform(0, seconds, 4))
    sound = rng.standard_normal(len(t)) * (loud + 0.01)
    return np.round(sound / np.abs(sound).max() * 16383).astype(np.int16)


def table(clips) -> pd.DataFrame:
    return pd.DataFrame([measure(one, RATE) for one in clips])


ALTER = {
    "seconds": lambda x: x[: len(x) // 2],
    "lead_s": lambda x: np.concatenate([np.zeros(24_000, np.int16), x[:-24_000]]),
    "trail_s": lambda x: np.concatenate([x[:-24_000], np.zeros(24_000, np.int16)]),
    "bandwidth_hz": lambda x: signal.sosfilt(signal.butter(10, 3000, fs=RATE, output="sos"), x.astype(float)),
    "floor_db": lambda x: x + np.random.default_rng(0).standard_normal(len(x)) * x.std() / 3,
}


@pytest.mark.parametrize("name", ALTER)
def test_each_difference_is_named_and_goes_where_honest_clips_are_made_alike(name):
    made = [np.round(ALTER[name](clip(i))).astype(np.int16) for i in range(30)]
    honest = [clip(100 + i) for i in range(40)]
    wanted, own = table(made), table(honest)
    assert name in [found.measure for found in differences(wanted, own)]
    alike = make_alike(honest, own, wanted, RATE, seed=1)
    assert not differences(wanted, table(alike)), "nor has another come"
    again = make_alike(honest, own, wanted, RATE, seed=1)
    assert all(np.array_equal(a, b) for a, b in zip(alike, again)) and alike[0].dtype == np.int16


def spread(number: int, more_db: float = 0.0) -> np.ndarray:
    """A clip with a floor and a bandwidth as spread as those of real recordings, which follow no other measure."""
    rng = np.random.default_rng(1000 + number)
    sound = clip(number, rng.uniform(1, 4)) + rng.standard_normal(1)
    sound = sound + rng.standard_normal(len(sound)) * sound.std() * 10 ** ((rng.uniform(-50, -25) + more_db) / 20)
    low_pass = signal.butter(8, rng.uniform(1000, 7500), fs=RATE, output="sos")
    return np.round(signal.sosfilt(low_pass, sound)).astype(np.int16)


@pytest.mark.parametrize("more_db", [0, 5, 15])
def test_clips_that_are_alike_already_stay_so_and_noise_widens_none(more_db):
    """Each given the floor of a clip that is about as long, most would get noise, and none would lose any. White noise would bring
    every clip to the highest frequency that there is."""
    honest = [spread(i) for i in range(80)]
    own, wanted = table(honest), table([spread(200 + i, more_db) for i in range(40)])
    made = table(make_alike(honest, own, wanted, RATE, seed=1))
    assert not differences(wanted, made)
    assert abs(made["floor_db"].median() - wanted["floor_db"].median()) < 1.5
    assert abs(made["bandwidth_hz"].median() - wanted["bandwidth_hz"].median()) < 600


def test_no_honest_clip_is_cut_from_a_pause():
    """It sounds in its first and last second; cut to two, most places lie in the eight seconds between."""
    rng, long = np.random.default_rng(0), 10 * RATE
    clips = []
    for _ in range(12):
        clip = np.zeros(long, np.int16)
        clip[:RATE], clip[-RATE:] = rng.integers(-9999, 9999, (2, RATE))
        clips.append(clip)
    wanted = pd.DataFrame([measure(clip[: 2 * RATE] + np.int16(0), RATE) for clip in clips])
    measures = pd.DataFrame([measure(clip, RATE) for clip in clips])
    made = make_alike(clips, measures, wanted, RATE, 0)
    assert all(np.abs(clip).max() > 1000 and np.isfinite(measure(clip, RATE)["bandwidth_hz"]) for clip in made)


def test_folders_of_one_kind_do_not_differ_and_few_clips_prove_little():
    one, other = table([clip(i) for i in range(40)]), table([clip(100 + i) for i in range(60)])
    assert not differences(one, other)
    assert not differences(table([clip(0)]), other)


def test_a_part_of_the_clips_that_no_honest_one_is_like_is_named_whatever_the_medians_say():
    """31 of one second beside honest ones of one second, and 29 of four; then twelve of sixty; then one alone."""
    honest = pd.DataFrame([measure(clip(i, 1.0), RATE) for i in range(60)])
    for short, long in ((31, 29), (48, 12), (0, 2), (0, 1)):
        lengths = [1.0] * short + [4.0] * long
        found = differences(table([clip(900 + i, length) for i, length in enumerate(lengths)]), honest)
        assert [(one.outside, one.n) for one in found if one.measure == "seconds"] == [(long, short + long)]
        assert f"{long} of {short + long} generated outside the range of honest" in str(found[0])


def test_a_hair_is_no_difference():
    """All are longer than any honest one, by a hundredth of their length."""
    one, other = table([clip(i, 3.03) for i in range(40)]), table([clip(100 + i) for i in range(60)])
    assert not differences(one, other)


def test_measures_are_those_of_a_known_clip():
    sound = np.zeros(32_000, np.int16)
    t = np.arange(16_000) / RATE
    sound[8_000:24_000] = 8_000 * np.sin(2 * np.pi * 1000 * t)
    found = measure(sound, RATE, level_db=-20.0)
    assert tuple(found) == MEASURES and found["level_db"] == -20
    assert [found[name] for name in MEASURES[:3]] == pytest.approx([2.0, 0.5, 0.5], abs=0.02)
    assert found["bandwidth_hz"] == pytest.approx(1000, abs=80) and found["floor_db"] > -1


@pytest.mark.parametrize("samples", [1, 2, 3, 777, 1023, 1024, 1025, 30_000])
def test_spectra_are_those_of_welch(samples):
    """With a slow drift, which would outdo all else were it not taken out of each segment."""
    rng, t = np.random.default_rng(0), np.arange(samples) / RATE
    sound = (3000 * np.sin(np.pi * t) + 100 * rng.standard_normal(samples)).astype(np.float32)
    frequencies, power = _spectrum(sound, RATE)
    expected, by_scipy = signal.welch(sound, RATE, nperseg=min(1024, samples))
    np.testing.assert_allclose(frequencies, expected)
    np.testing.assert_allclose(power * by_scipy.max(), by_scipy * power.max(), atol=1e-6 * power.max() * by_scipy.max())


def test_a_sound_of_one_sample_has_no_band():
    assert measure(np.array([5], np.int16), RATE)["bandwidth_hz"] == 0
