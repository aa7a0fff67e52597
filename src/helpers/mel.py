"""The log-mel front end of AudioLDM and TANGO, in torch: what the codec compresses and what clips are compared by.

Values are natural logarithms (nepers) of Slaney mel bands of the STFT's magnitude, floored at 1e-5. They agree with
`librosa.stft` and `librosa.feature.melspectrogram(power=1)` to 1e-4; torch is used because it transforms a batch of
clips several times faster.
"""

from functools import lru_cache

import librosa
import numpy as np
import torch

from helpers.config import MelConfig

FLOOR = 1e-5  # TANGO's clamp, on the mel magnitude of a waveform in [-1, 1]
CHUNK = 32  # clips transformed at a time: bounds memory, does not change a value


@lru_cache(maxsize=8)
def mel_filter(config: MelConfig, sample_rate_hz: int) -> torch.Tensor:
    """Slaney's mel filter bank (area-normalised triangles), float32 [M bands, n_fft // 2 + 1 bins].

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
    return torch.from_numpy(bank)


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


def magnitudes(clips: torch.Tensor, config: MelConfig) -> torch.Tensor:
    """STFT magnitudes [N, n_fft // 2 + 1, S // hop + 1] of float32 clips [N, S]: Hann window, centred, reflected."""
    window = torch.hann_window(config.n_fft, dtype=clips.dtype)
    spectrum = torch.stft(
        clips, config.n_fft, config.hop_length, window=window, center=True, pad_mode="reflect", return_complex=True
    )
    return spectrum.abs()


@torch.inference_mode()
def log_mel(audio, config: MelConfig, sample_rate_hz: int) -> np.ndarray:
    """Log-mel spectrograms, float32 [N, T, M] in nepers, of audio [N, S] or [S] (then N = 1).

    The audio is int16, or float in [-1, 1]. T = S // hop_length frames: a centred STFT gives one more, and TANGO drops
    the last. Source: `TacotronSTFT` in AudioLDM and TANGO (natural logarithm of magnitude mel bands clamped at 1e-5).
    Raises ValueError for what `as_clips` or `mel_filter` refuse.
    """
    clips = as_clips(audio, config)
    bank = mel_filter(config, sample_rate_hz)
    frames = clips.shape[-1] // config.hop_length
    mels = np.empty((len(clips), frames, config.n_mels), np.float32)
    for start in range(0, len(clips), CHUNK):
        part = torch.tensor(as_float(clips[start : start + CHUNK]))
        bands = bank @ magnitudes(part, config)[..., :frames]
        mels[start : start + CHUNK] = bands.clamp_(min=FLOOR).log_().transpose(1, 2).numpy()
    return mels


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


def normalise_waveform(audio) -> np.ndarray:
    """Audio [..., S] with each clip's mean removed and its peak at 0.5, as TANGO prepares its clips; float32.

    Raises ValueError for NaN, infinity, or a silent clip (one constant value), which has no peak to scale.
    """
    audio = np.asarray(audio, np.float64)
    if not np.isfinite(audio).all():
        raise ValueError("audio: expected finite samples, got NaN or infinity")
    centred = audio - audio.mean(axis=-1, keepdims=True)
    peak = np.abs(centred).max(axis=-1, keepdims=True)
    # Rounding leaves a constant clip about 1e-16 of its own value: that is silence too.
    if (peak <= 1e-9 * np.maximum(1.0, np.abs(audio).max(axis=-1, keepdims=True))).any():
        raise ValueError("audio: expected sound in every clip, got a silent one")
    return (centred / peak * 0.5).astype(np.float32)
