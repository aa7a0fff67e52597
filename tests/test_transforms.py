"""Each alteration changes the sound by what it says, and keeps length, type and headroom."""

import numpy as np
import pytest
from scipy import signal

from helpers.sound.transforms import TRANSFORMS, apply_transform

RATE, SAMPLES = 16_000, 32_768
CASES = [(name, strength) for name, t in TRANSFORMS.items() for strength in t.strengths]


def make_clip(seed: int) -> np.ndarray:
    """A few decaying tones over soft noise, peak at half scale."""
    rng, t = np.random.default_rng(seed), np.arange(SAMPLES) / RATE
    tones = sum(
        np.where(t >= onset, np.exp(-4 * (t - onset)), 0) * np.sin(2 * np.pi * f * t)
        for onset, f in zip(rng.uniform(0, 1.5, size=5), rng.uniform(200, 5000, size=5))
    )
    sound = tones + 0.02 * rng.standard_normal(SAMPLES)
    return np.rint(16_384 * sound / np.abs(sound).max()).astype(np.int16)


CLIP, OTHER = make_clip(0), make_clip(1)


def alter(name, strength, seed=0, clip=CLIP):
    return apply_transform(name, clip, strength, np.random.default_rng(seed), OTHER, RATE)


def snr_db(before, after):
    before, after = before.astype(float), after.astype(float)
    return 10 * np.log10((before**2).sum() / ((after - before) ** 2).sum())


@pytest.mark.parametrize("name, strength", CASES)
def test_every_alteration_keeps_length_and_type_and_changes_the_sound(name, strength):
    before = CLIP.copy()
    after = alter(name, strength)
    assert after.dtype == np.int16 and after.shape == CLIP.shape
    assert 0 < np.abs(after.astype(int)).max() <= 32_767
    assert snr_db(CLIP, after) < 40
    np.testing.assert_array_equal(CLIP, before)
    np.testing.assert_array_equal(after, alter(name, strength))  # the rng decides all


@pytest.mark.parametrize("name", TRANSFORMS)
def test_strengths_go_from_weak_to_strong_within_the_range(name):
    transform = TRANSFORMS[name]
    assert len(transform.strengths) == 3 and transform.low <= min(transform.strengths)
    assert max(transform.strengths) <= transform.high
    if name not in ("shift", "pitch", "speed"):  # those move the waveform out of phase at once
        levels = [np.mean([snr_db(CLIP, alter(name, s, seed)) for seed in range(4)]) for s in transform.strengths]
        slack = 1.0 if name == "reverb" else 0.0  # its tail has one energy; a longer one is only spread further
        assert levels[0] > levels[1] - slack and levels[1] > levels[2] - slack


@pytest.mark.parametrize("name", ["noise", "pink_noise", "mix"])
@pytest.mark.parametrize("level", [20, 6])
def test_added_sound_has_the_stated_level(name, level):
    assert snr_db(CLIP, alter(name, level)) == pytest.approx(level, abs=0.1)


def test_pink_noise_falls_three_decibels_an_octave_and_white_is_flat():
    for name, slope in (("pink_noise", -3.0), ("noise", 0.0)):
        f, power = signal.welch(alter(name, 0).astype(float) - alter_limit(name, 0), RATE, nperseg=1024)
        octave = [10 * np.log10(power[(f >= low) & (f < 2 * low)].mean()) for low in (500, 1000, 2000, 4000)]
        np.testing.assert_allclose(np.diff(octave), slope, atol=0.7)


def alter_limit(name, snr):
    """The clip at the gain that the limiter gave the sum, by regression: what is left is the noise."""
    after = alter(name, snr).astype(float)
    return CLIP * (after @ CLIP.astype(float)) / (CLIP.astype(float) @ CLIP)


def test_gain_is_exact_and_never_clips():
    np.testing.assert_allclose(alter("gain", -6), CLIP * 10 ** (-6 / 20), atol=0.51)
    loud = alter("gain", 12)  # would reach twice full scale
    assert np.abs(loud.astype(int)).max() == 32_767
    assert snr_db(CLIP * (32_767 / 16_384), loud) > 60  # turned down as a whole, its shape kept


def test_shift_moves_by_the_stated_time_and_fills_with_silence():
    directions = set()
    for seed in range(8):
        after, samples = alter("shift", 0.25, seed), 4000
        later = not after[:samples].any()
        directions.add(later)
        kept = (after[samples:], CLIP[:-samples]) if later else (after[:-samples], CLIP[samples:])
        np.testing.assert_array_equal(*kept)
    assert directions == {True, False}
    with pytest.raises(ValueError, match="at most half the clip = 1.024 s, got 1.5 s"):
        alter("shift", 1.5)


@pytest.mark.parametrize("name, strength", [("shift", 1.0), ("crop", 0.9)])
def test_the_only_event_of_a_clip_survives(name, strength):
    clip = np.zeros(SAMPLES, dtype=np.int16)
    clip[100:400] = 9000
    assert all(alter(name, strength, seed, clip).any() for seed in range(10))


