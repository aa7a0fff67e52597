"""In what two folders of sounds differ other than by content, and how one is made like the other.

A clip that is shorter, padded, noisier or duller than honest ones are scores differently for that alone: no rate of false
alarms holds for it. So each clip is measured, the folders are compared, and `make_alike` cuts, pads and filters clips to
what others are.

Used by `audit`.
"""

from typing import NamedTuple

import librosa
import numpy as np
import pandas as pd
import scipy.fft
from scipy import signal, stats

from helpers.base.seeds import seeded

FRAME_S = 0.01
SILENT_DB = -60.0  # of a clip's loudest frame: softer ones at its ends are silence
DEEP_DB = -50.0  # of a clip's strongest frequency: what lies above the last one that is stronger is out of its band
FLOOR_SHARE = 0.1  # of the frames between the silences are at most as loud as the noise floor
# Level is told but not compared: every clip is brought to one level before it is searched.
COMPARED = {"seconds": "s", "lead_s": "s", "trail_s": "s", "bandwidth_hz": "Hz", "floor_db": "dB"}
MEASURES = (*COMPARED, "level_db")
IN_WORDS = {"seconds": "length", "lead_s": "silence before", "trail_s": "silence after", "bandwidth_hz": "bandwidth",
            "floor_db": "noise floor", "level_db": "level"}  # fmt: skip
# distance of two distributions (Kolmogorov-Smirnov) from which on they differ, and the p-value below which that is no chance
LARGE, SURE = 0.35, 0.01


def in_figures(value: float) -> str:
    """Three figures, or all that a number of a hundred or more has before its point: "0.045", "7,258"."""
    return f"{value:,.0f}" if abs(value) >= 100 else f"{value:.3g}"


class Difference(NamedTuple):
    """A measure in which two folders differ: its unit, both medians, the Kolmogorov-Smirnov distance, 0 to 1, and how many of
    the `n` generated clips lie outside the range of the honest ones."""

    measure: str
    unit: str
    generated: float
    honest: float
    distance: float
    outside: int
    n: int

    def __str__(self) -> str:
        medians = f"median {in_figures(self.generated)} {self.unit} of generated, {in_figures(self.honest)} of honest"
        return f"{IN_WORDS[self.measure]} ({medians}; {self.outside} of {self.n} generated outside the range of honest)"


