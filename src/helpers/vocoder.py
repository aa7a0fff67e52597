"""Vocoders: waveforms from log-mels. The first one is Griffin-Lim; AudioLDM's HiFi-GAN is in `audioldm`.

Notebook: 02_codec.
"""

import os
from concurrent.futures import ThreadPoolExecutor

import librosa
import numpy as np
from scipy.sparse import csr_array

from helpers.audioldm import hifigan
from helpers.config import CodecConfig, MelConfig
from helpers.mel import mel_filter

PHASE_SEED = 0  # of the first phases, the same for every clip: a clip's sound is decided by its mel alone
INVERSION_STEPS = 30  # multiplicative updates: the result's mel is then within 0.01 neper of its target


def linear_magnitudes(mels: np.ndarray, mel_config: MelConfig, sample_rate_hz: int) -> np.ndarray:
    """STFT magnitudes float32 [n_fft // 2 + 1, T] whose mel bands come near the log-mel [T, M], none negative.

    Lee and Seung's (2001) multiplicative updates for least squares under non-negativity, from a smooth first guess.
    `librosa.feature.inverse.mel_to_stft` solves the same problem, but takes half a second a clip; a clamped
    pseudo-inverse takes as long as this, 7 ms, but stays six to a hundred times further from the mel.
    """
    bank = mel_filter(mel_config, sample_rate_hz).numpy()
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
    """int16 audio [N, S], S = T * hop_length, from log-mels [N, T, M]: the project's first vocoder.

    The fast Griffin-Lim of Perraudin, Balazs and Søndergaard (2013), momentum 0.99, by librosa. On two free cores a
    clip takes it 0.09 s for 32 iterations; a torch version of our own took half of that, not enough to leave the
    library. Clips are vocoded one by one in threads, each from the same seeded phases, so a clip does not depend on its
    batch. A clip whose peak would clip is scaled down to full scale; the level is not changed otherwise.
    Raises ValueError for another number of axes or bands, NaN or infinity, or a mel beyond any audio (above 20 nepers).
    """
    mels = np.asarray(mels, np.float32)
    if mels.ndim != 3 or mels.shape[2] != mel_config.n_mels or not mels.shape[1]:
        raise ValueError(f"mels: expected [N, T, {mel_config.n_mels}], got shape {mels.shape}")
    if not np.isfinite(mels).all() or mels.max(initial=0) > 20:
        raise ValueError("mels: expected finite log-mels of at most 20 nepers, got NaN, infinity or more")
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
        return np.round(audio * (32_767 / max(1.0, np.abs(audio).max()))).astype(np.int16)

    if not len(mels):
        return np.empty((0, samples), np.int16)
    with ThreadPoolExecutor(os.cpu_count()) as threads:
        return np.stack(list(threads.map(one, mels)))


def vocode(mels, codec_config: CodecConfig, mel_config: MelConfig, sample_rate_hz: int) -> np.ndarray:
    """int16 audio [N, S] from log-mels [N, T, M] by the vocoder that the configuration names."""
    if codec_config.vocoder == "hifigan":
        where, sha256 = codec_config.vocoder_path, codec_config.vocoder_sha256
        return hifigan(mels, where, mel_config, sample_rate_hz, sha256)
    return griffin_lim(mels, mel_config, sample_rate_hz, codec_config.griffin_lim_iterations, PHASE_SEED)