def test_equaliser_reaches_its_gains_at_both_ends():
    impulse = np.zeros(SAMPLES, dtype=np.int16)
    impulse[1000] = 8000
    for seed in range(4):
        gain = 20 * np.log10(np.abs(np.fft.rfft(alter("eq", 6, seed, impulse) / 8000)))
        frequency = np.fft.rfftfreq(SAMPLES, 1 / RATE)
        ends = [gain[np.argmin(np.abs(frequency - f))] for f in (20, 1200, 7900)]
        sign = np.sign(ends[0])
        np.testing.assert_allclose(np.array(ends) * sign, [6, -5, 6], atol=1.5)


@pytest.mark.parametrize("name, strength", [("ogg", 0.4), ("mp3", 64), ("mp3", 16)])
def test_codecs_keep_the_timing(name, strength):
    after = alter(name, strength)
    lag = np.argmax(signal.correlate(after.astype(float), CLIP.astype(float), method="fft")) - (SAMPLES - 1)
    assert lag == 0 and snr_db(CLIP, after) > 5


@pytest.mark.parametrize("rate", [8000, 22_050, 32_000, 44_100, 48_000])
@pytest.mark.parametrize("kbps", TRANSFORMS["mp3"].strengths)
def test_mp3_is_as_weak_as_asked_at_any_rate(kbps, rate):
    tone = np.rint(9000 * np.sin(2 * np.pi * 440 * np.arange(rate) / rate)).astype(np.int16)
    coded = apply_transform("mp3", tone, kbps, np.random.default_rng(0), sample_rate_hz=rate)
    assert coded.shape == tone.shape and snr_db(tone, coded) > 5


def test_pitch_and_speed_move_a_tone_by_the_stated_ratio():
    tone = np.rint(9000 * np.sin(2 * np.pi * 1000 * np.arange(SAMPLES) / RATE)).astype(np.int16)

    def peak_hz(sound):
        spectrum = np.abs(np.fft.rfft(sound[8000:24_000] * np.hanning(16_000)))
        return float(np.argmax(spectrum))  # one bin is one hertz

    for name, strength, ratios in (("pitch", 3, (2 ** (3 / 12), 2 ** (-3 / 12))), ("speed", 4, (1.04, 0.96))):
        found = [peak_hz(alter(name, strength, seed, tone)) for seed in range(8)]
        for ratio in ratios:  # both directions occur, and nothing else
            assert any(f == pytest.approx(1000 * ratio, abs=6) for f in found)
        assert all(min(abs(f - 1000 * ratio) for ratio in ratios) < 6 for f in found)
    faster = next(y for seed in range(8) if not (y := alter("speed", 10, seed, tone))[-100:].any())
    assert np.flatnonzero(faster)[-1] == pytest.approx(SAMPLES / 1.1, abs=50)  # then silence


def test_reverb_decays_by_sixty_decibels_in_its_time():
    impulse = np.zeros(SAMPLES, dtype=np.int16)
    impulse[0] = 32_000
    tail = alter("reverb", 0.5, 0, impulse).astype(float)
    early, late = ((tail[a : a + 1600] ** 2).mean() for a in (800, 4000))  # 0.2 s apart: 24 dB
    assert 10 * np.log10(early / late) == pytest.approx(24, abs=1.5)


def test_crop_keeps_an_excerpt_in_place():
    after = alter("crop", 0.3)
    kept = np.flatnonzero(after)
    assert kept[-1] - kept[0] + 1 == pytest.approx(0.7 * SAMPLES, abs=30)
    np.testing.assert_array_equal(after[kept[0] : kept[-1]], CLIP[kept[0] : kept[-1]])


def test_wrong_input_is_refused():
    rng = np.random.default_rng(0)
    with pytest.raises(ValueError, match="expected one of gain, .*got 'flip'"):
        apply_transform("flip", CLIP, 1, rng)
    with pytest.raises(ValueError, match="noise: expected -20 to 60 dB SNR, got 99"):
        apply_transform("noise", CLIP, 99, rng)
    with pytest.raises(ValueError, match="got nan"):
        apply_transform("noise", CLIP, float("nan"), rng)
    with pytest.raises(ValueError, match="audio: expected a clip that is not silent"):
        apply_transform("noise", np.zeros(SAMPLES, np.int16), 20, rng)
    with pytest.raises(TypeError, match="expected int16 of shape .*got float64"):
        apply_transform("noise", CLIP / 2, 20, rng)
    with pytest.raises(ValueError, match="mix: expected a second clip .*got None"):
        apply_transform("mix", CLIP, 6, rng)
    with pytest.raises(ValueError, match=r"got \(5,\)"):
        apply_transform("mix", CLIP, 6, rng, other=OTHER[:5])
    with pytest.raises(ValueError, match="mp3: expected above 8 and at most 160 kbit/s at 16000 Hz, got 200"):
        apply_transform("mp3", CLIP, 200, rng)


def test_a_library_without_mp3_says_so(monkeypatch):
    monkeypatch.setattr("soundfile.available_formats", lambda: {"OGG": ""})
    with pytest.raises(RuntimeError, match="MP3: libsndfile .* built without it"):
        alter("mp3", 64)
