"""Griffin-Lim against its aims: the mel it was made from, one result in any batch, levels kept."""

import librosa
import numpy as np
import pytest

from helpers.config import CodecConfig, MelConfig
from helpers.mel import log_mel, mel_filter
from helpers.vocoder import PHASE_SEED, griffin_lim, linear_magnitudes, vocode

RATE = 16_000
MEL = MelConfig()


def noise(n: int, samples: int, seed: int = 0) -> np.ndarray:
    """int16 [n, S] of noise under a slow tremolo, quieter from clip to clip."""
    rng = np.random.default_rng(seed)
    tremolo = 0.55 + 0.45 * np.sin(np.arange(samples) * 2e-3)
    return np.round(rng.standard_normal((n, samples)) * tremolo * 6000 / np.arange(1, n + 1)[:, None]).astype(np.int16)


def test_linear_magnitudes_reproduce_the_mel():
    mel = log_mel(noise(1, 16_384), MEL, RATE)[0]
    magnitude = linear_magnitudes(mel, MEL, RATE)
    assert magnitude.min() >= 0
    again = np.log(mel_filter(MEL, RATE).numpy() @ magnitude).T
    assert np.abs(again - mel).mean() < 0.02


@pytest.mark.parametrize("hop", [256, 160])
def test_vocoded_audio_has_the_mel_it_was_made_from(hop):
    config = MelConfig(hop_length=hop)
    samples = 64 * hop
    mels = log_mel(noise(2, samples), config, RATE)
    audio = griffin_lim(mels, config, RATE, 32, PHASE_SEED)
    assert (audio.shape, audio.dtype) == ((2, samples), np.int16)
    assert np.abs(log_mel(audio, config, RATE) - mels).mean() < 0.25
    # the level is kept: the second clip stays at half of the first
    ratio = audio[1].astype(float).std() / audio[0].astype(float).std()
    assert ratio == pytest.approx(0.5, rel=0.1)


def test_vocoding_is_the_same_in_any_batch_and_again():
    mels = log_mel(noise(3, 8192), MEL, RATE)
    together = griffin_lim(mels, MEL, RATE, 4, seed=1)
    np.testing.assert_array_equal(together, griffin_lim(mels, MEL, RATE, 4, seed=1))
    np.testing.assert_array_equal(together[2:], griffin_lim(mels[2:], MEL, RATE, 4, seed=1))
    assert (together != griffin_lim(mels, MEL, RATE, 4, seed=2)).any()


def test_more_iterations_come_closer():
    mels = log_mel(noise(1, 16_384), MEL, RATE)
    target = linear_magnitudes(mels[0], MEL, RATE)
    errors = []
    for iterations in (1, 32):
        audio = griffin_lim(mels, MEL, RATE, iterations, 0)[0] / 32_767
        spectrum = np.abs(librosa.stft(audio, n_fft=1024, hop_length=256, pad_mode="reflect"))[:, :-1]
        errors.append(np.linalg.norm(spectrum - target))
    assert errors[1] < 0.7 * errors[0]


def test_loud_mels_are_scaled_down_rather_than_clipped():
    mels = log_mel(noise(1, 8192), MEL, RATE)
    loud, usual = (griffin_lim(m, MEL, RATE, 4, 0)[0].astype(float) for m in (mels + 4, mels))
    assert np.abs(loud).max() == 32_767
    assert np.corrcoef(loud, usual)[0, 1] > 0.999  # clipping would bend the waveform
    assert (np.abs(loud) == 32_767).sum() <= 2


def test_silence_stays_silent():
    mels = log_mel(np.zeros((1, 8192), np.int16), MEL, RATE)
    assert np.abs(griffin_lim(mels, MEL, RATE, 4, 0)).max() <= 8


def test_wrong_mels_are_not_vocoded():
    for bad in (np.zeros((16, 64)), np.zeros((1, 16, 32)), np.zeros((1, 0, 64))):
        with pytest.raises(ValueError, match=r"expected \[N, T, 64\], got shape"):
            griffin_lim(bad, MEL, RATE, 1, 0)
    for bad in (np.nan, np.inf, 21.0):
        with pytest.raises(ValueError, match="at most 20 nepers"):
            griffin_lim(np.full((1, 16, 64), bad), MEL, RATE, 1, 0)


def test_vocode_takes_the_configured_iterations():
    mels = log_mel(noise(1, 8192), MEL, RATE)
    config = CodecConfig(griffin_lim_iterations=3)
    np.testing.assert_array_equal(vocode(mels, config, MEL, RATE), griffin_lim(mels, MEL, RATE, 3, PHASE_SEED))
    assert vocode(mels[:0], config, MEL, RATE).shape == (0, 8192)
