"""The log-mel front end of AudioLDM and TANGO: what the codec compresses and what clips are compared by.

Values are natural logarithms (nepers) of Slaney mel bands of the STFT's magnitude, floored at 1e-5. They agree with
`librosa.feature.melspectrogram(power=1)` to 1e-4. librosa takes one clip at a time and writes every spectrum to memory; here a
clip stays in a core's cache from end to end, which is several times as fast.
"""

from collections.abc import Iterable
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache

import librosa
import numba
import numpy as np
import scipy.fft

from helpers.base.machine import cores
from helpers.base.settings import MelConfig
from helpers.sound.silence import is_silent

FLOOR = 1e-5  # TANGO's clamp, on the mel magnitude of a waveform in [-1, 1]
FRAMES = 128  # transformed at a time: their spectra fit a core's cache
PER_THREAD = 8  # clips handed to a thread at a time
LANES = 16  # frames weighted together: as many float32 as the widest vector register holds


@lru_cache(maxsize=8)
def mel_filter(config: MelConfig, sample_rate_hz: int) -> np.ndarray:
    """Slaney's mel filter bank (area-normalised triangles), float32 [M bands, n_fft // 2 + 1 bins], read-only.

    Raises ValueError where fmax_hz lies above half the sample rate, or a band is so narrow that it holds no bin.
    """
    if not config.fmin_hz < config.fmax_hz <= sample_rate_hz / 2:
        raise ValueError(
            f"fmax_hz: expected above fmin_hz = {config.fmin_hz} and at most half of {sample_rate_hz} Hz, "
            f"got {config.fmax_hz}"
        )
    bank = librosa.filters.mel(
        sr=sample_rate_hz, n_fft=config.n_fft, n_mels=config.n_mels, fmin=config.fmin_hz, fmax=config.fmax_hz
    )
    empty = int((bank.max(axis=1) == 0).sum())
    if empty:
        raise ValueError(f"n_mels: expected bands wide enough for n_fft = {config.n_fft}, got {empty} empty ones")
    bank.flags.writeable = False  # it is cached
    return bank


def as_clips(audio, config: MelConfig) -> np.ndarray:
    """Checks audio [N, S] or [S] (int16, or float in [-1, 1]) and gives it as [N, S], its values unchanged.

    Raises ValueError for another number of axes or kind of number, NaN or infinity, or an S that does not fill at
    least one window or is not a whole number of hops.
    """
    audio = np.asarray(audio)
    if audio.ndim not in (1, 2):
        raise ValueError(f"audio: expected [N, S] or [S], got shape {audio.shape}")
    if audio.dtype != np.int16 and not np.issubdtype(audio.dtype, np.floating):
        raise ValueError(f"audio: expected int16 or floating point, got {audio.dtype}")
    samples = audio.shape[-1]
    if samples < config.n_fft or samples % config.hop_length:
        raise ValueError(
            f"audio: expected at least n_fft = {config.n_fft} samples and a multiple of hop_length = "
            f"{config.hop_length}, got {samples}"
        )
    if audio.dtype != np.int16 and not np.isfinite(audio).all():
        raise ValueError("audio: expected finite samples, got NaN or infinity")
    return np.atleast_2d(audio)


def as_float(audio: np.ndarray) -> np.ndarray:
    """float32 in [-1, 1] of int16 audio (divided by 32,768) or of floating-point audio (as it is), same shape."""
    if audio.dtype == np.int16:
        return audio.astype(np.float32) / 32_768
    return audio.astype(np.float32, copy=False)


