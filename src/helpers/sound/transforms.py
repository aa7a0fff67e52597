"""Alterations that a copied clip may have undergone, in one registry: `TRANSFORMS`.

Each works on float samples and is a plain function of (samples, strength, rng, sample rate); `apply_transform` wraps it
with what all share: int16 in and out, the same length, no clipping, checked strength. Coding is libsndfile's (Ogg Vorbis
and MP3), resampling soxr's, pitch shifting librosa's.
"""

import io
from collections.abc import Callable
from dataclasses import dataclass

import librosa
import numpy as np
import soundfile
import soxr
from scipy import signal

from helpers.base.shielded import shielded
from helpers.sound.silence import is_silent

LOW_HZ = 16_000  # a rate at which MP3 has few kbit/s
FULL_SCALE = 32768  # of int16; the positive peak allowed is 32767


@dataclass(frozen=True)
class Transform:
    """One alteration: its function, strengths to try from weak to strong, their unit and permitted range."""

    function: Callable[..., np.ndarray]
    strengths: tuple[float, ...]
    unit: str
    low: float
    high: float
    description: str
    needs_other: bool = False


def _sign(rng: np.random.Generator) -> int:
    return int(rng.choice((-1, 1)))


def _power(x: np.ndarray) -> float:
    return float(np.mean(np.square(x, dtype=np.float64)))


def _add_at_snr(x: np.ndarray, noise: np.ndarray, snr_db: float) -> np.ndarray:
    return x + noise * np.sqrt(_power(x) / _power(noise) / 10 ** (snr_db / 10))


def _gain(x, gain_db, rng, sample_rate_hz):
    return x * 10 ** (gain_db / 20)


def _shift(x, shift_s, rng, sample_rate_hz):
    samples = round(shift_s * sample_rate_hz)
    if not 0 < samples <= len(x) // 2:
        half = len(x) / 2 / sample_rate_hz
        raise ValueError(f"shift: expected at least one sample and at most half the clip = {half:g} s, got {shift_s} s")
    silence = np.zeros(samples, dtype=x.dtype)
    kept = {1: x[:-samples], -1: x[samples:]}  # later, earlier
    direction = _sign(rng)
    if _power(kept[direction]) * len(kept[direction]) < 0.1 * _power(x) * len(x):
        direction = -direction  # the only event would fall out of the clip
    return np.concatenate([silence, kept[1]] if direction == 1 else [kept[-1], silence])


def _second_order(kind: str, centre_hz: float, gain_db: float, sample_rate_hz: int) -> np.ndarray:
    """One section [6] after R. Bristow-Johnson's Audio EQ Cookbook, Q = 0.71: "low_shelf", "peak" or "high_shelf"."""
    a, w = 10 ** (gain_db / 40), 2 * np.pi * centre_hz / sample_rate_hz
    cos, alpha = np.cos(w), np.sin(w) / np.sqrt(2)
    if kind == "peak":
        b = [1 + alpha * a, -2 * cos, 1 - alpha * a]
        d = [1 + alpha / a, -2 * cos, 1 - alpha / a]
    else:
        p, m, root = a + 1, (a - 1 if kind == "low_shelf" else 1 - a), 2 * np.sqrt(a) * alpha
        b = [a * (p - m * cos + root), 2 * a * (m - p * cos), a * (p - m * cos - root)]
        d = [p + m * cos + root, -2 * (m + p * cos), p + m * cos - root]
    return np.array(b + d) / d[0]


def _eq(x, gain_db, rng, sample_rate_hz):
    g = gain_db * _sign(rng)
    bands = (("low_shelf", 300.0, g), ("peak", 1200.0, -g), ("high_shelf", 0.2 * sample_rate_hz, g))
    return signal.sosfilt(np.array([_second_order(*band, sample_rate_hz) for band in bands]), x)


def _noise(x, snr_db, rng, sample_rate_hz):
    return _add_at_snr(x, rng.standard_normal(len(x)), snr_db)


