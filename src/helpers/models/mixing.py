"""TANGO's mixtures of training clips (Ghosal et al., 2023): two clips as loud as each other, under "A and b".

After Tokozume et al. (2018), *Learning from between-class examples for deep sound recognition*. Chapter:
`notebooks/03_training.ipynb`.
"""

from functools import cache

import librosa
import numpy as np

from helpers.base.settings import MelConfig, TextConfig
from helpers.models.codec import Codec
from helpers.models.text import encode_captions
from helpers.sound.mel import log_mel

WINDOW = 2048  # samples, at 16 kHz
FAINTEST_DB = -80.0


@cache
def _weights(rate_hz: int) -> np.ndarray:
    with np.errstate(divide="ignore"):  # librosa takes the logarithm of 0 Hz, then raises it to min_db
        return 10 ** (librosa.A_weighting(librosa.fft_frequencies(sr=rate_hz, n_fft=WINDOW), min_db=FAINTEST_DB) / 10)


def loudest_db(audio: np.ndarray, rate_hz: int) -> float:
    """The A-weighted power of the loudest window of audio [S], in dB, at least FAINTEST_DB."""
    frames = librosa.util.frame(audio, frame_length=WINDOW, hop_length=WINDOW // 2)  # [WINDOW, frames]
    window = librosa.filters.get_window("hann", WINDOW)[:, None]
    power = np.abs(np.fft.rfft(frames * window, axis=0)) ** 2
    return float(max(10 * np.log10((power * _weights(rate_hz)[:, None]).sum(axis=0).max() + 1e-30), FAINTEST_DB))


def mix(first: np.ndarray, second: np.ndarray, rate_hz: int) -> np.ndarray:
    """Two clips [S] as one, neither louder than the other, its peak at 0.5; float64."""
    p = 1 / (1 + 10 ** ((loudest_db(first, rate_hz) - loudest_db(second, rate_hz)) / 20))
    mixed = (p * first + (1 - p) * second) / np.hypot(p, 1 - p)
    peak = np.abs(mixed).max()
    return 0.5 * mixed / peak if peak else mixed  # a clip and its inverse leave nothing


def mixed_caption(first: str, second: str) -> str:
    """ "A dog barks and rain falls" of "A dog barks" and "Rain falls"."""
    return f"{first} and {second[:1].lower()}{second[1:]}"


class Mixer:
    """Mixtures of a run's clips, as `trainer.Data.mix` gives them: audio int16 [N, S] and captions, through frozen parts."""

    def __init__(self, audio, captions: list[str], codec: Codec, mel: MelConfig, text: TextConfig, rate_hz: int):
        self.audio, self.captions, self.codec = audio, captions, codec
        self.mel, self.text, self.rate_hz = mel, text, rate_hz
        self.warn = True  # of captions that are cut: once, not in each update

    def __call__(self, first: np.ndarray, second: np.ndarray) -> tuple[np.ndarray, ...]:
        """Of each two clips by their rows [M]: latents and deviations [M, C, h, w], states [M, L, D] and mask [M, L]."""
        pairs = [(np.asarray(self.audio[[i, j]], np.float64) / 32767) for i, j in zip(first, second)]
        clips = np.stack([mix(*pair, self.rate_hz) for pair in pairs])
        posterior = self.codec.posterior(log_mel(np.round(clips * 32767).astype(np.int16), self.mel, self.rate_hz))
        captions = [mixed_caption(self.captions[i], self.captions[j]) for i, j in zip(first, second)]
        states, mask = encode_captions(captions, self.text, warn=self.warn)
        self.warn = False
        return posterior[:, 0], posterior[:, 1], states, mask
