"""What counts as silence. A silent clip has no embedding, no loudness to match and no waveform to compare.

For audio as it is read, silence is one constant value. Sounds that a program has made need a threshold instead: a vocoder
hardly ever writes exact zeros, and neither does Vorbis. Both thresholds lie at -60 dB of full scale.
"""

import numpy as np

ROUNDING = 1e-9  # of a clip's greatest value: resampling and centring leave a constant clip about 1e-16 of it
GENERATED_PEAK = 33  # of 32,768, for the peak of a generated clip: below it the decoder has drawn nothing
RECORDING_RMS = 1e-3  # of 1, for a recording of the sound pack: its build amplifies quiet ones, so none is this faint


def is_silent(clips: np.ndarray) -> np.ndarray:
    """bool [...] of clips [..., S], int16 or float: whether a clip is one constant value, up to rounding."""
    greatest, least = clips.max(axis=-1).astype(np.float64), clips.min(axis=-1).astype(np.float64)
    return greatest - least <= ROUNDING * np.maximum(1.0, np.maximum(np.abs(greatest), np.abs(least)))


def shared_silence(first: np.ndarray, second: np.ndarray, frame: int = 1024) -> float:
    """Share of frames in which clips int16 [S] and [S] are both fainter than RECORDING_RMS. Raises ValueError for other shapes."""
    if first.shape != second.shape:
        raise ValueError(f"second: expected shape {first.shape} as first, got {second.shape}")
    both = np.stack([first, second])[:, : len(first) // frame * frame].reshape(2, -1, frame) / 32768
    return float((np.sqrt((both**2).mean(axis=2)) < RECORDING_RMS).all(axis=0).mean())


def refuse_silence(clips: np.ndarray) -> None:
    """Raises ValueError naming the first of clips [N, S] that is silent (one constant value): it has no embedding."""
    silent = np.flatnonzero(is_silent(clips))
    if len(silent):
        raise ValueError(f"audio: expected sound in every clip, got silence in clip {silent[0]} ({len(silent)} in all)")