def _pink_noise(x, snr_db, rng, sample_rate_hz):
    spectrum = np.fft.rfft(rng.standard_normal(len(x)))
    spectrum[0] = 0
    spectrum[1:] /= np.sqrt(np.arange(1, len(spectrum)))  # power falls as 1/f
    return _add_at_snr(x, np.fft.irfft(spectrum, len(x)), snr_db)


def _code(x: np.ndarray, sample_rate_hz: int, **how) -> np.ndarray:
    """Through an encoder and back, in memory."""
    name = how["format"]
    if name not in soundfile.available_formats():
        raise RuntimeError(
            f"{name}: libsndfile {soundfile.__libsndfile_version__} was built without it; MP3 needs 1.1 or newer, as in"
            " soundfile's own wheels (pip install --force-reinstall soundfile)"
        )

    def there_and_back() -> np.ndarray:
        coded = io.BytesIO()
        soundfile.write(coded, np.clip(x, -1, 1), sample_rate_hz, **how)
        coded.seek(0)
        return soundfile.read(coded, dtype="float32")[0]

    return shielded(there_and_back)


def _ogg(x, level, rng, sample_rate_hz):
    return _code(x, sample_rate_hz, format="OGG", subtype="VORBIS", compression_level=level)


def _mp3(x, kbps, rng, sample_rate_hz):
    if sample_rate_hz >= 32_000 and kbps <= 32:  # encoders bring a sound to a lower rate before they spend so little
        low = soxr.resample(x, sample_rate_hz, LOW_HZ)
        return librosa.util.fix_length(soxr.resample(_mp3(low, kbps, rng, LOW_HZ), LOW_HZ, sample_rate_hz), size=len(x))
    # libsndfile maps its level 0..1 linearly onto the bit rates of the MPEG version that the sample rate implies.
    low, high = (32, 320) if sample_rate_hz >= 32_000 else (8, 160) if sample_rate_hz >= 16_000 else (8, 64)
    if not low < kbps <= high:
        raise ValueError(f"mp3: expected above {low} and at most {high} kbit/s at {sample_rate_hz} Hz, got {kbps}")
    level = (high - kbps) / (high - low)
    # An average bit rate: constant ones below 48 kbit/s leave no room for the tag that tells a decoder the encoder's
    # delay, and the clip would come back 1,105 samples late.
    how = {"subtype": "MPEG_LAYER_III", "bitrate_mode": "AVERAGE", "compression_level": level}
    return _code(x, sample_rate_hz, format="MP3", **how)


def _pitch(x, semitones, rng, sample_rate_hz):
    return librosa.effects.pitch_shift(x, sr=sample_rate_hz, n_steps=semitones * _sign(rng), n_fft=1024)


def _speed(x, percent, rng, sample_rate_hz):
    return soxr.resample(x, sample_rate_hz * (1 + _sign(rng) * percent / 100), sample_rate_hz)


def _reverb(x, rt60_s, rng, sample_rate_hz):
    t = np.arange(min(len(x), 2 + round(1.2 * rt60_s * sample_rate_hz))) / sample_rate_hz
    tail = rng.standard_normal(len(t)) * 10 ** (-3 * t / rt60_s)  # 60 dB down at RT60
    response = tail / np.linalg.norm(tail[1:])
    response[0] = 1  # the direct sound, as strong as all that follows
    response /= np.sqrt(2)  # about the level of the clip
    return signal.oaconvolve(x, response)[: len(x)]


def _crop(x, fraction, rng, sample_rate_hz):
    length = max(1, round((1 - fraction) * len(x)))
    energy = np.concatenate([[0], np.cumsum(np.square(x, dtype=np.float64))])
    kept = energy[length:] - energy[:-length]
    # Excerpts with at least a tenth of the energy, so that a clip with one event is not cropped to silence.
    start = int(rng.choice(np.flatnonzero(kept >= min(0.1 * energy[-1], kept.max()))))
    y = np.zeros_like(x)
    y[start : start + length] = x[start : start + length]
    return y


def _mix(x, snr_db, rng, sample_rate_hz, other):
    return _add_at_snr(x, other, snr_db)


