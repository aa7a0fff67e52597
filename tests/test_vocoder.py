"""Both vocoders against their aims: the mel they were given, one result in any batch, levels kept."""

import librosa
import numpy as np
import pytest
import torch

from helpers.base.settings import CodecConfig, MelConfig
from helpers.models.folder import write_model
from helpers.models.vocoder import PHASE_SEED, griffin_lim, linear_magnitudes, load_vocoder, to_int16
from helpers.models.vocos import Vocos, load_vocos, synthesise
from helpers.sound.mel import as_float, log_mel, mel_filter

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
    again = np.log(mel_filter(MEL, RATE) @ magnitude).T
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


def test_the_configuration_names_the_vocoder():
    mels = log_mel(noise(1, 8192), MEL, RATE)
    vocode = load_vocoder(CodecConfig(vocoder="griffin_lim", griffin_lim_iterations=3), MEL, RATE)
    np.testing.assert_array_equal(vocode(mels), griffin_lim(mels, MEL, RATE, 3, PHASE_SEED))
    assert vocode(mels[:0]).shape == (0, 8192)


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """A tiny network with fresh weights, stored as the published one is."""
    config = {"kind": "vocoder", "channels": 16, "hidden": 32, "blocks": 2, "refinements": 2, "sample_rate_hz": RATE}
    config |= {"mel": MEL.digest_fields(), "mel_mean": [-6.0] * 64, "mel_std": 2.0}
    torch.manual_seed(0)
    path = tmp_path_factory.mktemp("vocoder")
    write_model(path, config, Vocos(config).state_dict())
    return path


def test_a_network_vocodes_and_a_clip_does_not_depend_on_its_batch(folder):
    mels = log_mel(noise(11, 8192), MEL, RATE)
    vocode = load_vocoder(CodecConfig(vocoder="vocos", vocoder_path=str(folder)), MEL, RATE)
    audio = vocode(mels)
    assert (audio.shape, audio.dtype) == ((11, 8192), np.int16)
    alone = np.concatenate([vocode(mels[i : i + 1]) for i in range(11)])
    assert np.abs(audio.astype(int) - alone).max() <= 1
    assert vocode(mels[:0]).shape == (0, 8192)


def test_refinement_brings_the_mel_back(folder):
    mels = log_mel(noise(2, 16_384), MEL, RATE)
    model, errors = load_vocos(folder), []
    for model.refinements in (0, 1, 3):
        errors.append(np.abs(log_mel(to_int16(synthesise(model, mels)), MEL, RATE) - mels).mean())
    assert errors[0] > 2 * errors[1] > 2 * errors[2]


def test_the_network_keeps_levels_and_has_no_offset(folder):
    mels = log_mel(noise(1, 16_384), MEL, RATE)
    model = load_vocos(folder)
    usual, loud = synthesise(model, mels)[0], synthesise(model, mels + 4)[0]
    assert np.abs(loud).max() > 1 and np.abs(to_int16(loud)).max() == 32_767
    original = as_float(noise(1, 16_384))[0]
    assert 0.7 < usual.std() / original.std() < 1.4
    assert abs(usual.mean()) < 1e-6


def test_a_network_of_another_mel_rate_or_kind_is_refused(folder):
    codec = CodecConfig(vocoder="vocos", vocoder_path=str(folder))
    with pytest.raises(ValueError, match="expected a vocoder of .* at 22050 Hz, got one of .* at 16000 Hz"):
        load_vocoder(codec, MEL, 22_050)
    with pytest.raises(ValueError, match="hop_length=160"):
        load_vocoder(codec, MelConfig(hop_length=160), RATE)
    with pytest.raises(ValueError, match="expected a model of kind 'vocoder', got 'codec'"):
        load_vocoder(CodecConfig(vocoder="vocos", vocoder_path="models/codec"), MEL, RATE)
    vocode = load_vocoder(codec, MEL, RATE)
    for bad in (np.full((1, 16, 64), np.nan), np.zeros((1, 16, 32)), np.full((1, 16, 64), 21.0)):
        with pytest.raises(ValueError, match="mels: expected"):
            vocode(bad)


def test_the_published_vocoders_come_nearer_to_their_mel_than_griffin_lim():
    mels = log_mel(noise(2, 65_536), MEL, RATE)
    reference = np.abs(log_mel(griffin_lim(mels, MEL, RATE, 32, PHASE_SEED), MEL, RATE) - mels).mean()
    for path in ("models/vocoder", "models/vocoder_adversarial"):
        audio = load_vocoder(CodecConfig(vocoder_path=path), MEL, RATE)(mels)
        assert (audio.shape, audio.dtype) == ((2, 65_536), np.int16)
        assert np.abs(log_mel(audio, MEL, RATE) - mels).mean() < reference
