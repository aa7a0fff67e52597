"""Mixtures of training clips as TANGO makes them."""

import librosa
import numpy as np
import pytest

from helpers.base.settings import MelConfig, TextConfig
from helpers.models import mixing
from helpers.models.codec import load_codec
from helpers.models.text import encode_captions
from helpers.sound.mel import log_mel

RATE, SAMPLES = 16_000, 65_536
TIME = np.arange(SAMPLES) / RATE


def tone(hertz, amplitude):
    return amplitude * np.sin(2 * np.pi * hertz * TIME)


def test_loudness_is_that_of_the_loudest_window_as_ears_weigh_it():
    steady = mixing.loudest_db(tone(1000, 0.1), RATE)
    burst = np.where(np.abs(TIME - 2) < 0.2, tone(1000, 0.1), 0)
    assert mixing.loudest_db(burst, RATE) == pytest.approx(steady, abs=0.1)
    assert mixing.loudest_db(tone(1000, 0.05), RATE) == pytest.approx(steady - 6.02, abs=0.01)
    low = librosa.A_weighting(np.array([100.0]))[0]  # -19.1 dB
    assert mixing.loudest_db(tone(100, 0.1), RATE) == pytest.approx(steady + low, abs=0.5)
    assert mixing.loudest_db(np.zeros(SAMPLES), RATE) == -80


def test_the_louder_clip_is_turned_down_by_the_difference():
    """By hand: of tones at 20 dB difference p = 1 / 11, so both come out alike, to ears."""
    loud, quiet = tone(1000, 0.5), tone(1250, 0.05)
    mixed = mixing.mix(loud, quiet, RATE)
    spectrum = np.abs(np.fft.rfft(mixed))
    hertz = np.fft.rfftfreq(SAMPLES, 1 / RATE)
    peaks = [spectrum[np.abs(hertz - f) < 5].max() for f in (1000, 1250)]
    heard_louder = 10 ** (np.diff(librosa.A_weighting(np.array([1000.0, 1250.0])))[0] / 20)  # the upper, by 0.6 dB
    assert peaks[0] / peaks[1] == pytest.approx(heard_louder, rel=0.01) and np.abs(mixed).max() == pytest.approx(0.5)
    assert not mixing.mix(loud, -loud, RATE).any()


def test_captions_are_joined():
    assert mixing.mixed_caption("A dog barks", "Rain falls") == "A dog barks and rain falls"
    assert mixing.mixed_caption("A", "") == "A and "


def test_a_mixture_goes_through_codec_and_text_encoder_as_a_clip_does():
    audio = np.round(32767 * np.stack([tone(400, 0.5), tone(3000, 0.5), tone(900, 0.5)])).astype(np.int16)
    codec, text = load_codec("models/codec"), TextConfig(max_tokens=12)
    mixer = mixing.Mixer(audio, ["A hum", "A beep", "A tone"], codec, MelConfig(), text, RATE)
    latents, deviations, states, mask = mixer(np.array([0, 2]), np.array([1, 0]))
    assert latents.shape == deviations.shape == (2, 16, 32, 8) and (deviations > 0).all()
    expected = encode_captions(["A hum and a beep", "A tone and a hum"], text)
    np.testing.assert_array_equal(states, expected[0])
    np.testing.assert_array_equal(mask, expected[1])
    mixed = mixing.mix(*(audio[:2] / 32767), RATE)
    alone = codec.encode(log_mel(np.round(32767 * mixed[None]).astype(np.int16), MelConfig(), RATE))
    np.testing.assert_allclose(latents[:1], alone, atol=1e-4)


def test_captions_that_are_cut_are_told_once(caplog):
    audio = np.round(32767 * np.stack([tone(400, 0.5), tone(3000, 0.5)])).astype(np.int16)
    mixer = mixing.Mixer(
        audio, ["A hum", "A beep"], load_codec("models/codec"), MelConfig(), TextConfig(max_tokens=4), RATE
    )
    for _ in range(2):
        mixer(np.array([0]), np.array([1]))
    assert [record.message for record in caplog.records] == ["1 of 1 captions fill or exceed 4 tokens and may be cut"]


def test_the_weights_of_frequencies_are_told_without_a_warning(recwarn):
    mixing._weights.cache_clear()
    weights = mixing._weights(16_000)
    assert not recwarn.list and weights[0] == pytest.approx(10 ** (mixing.FAINTEST_DB / 10))
