"""The log-mel front end against librosa, and what it refuses."""

import librosa
import numpy as np
import pytest

from helpers.base.settings import MelConfig
from helpers.sound.mel import FLOOR, log_mel, mel_filter, normalise_waveform

RATE = 16_000


def clip(samples: int, seed: int) -> np.ndarray:
    """int16 [S]: a gliding harmonic tone, claps that decay, filtered noise, and a stretch of digital silence."""
    rng = np.random.default_rng(seed)
    t = np.arange(samples) / RATE
    tone = sum(np.sin(2 * np.pi * k * (150 + 40 * seed) * t * (1 + 0.05 * t)) / k for k in range(1, 8))
    claps = rng.standard_normal(samples) * np.exp(-20 * (t % 0.7))
    rain = np.convolve(rng.standard_normal(samples), np.ones(5) / 5, mode="same")
    sound = 0.1 * tone + 0.3 * claps + 0.02 * rain
    sound[samples // 3 : samples // 2] = 0
    return np.round(sound / np.abs(sound).max() * 16_384).astype(np.int16)


def librosa_log_mel(audio: np.ndarray, config: MelConfig) -> np.ndarray:
    """[T, M] in double precision by librosa's own chain."""
    spectrum = np.abs(
        librosa.stft(
            audio / 32_768,
            n_fft=config.n_fft,
            hop_length=config.hop_length,
            center=True,
            pad_mode="reflect",
            dtype=np.complex128,
        )
    )
    bands = librosa.feature.melspectrogram(
        S=spectrum, sr=RATE, n_mels=config.n_mels, fmin=config.fmin_hz, fmax=config.fmax_hz, power=1
    )
    return np.log(np.maximum(bands, FLOOR)).T[: len(audio) // config.hop_length]


@pytest.mark.parametrize(("hop", "samples"), [(256, 65_536), (160, 163_840)])
def test_log_mel_agrees_with_librosa(hop, samples):
    config = MelConfig(hop_length=hop)
    low = np.round(16_384 * np.sin(np.arange(samples) * 0.05)).astype(np.int16)  # all other bands nearly silent
    clips = np.stack([clip(samples, seed) for seed in range(2)] + [low])
    ours = log_mel(clips, config, RATE)
    assert ours.shape == (3, samples // hop, 64)
    assert ours.dtype == np.float32
    for mel, audio in zip(ours, clips):
        np.testing.assert_allclose(mel, librosa_log_mel(audio, config), atol=1e-5)


def test_silence_is_at_the_floor():
    np.testing.assert_allclose(log_mel(np.zeros(4096, np.int16), MelConfig(), RATE), np.log(FLOOR), rtol=1e-6)


def test_a_clip_does_not_depend_on_its_batch():
    clips = np.stack([clip(4096, seed) for seed in range(40)])  # more than one thread's share
    together = log_mel(clips, MelConfig(), RATE)
    for index in (0, 7, 8, 39):
        np.testing.assert_allclose(together[index], log_mel(clips[index], MelConfig(), RATE)[0], atol=1e-5)


def test_float_and_int16_are_the_same_sound():
    audio = clip(4096, 1)
    np.testing.assert_array_equal(
        log_mel(audio, MelConfig(), RATE), log_mel(audio.astype(np.float64) / 32_768, MelConfig(), RATE)
    )


def test_twice_the_gain_adds_the_logarithm_of_two():
    audio = (0.1 * np.random.default_rng(0).standard_normal(8192)).astype(np.float32)
    difference = log_mel(2 * audio, MelConfig(), RATE) - log_mel(audio, MelConfig(), RATE)
    np.testing.assert_allclose(difference, np.log(2), atol=1e-4)


@pytest.mark.parametrize(
    ("audio", "message"),
    [
        (np.zeros((2, 2, 4096), np.int16), r"expected \[N, S\] or \[S\], got shape \(2, 2, 4096\)"),
        (np.zeros(4095, np.int16), "multiple of hop_length = 256, got 4095"),
        (np.zeros(512, np.int16), "at least n_fft = 1024 samples .* got 512"),
        (np.zeros(4096, np.int32), "expected int16 or floating point, got int32"),
        (np.full(4096, np.nan), "got NaN or infinity"),
        (np.r_[np.zeros(4095), np.inf], "got NaN or infinity"),
    ],
)
def test_wrong_audio_is_refused(audio, message):
    with pytest.raises(ValueError, match=message):
        log_mel(audio, MelConfig(), RATE)


def test_wrong_bands_are_refused():
    with pytest.raises(ValueError, match="at most half of 8000 Hz, got 8000"):
        mel_filter(MelConfig(), 8_000)
    with pytest.warns(UserWarning, match="Empty filters"), pytest.raises(ValueError, match="got [0-9]+ empty ones"):
        mel_filter(MelConfig(n_fft=128, n_mels=200), RATE)


def test_normalised_waveform_has_no_mean_and_its_peak_at_one_half():
    audio = np.random.default_rng(3).standard_normal((4, 1000)) * [[1e-3], [1], [5], [100]] + 7
    result = normalise_waveform(audio)
    assert result.dtype == np.float32
    np.testing.assert_allclose(result.mean(axis=-1), 0, atol=1e-6)
    np.testing.assert_allclose(np.abs(result).max(axis=-1), 0.5, rtol=1e-6)
    np.testing.assert_allclose(result, normalise_waveform(result), atol=1e-6)


@pytest.mark.parametrize("constant", [0.0, 0.1, -123.4])
def test_a_silent_clip_has_no_peak_to_normalise(constant):
    audio = np.random.default_rng(3).standard_normal((2, 1000))
    audio[1] = constant
    with pytest.raises(ValueError, match="got a silent one"):
        normalise_waveform(audio)


def test_nan_is_not_normalised():
    with pytest.raises(ValueError, match="got NaN"):
        normalise_waveform(np.r_[np.nan, np.ones(9)])