def measure(clip: np.ndarray, sample_rate_hz: int, level_db: float = np.nan) -> dict[str, float]:
    """The MEASURES of one clip int16 [n] that is not silent: length, silence before and after, the highest frequency that
    it has, its noise floor (dB of its loudest frame), and the level that its file had."""
    size = max(1, round(FRAME_S * sample_rate_hz))
    framed = librosa.util.fix_length(clip.astype(np.float32), size=-(-len(clip) // size) * size).reshape(-1, size)
    loudness = 10 * np.log10(np.square(framed).mean(axis=1) + 1e-9)
    loudness -= loudness.max()
    sounding = np.flatnonzero(loudness > SILENT_DB)
    first, last = int(sounding[0]), int(sounding[-1]) + 1
    heard = clip[first * size : last * size].astype(np.float32)
    frequencies, power = _spectrum(heard, sample_rate_hz)
    strong = np.flatnonzero(power > power.max() * 10 ** (DEEP_DB / 10))
    return {
        "seconds": len(clip) / sample_rate_hz,
        "lead_s": first * FRAME_S,
        "trail_s": max(0.0, len(clip) / sample_rate_hz - last * FRAME_S),
        "bandwidth_hz": float(frequencies[strong].max(initial=0)),
        "floor_db": float(np.quantile(loudness[first:last], FLOOR_SHARE)),
        "level_db": level_db,
    }


def _spectrum(sound: np.ndarray, sample_rate_hz: int) -> tuple[np.ndarray, np.ndarray]:
    """Frequencies and power as `scipy.signal.welch` gives them up to a factor (Welch, 1967), in a quarter of its time: its segments
    are transformed at once, so that other threads are not held up."""
    size = min(1024, len(sound))
    segments = librosa.util.frame(sound, frame_length=size, hop_length=size - size // 2, axis=0)
    segments = (segments - segments.mean(axis=1, keepdims=True)) * signal.windows.hann(size, sym=False)
    power = np.square(np.abs(scipy.fft.rfft(segments.astype(np.float32), axis=1))).mean(axis=0)
    power[1 : (size + 1) // 2] *= 2  # of both signs
    return np.fft.rfftfreq(size, 1 / sample_rate_hz), power


def differences(generated: pd.DataFrame, honest: pd.DataFrame) -> list[Difference]:
    """The measures in which two tables of MEASURES, a row a clip, differ by more than chance and more than a little.

    They do where their distributions lie LARGE apart and, on average (Wasserstein's distance), by more than a hair. They do
    too where more generated clips lie outside the range of the honest ones, by more than a hair, than chance puts there, or
    more than half of them: a test of one or two clips could not be sure of anything. (Of clips from one distribution the
    share outside the range of N others is beta-distributed with 2 and N - 1.)
    """
    found = []
    for name, unit in COMPARED.items():
        one, other = generated[name].to_numpy(), honest[name].to_numpy()
        hair = {"Hz": 500.0, "dB": 3.0}.get(unit, 0.1 * max(np.median(generated["seconds"]), FRAME_S))
        test, sure = stats.ks_2samp(one, other), SURE / len(COMPARED)
        apart = test.statistic >= LARGE and test.pvalue < sure and stats.wasserstein_distance(one, other) >= hair
        outside = int(((one < other.min() - hair) | (one > other.max() + hair)).sum())
        by_chance = stats.betabinom.sf(outside - 1, len(one), 2, max(len(other) - 1, 1))
        if apart or outside > len(one) / 2 or by_chance < sure:
            medians = float(np.median(one)), float(np.median(other))
            found.append(Difference(name, unit, *medians, float(test.statistic), outside, len(one)))
    return found


def make_alike(
    clips: list[np.ndarray], measures: pd.DataFrame, wanted: pd.DataFrame, sample_rate_hz: int, seed: int
) -> list[np.ndarray]:
    """Clips, int16 [n] each, cut, padded, low-passed and noised to be as `wanted` is, a table of MEASURES of other clips.

    Each clip takes one row of `wanted` for its length and silences: the longest the longest, so that as few as can be must be
    padded. Bandwidth and noise floor are matched by rank, each by itself: a clip gets the value that as large a share of
    `wanted` lies below, if that is the coarser one, as no clip can be made finer. So where both tables are alike little is altered.
    Where a clip is cut, and the noise, follow from `seed` and the clip's number alone.
    """
    sounding, target = (table["seconds"] - table["lead_s"] - table["trail_s"] for table in (measures, wanted))
    places = np.floor((np.argsort(np.argsort(sounding, kind="stable")) + 0.5) / len(clips) * len(wanted)).astype(int)
    rows = wanted.iloc[np.argsort(target.to_numpy(), kind="stable")[places]].to_dict("records")
    rngs = [seeded(seed, "alike", number) for number in range(len(clips))]
    as_long = [
        _as_long(clip, own, row, sample_rate_hz, rng)
        for clip, own, row, rng in zip(clips, measures.to_dict("records"), rows, rngs)
    ]
    # of what is left of each: a part of a clip may have another floor than the whole
    left = pd.DataFrame([measure(sound, sample_rate_hz) for sound in as_long])
    coarse = {name: _by_rank(left[name], wanted[name]) for name in ("bandwidth_hz", "floor_db")}
    alike = []
    for number, (sound, own, row) in enumerate(zip(as_long, left.to_dict("records"), rows)):
        lead, trail = (round(row[name] * sample_rate_hz) for name in ("lead_s", "trail_s"))
        row = {name: values[number] for name, values in coarse.items()}
        alike.append(_as_int16(np.pad(_roughen(sound, own, row, sample_rate_hz, rngs[number]), (lead, trail))))
    return alike


def _as_long(clip: np.ndarray, own: dict, row: dict, rate: int, rng: np.random.Generator) -> np.ndarray:
    """What sounds of a clip, as long as what sounds of the clip that `row` measures: cut, or followed by silence."""
    lead, trail, total = (round(row[name] * rate) for name in ("lead_s", "trail_s", "seconds"))
    sound = clip[round(own["lead_s"] * rate) : len(clip) - round(own["trail_s"] * rate)].astype(np.float64)
    long = max(1, total - lead - trail)
    return _as_int16(librosa.util.fix_length(cut(sound, long, rng), size=long))


def _by_rank(own: pd.Series, wanted: pd.Series) -> np.ndarray:
    """For each value [n] the quantile of `wanted` at its own rank."""
    ranks = np.argsort(np.argsort(own.to_numpy(), kind="stable"))
    return np.quantile(wanted, (ranks + 0.5) / len(own))


def cut(sound: np.ndarray, long: int, rng: np.random.Generator) -> np.ndarray:
    """At most `long` samples from a place drawn at random, but not from a pause: a clip that is silent has no measures."""
    starts, magnitudes = max(1, len(sound) - long + 1), np.abs(sound.astype(np.float64))
    for _ in range(20):
        start = int(rng.integers(starts))
        if magnitudes[start : start + long].max() > magnitudes.max() * 10 ** (SILENT_DB / 20):
            break
    else:
        start = int(np.clip(magnitudes.argmax() - long // 2, 0, starts - 1))
    return sound[start : start + long]


def _roughen(sound: np.ndarray, own: dict, row: dict, rate: int, rng: np.random.Generator) -> np.ndarray:
    """A sound low-passed to the bandwidth of a row of measures, and with noise up to its floor, where its own are finer. The noise
    goes no higher than the sound that it is added to."""
    noisier, narrower = row["floor_db"] > own["floor_db"] + 1, row["bandwidth_hz"] < own["bandwidth_hz"] - 200
    if not (noisier or narrower):
        return sound
    sound, edge = sound.astype(np.float64), min(row["bandwidth_hz"], own["bandwidth_hz"])
    edge = float(np.clip(edge, 50.0, 0.49 * rate))
    if noisier:
        size = max(1, round(FRAME_S * rate))
        loudest = max(np.sqrt(np.mean(np.square(part))) for part in np.array_split(sound, max(1, len(sound) // size)))
        lacking = 10 ** (row["floor_db"] / 10) - 10 ** (own["floor_db"] / 10)  # power, of the loudest part's
        left = edge / (rate / 2)  # of white noise after the low-pass
        sound = sound + rng.standard_normal(len(sound)) * loudest * np.sqrt(lacking / left)
    return signal.sosfilt(signal.cheby2(10, 10 - DEEP_DB, edge, fs=rate, output="sos"), sound)


def _as_int16(sound: np.ndarray) -> np.ndarray:
    return np.round(sound / max(np.abs(sound).max(), 1e-9) * 0.5 * 32767).astype(np.int16)
