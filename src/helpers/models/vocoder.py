"""Vocoders: waveforms from log-mels. The network in `vocos`, AudioLDM's HiFi-GAN, or Griffin and Lim's (1984) search.

Notebook: 02_codec.
"""

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import librosa
import numpy as np
from scipy.sparse import csr_array

from helpers.base.machine import cores
from helpers.base.settings import CodecConfig, MelConfig
from helpers.models.pretrained.audioldm import hifigan
from helpers.models.vocos import load_vocos, synthesise
from helpers.sound.mel import check_mels, mel_filter

PHASE_SEED = 0  # of the first phases, the same for every clip: a clip's sound is decided by its mel alone
INVERSION_STEPS = 30  # multiplicative updates: the result's mel is then within 0.01 neper of its target


def to_int16(audio: np.ndarray) -> np.ndarray:
    """Float audio [..., S] as int16; a clip that would clip is scaled down to full scale, others keep their level."""
    peak = np.abs(audio).max(axis=-1, keepdims=True, initial=0)
    return np.round(audio * (32_767 / np.maximum(1.0, peak))).astype(np.int16)


def linear_magnitudes(mels: np.ndarray, mel_config: MelConfig, sample_rate_hz: int) -> np.ndarray:
    """STFT magnitudes float32 [n_fft // 2 + 1, T] whose mel bands come near the log-mel [T, M], none negative.

    Lee and Seung's (2001) multiplicative updates for least squares under non-negativity, from a smooth first guess.
    `librosa.feature.inverse.mel_to_stft` solves the same problem, but takes half a second a clip; a clamped
    pseudo-inverse takes as long as this, 7 ms, but stays six to a hundred times further from the mel.
    """
    bank = mel_filter(mel_config, sample_rate_hz)
    target = np.ascontiguousarray(np.exp(np.asarray(mels, np.float32)).T)  # [M, T]
    shares = bank / np.maximum(bank.sum(axis=0), np.finfo(np.float32).tiny)
    magnitude = shares.T @ (target / bank.sum(axis=1, keepdims=True))
    # A bin lies in two bands at most: sparse products take a tenth of the time, and start no threads of their own
    bands, bins = csr_array(bank), csr_array(bank.T)
    numerator = bins @ target
    for _ in range(INVERSION_STEPS):
        magnitude *= numerator / np.maximum(bins @ (bands @ magnitude), 1e-12)
    return magnitude


def griffin_lim(mels, mel_config: MelConfig, sample_rate_hz: int, iterations: int, seed: int) -> np.ndarray:
    """int16 audio [N, S], S = T * hop_length, from log-mels [N, T, M]: the vocoder that needs no training.

    The fast Griffin-Lim of Perraudin, Balazs and Søndergaard (2013), momentum 0.99, by librosa. On two free cores a
    clip takes it about 0.1 s for 32 iterations; a torch version of our own took half of that, not enough to leave the
    library. Clips are vocoded one by one in threads, each from the same seeded phases, so a clip does not depend on its
    batch. Raises ValueError as `check_mels` does.
    """
    mels = check_mels(mels, mel_config)
    samples = mels.shape[1] * mel_config.hop_length

    def one(mel: np.ndarray) -> np.ndarray:
        magnitude = linear_magnitudes(mel, mel_config, sample_rate_hz)
        audio = librosa.griffinlim(
            np.pad(magnitude, ((0, 0), (0, 1)), mode="edge"),  # the frame that `log_mel` drops
            n_iter=iterations,
            hop_length=mel_config.hop_length,
            n_fft=mel_config.n_fft,
            length=samples,
            pad_mode="reflect",
            random_state=seed,
        )
        return to_int16(audio)

    if not len(mels):
        return np.empty((0, samples), np.int16)
    with ThreadPoolExecutor(cores()) as threads:
        return np.stack(list(threads.map(one, mels)))


def load_vocoder(codec: CodecConfig, mel: MelConfig, sample_rate_hz: int) -> Callable[[np.ndarray], np.ndarray]:
    """The vocoder that the configuration names: a function from log-mels [N, T, M] to int16 audio [N, T * hop_length].

    Raises FileNotFoundError or ValueError for a missing or altered model, or one of another mel or rate; the function
    raises ValueError as `check_mels` does.
    """
    if codec.vocoder == "griffin_lim":
        return lambda mels: griffin_lim(mels, mel, sample_rate_hz, codec.griffin_lim_iterations, PHASE_SEED)
    if codec.vocoder == "hifigan":
        return lambda mels: hifigan(mels, codec.vocoder_path, mel, sample_rate_hz, codec.vocoder_sha256)
    model = load_vocos(codec.vocoder_path)
    if (model.mel, model.sample_rate_hz) != (mel, sample_rate_hz):
        raise ValueError(
            f"{codec.vocoder_path}: expected a vocoder of {mel} at {sample_rate_hz} Hz, "
            f"got one of {model.mel} at {model.sample_rate_hz} Hz"
        )
    return lambda mels: to_int16(synthesise(model, check_mels(mels, mel)))