def mel_bands(audio, config: MelConfig, sample_rate_hz: int, n_frames: int, power: int = 1) -> np.ndarray:
    """Mel bands of the first `n_frames` STFT magnitudes (power 1) or powers (power 2), float32 [N, n_frames, M].

    `audio` [N, S] or [S] is int16, or float in [-1, 1]. Hann window, centred frames, ends reflected: there
    are S // hop_length + 1. Raises ValueError for what `as_clips` or `mel_filter` refuse.
    """
    clips = as_clips(audio, config)
    bank = mel_filter(config, sample_rate_hz)
    first, last = (bank > 0).argmax(axis=1), bank.shape[1] - (bank[:, ::-1] > 0).argmax(axis=1)
    # float64, as librosa: float32 transforms err by up to 1e-3 nepers in bands that are nearly silent
    window = 0.5 - 0.5 * np.cos(2 * np.pi * np.arange(config.n_fft) / config.n_fft)
    bands = np.empty((len(clips), n_frames, config.n_mels), np.float32)

    def fill(first_clip: int) -> None:
        frames = np.empty((min(FRAMES, n_frames), config.n_fft), np.float64)
        for index in range(first_clip, min(first_clip + PER_THREAD, len(clips))):
            padded = np.pad(as_float(clips[index]), config.n_fft // 2, mode="reflect")
            for start in range(0, n_frames, FRAMES):
                into = bands[index, start : start + FRAMES]
                part = frames[: len(into)]
                _cut(padded[start * config.hop_length :], window, config.hop_length, part)
                _weigh(scipy.fft.rfft(part), bank, first, last, power, into)

    with ThreadPoolExecutor(cores()) as threads:  # both loops and the transform release Python's lock
        list(threads.map(fill, range(0, len(clips), PER_THREAD)))
    return bands


@numba.njit(nogil=True, fastmath=True, cache=True)
def _cut(padded, window, hop, frames):
    """frames [T, n_fft] = windowed frames of a padded clip [S]."""
    for t in range(frames.shape[0]):
        for i in range(window.shape[0]):
            frames[t, i] = padded[t * hop + i] * window[i]


@numba.njit(nogil=True, fastmath=True, cache=True)
def _weigh(spectra, bank, first, last, power, bands):
    """bands [T, M] = bank [M, F] times sizes of spectra [T, F]; a band's weights lie from its first to before its last bin."""
    frames, bins = spectra.shape
    row, sizes, totals = np.empty(bins, np.float32), np.empty((bins, LANES), np.float32), np.empty(LANES, np.float32)
    for start in range(0, frames, LANES):
        lanes = min(LANES, frames - start)
        for lane in range(lanes):
            for f in range(bins):
                value = spectra[start + lane, f]
                real, imaginary = np.float32(value.real), np.float32(value.imag)
                row[f] = real * real + imaginary * imaginary
                if power == 1:
                    row[f] = np.sqrt(row[f])
            for f in range(bins):
                sizes[f, lane] = row[f]
        for m in range(bank.shape[0]):
            totals[:] = 0
            for f in range(first[m], last[m]):
                for lane in range(LANES):
                    totals[lane] += bank[m, f] * sizes[f, lane]
            for lane in range(lanes):
                bands[start + lane, m] = totals[lane]


def log_mel(audio, config: MelConfig, sample_rate_hz: int) -> np.ndarray:
    """Log-mel spectrograms, float32 [N, T, M] in nepers, of audio [N, S] or [S] (then N = 1).

    T = S // hop_length frames: a centred STFT gives one more, and TANGO drops the last. Source: `TacotronSTFT` in
    AudioLDM and TANGO (natural logarithm of magnitude mel bands clamped at 1e-5). Raises ValueError for what `mel_bands`
    refuses.
    """
    mels = mel_bands(audio, config, sample_rate_hz, np.shape(audio)[-1] // config.hop_length)
    return np.log(np.maximum(mels, FLOOR, out=mels), out=mels)


def mean_of_bands(parts: Iterable[np.ndarray]) -> np.ndarray:
    """Mean log-mel in each band, float32 [M], of log-mels that come in parts [n, T, M]."""
    total: float | np.ndarray = 0.0
    count = 0
    for mels in parts:
        total, count = total + mels.mean(axis=1, dtype=np.float64).sum(axis=0), count + len(mels)
    return np.asarray(total / count, np.float32)


def check_mels(mels, config: MelConfig) -> np.ndarray:
    """Log-mels [N, T, M] as float32.

    Raises ValueError for another number of axes or bands, NaN or infinity, or a mel beyond any audio (above 20 nepers).
    """
    mels = np.asarray(mels, np.float32)
    if mels.ndim != 3 or mels.shape[2] != config.n_mels or not mels.shape[1]:
        raise ValueError(f"mels: expected [N, T, {config.n_mels}], got shape {mels.shape}")
    if not np.isfinite(mels).all() or mels.max(initial=0) > 20:
        raise ValueError("mels: expected finite log-mels of at most 20 nepers, got NaN, infinity or more")
    return mels


def level(audio: np.ndarray) -> np.ndarray:
    """Clips int16 [N, S] as float32 with mean removed and peak at 0.5, as corpus clips are; a silent clip stays zero."""
    audio = audio.astype(np.float32) / 32768
    audio -= audio.mean(axis=1, keepdims=True)
    return audio * (0.5 / np.maximum(np.abs(audio).max(axis=1, keepdims=True), 1e-4))


def normalise_waveform(audio) -> np.ndarray:
    """Audio [..., S] with each clip's mean removed and its peak at 0.5, as TANGO prepares its clips; float32.

    Raises ValueError for NaN, infinity, or a silent clip (one constant value), which has no peak to scale.
    """
    audio = np.asarray(audio, np.float64)
    if not np.isfinite(audio).all():
        raise ValueError("audio: expected finite samples, got NaN or infinity")
    if is_silent(audio).any():
        raise ValueError("audio: expected sound in every clip, got a silent one")
    centred = audio - audio.mean(axis=-1, keepdims=True)
    return (centred / np.abs(centred).max(axis=-1, keepdims=True) * 0.5).astype(np.float32)