TRANSFORMS = {
    "gain": Transform(_gain, (-6, -12, -24), "dB", -60, 24, "level changed"),
    "shift": Transform(
        _shift, (0.05, 0.25, 1.0), "s", 0.001, 60, "moved earlier or later, the gap filled with silence"
    ),
    "eq": Transform(_eq, (3, 6, 12), "dB", 0.1, 24, "low shelf, middle peak (opposite sign) and high shelf"),
    "noise": Transform(_noise, (30, 20, 10), "dB SNR", -20, 60, "white noise added"),
    "pink_noise": Transform(_pink_noise, (30, 20, 10), "dB SNR", -20, 60, "pink (1/f) noise added"),
    "ogg": Transform(_ogg, (0.4, 0.7, 1.0), "compression level", 0, 1, "coded as Ogg Vorbis and decoded"),
    "mp3": Transform(_mp3, (64, 32, 16), "kbit/s", 9, 320, "coded as MP3 at an average bit rate and decoded"),
    "pitch": Transform(_pitch, (0.25, 1, 3), "semitones", 0.01, 12, "pitch raised or lowered, duration kept"),
    "speed": Transform(_speed, (1, 4, 10), "%", 0.01, 50, "played faster or slower, then padded with silence or cut"),
    "reverb": Transform(
        _reverb, (0.2, 0.5, 1.5), "s RT60", 0.02, 10, "decaying noise tail, as strong as the direct sound"
    ),
    "crop": Transform(
        _crop, (0.1, 0.3, 0.6), "share silenced", 0.001, 0.99, "an excerpt kept in place, silence around it"
    ),
    "mix": Transform(_mix, (12, 6, 0), "dB SNR", -20, 60, "a second clip laid over it", needs_other=True),
}


def _as_samples(audio: np.ndarray, name: str) -> np.ndarray:
    if audio.dtype != np.int16 or audio.ndim != 1:
        raise TypeError(f"{name}: expected int16 of shape [samples], got {audio.dtype} of shape {audio.shape}")
    if is_silent(audio):
        raise ValueError(f"{name}: expected a clip that is not silent, got {len(audio)} samples of {audio[0]}")
    return audio.astype(np.float32) / FULL_SCALE


def apply_transform(
    name: str,
    audio: np.ndarray,
    strength: float,
    rng: np.random.Generator,
    other: np.ndarray | None = None,
    sample_rate_hz: int = 16_000,
) -> np.ndarray:
    """The clip after one alteration: int16 [S] in, int16 [S] out; the same rng state gives the same result.

    `strength` is in the unit of `TRANSFORMS[name]`; directions (earlier or later, up or down) and noise are the rng's.
    What comes back longer is cut and what comes back shorter is padded with silence at its end; a peak above full scale
    is met by turning the whole clip down, so nothing clips. `mix` needs `other`, a second clip of the same length, which
    the rest ignore.
    Raises ValueError for an unknown name, a strength out of range, or silence; TypeError for another dtype or shape.
    """
    if name not in TRANSFORMS:
        raise ValueError(f"transform: expected one of {', '.join(TRANSFORMS)}, got {name!r}")
    transform = TRANSFORMS[name]
    if not transform.low <= strength <= transform.high:
        raise ValueError(f"{name}: expected {transform.low} to {transform.high} {transform.unit}, got {strength}")
    arguments = [_as_samples(audio, "audio"), float(strength), rng, sample_rate_hz]
    if transform.needs_other:
        if other is None or other.shape != audio.shape:
            got = None if other is None else other.shape
            raise ValueError(f"{name}: expected a second clip `other` of shape {audio.shape}, got {got}")
        arguments.append(_as_samples(other, "other"))
    altered = np.asarray(transform.function(*arguments), dtype=np.float64)
    altered = np.pad(altered[: len(audio)], (0, max(0, len(audio) - len(altered))))
    peak = np.abs(altered).max()
    limit = (FULL_SCALE - 1) / FULL_SCALE
    return np.rint(altered * (FULL_SCALE * min(1.0, limit / max(peak, limit)))).astype(np.int16)
