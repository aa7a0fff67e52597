"""Copies that an audit plants itself, in the user's own clips: its positive control.

What an audit could find is known only from copies that are known. So some training clips are altered as copies are, mostly by
`sound.transforms`, and searched like the generated ones: on half of them the weights are chosen, on the other half power is
told, for each kind of alteration.
"""

from collections.abc import Callable

import numpy as np
from scipy import signal

from helpers.base.seeds import seeded
from helpers.sound.transforms import apply_transform

EXCERPT_S = 2.0

Alteration = Callable[[np.ndarray, np.ndarray, np.random.Generator, int], np.ndarray]  # clip, other, rng, rate


def _by(name: str, strength: float) -> Alteration:
    return lambda clip, other, rng, rate: apply_transform(name, clip, strength, rng, other, rate)


def _later(seconds: float) -> Alteration:
    def move(clip, other, rng, rate):
        samples = min(round(seconds * rate), len(clip) // 2)
        return np.concatenate([np.zeros(samples, np.int16), clip[: len(clip) - samples]])

    return move


def _last_half(clip, other, rng, rate):
    return clip[len(clip) // 2 :]


def _excerpt(clip, other, rng, rate):
    """EXCERPT_S of the clip, or half of a shorter one, in the place of as much of the other, at the other's level."""
    length = min(round(EXCERPT_S * rate), len(clip) // 2)
    energy = np.concatenate([[0], np.cumsum(np.square(clip, dtype=np.float64))])
    kept = energy[length:] - energy[:-length]
    start = int(rng.choice(np.flatnonzero(kept >= kept.max() / 10)))
    into, host = int(rng.integers(len(other) - length + 1)), other.astype(np.float64)
    part = clip[start : start + length].astype(np.float64)
    host[into : into + length] = part * np.sqrt(np.mean(host**2) / max(np.mean(part**2), 1))
    return np.round(host * min(1.0, 32767 / np.abs(host).max())).astype(np.int16)


def _low_pass(clip, other, rng, rate):
    edge = signal.butter(8, min(4_000, 0.4 * rate), fs=rate, output="sos")
    return np.clip(np.round(signal.sosfilt(edge, clip)), -32768, 32767).astype(np.int16)


ALTERATIONS: dict[str, Alteration] = {
    "exact": lambda clip, other, rng, rate: clip,
    "gain -12 dB": _by("gain", -12),
    "shift 0.2 s": _later(0.2),
    "shift 1.5 s": _later(1.5),
    "last half": _last_half,
    "2 s excerpt": _excerpt,
    "60 % silenced": _by("crop", 0.6),
    "noise 20 dB": _by("noise", 20),
    "noise 10 dB": _by("noise", 10),
    "pink noise 10 dB": _by("pink_noise", 10),
    "low-pass 4 kHz": _low_pass,
    "EQ 12 dB": _by("eq", 12),
    "MP3 32 kbit/s": _by("mp3", 32),
    "Ogg, worst": _by("ogg", 1.0),
    "mixed at 6 dB": _by("mix", 6),
    "mixed at 0 dB": _by("mix", 0),
    "speed 3 %": _by("speed", 3),
    "pitch 1 semitone": _by("pitch", 1),
    "reverb 0.5 s": _by("reverb", 0.5),
}


def plant(kind: str, clip: np.ndarray, other: np.ndarray, sample_rate_hz: int, *key: int | str) -> np.ndarray:
    """A copy of a clip, int16 [n], altered in one of the ALTERATIONS, which follows from the key alone; int16.

    `other`, of any length, is what copies are mixed with or put into. Raises ValueError for an unknown kind, or a clip that
    is silent.
    """
    if kind not in ALTERATIONS:
        raise ValueError(f"kind: expected one of {', '.join(ALTERATIONS)}, got {kind!r}")
    loudest = int(np.abs(other.astype(np.int32)).argmax())  # from there on, so that it is not silent
    other = np.resize(np.roll(other, -loudest), len(clip))
    return ALTERATIONS[kind](clip, other, seeded("planted", kind, *key), sample_rate_hz)
