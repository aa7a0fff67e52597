"""A local detector: it finds a short excerpt of one sound inside another, and says where in both.

A clip's spectrogram is thinned to its peaks. Each peak is paired with a few that follow it; a pair's two frequencies and the
time between them are a landmark. Where a clip holds an excerpt of another, many landmarks of both agree on one offset in
time, and no level, filter or noise moves that. What agrees is added up by how rare it is: a hum that many clips hold says
little.

Source: Wang (2003), "An industrial-strength audio search algorithm", ISMIR; the weights are inverse document frequencies
(Spärck Jones, 1972). An index is two sorted arrays, searched by bisection.

Used by `audit`.
"""

from typing import NamedTuple

import numba
import numpy as np
import scipy.fft

N_FFT, HOP = 1024, 256  # samples
FLOOR_NP = (
    6.9  # nepers below a clip's greatest peak (60 dB): what lies lower is silence, and common silence is no evidence
)
NEIGHBOURHOOD = (3, 4)  # frames and bins either way in which a peak is the greatest
SURROUNDINGS = (
    32,
    32,
)  # frames and bins either way whose mean a peak is weighed against, so that no filter decides which are kept
PEAKS_S = 40  # kept a second, the most prominent ones
FAN = 8  # peaks that each is paired with
AHEAD, ASIDE = 63, 63  # frames and bins at most between the two of a pair
MOST_FRAMES = 2**19  # of a clip: 2.3 h at 16 kHz
COMMON = 4096  # places of a landmark in the index from which on it tells nothing


class Landmarks(NamedTuple):
    """Landmarks of one clip: their codes uint32 [L] and the frame int32 [L] of their first peak."""

    codes: np.ndarray
    frames: np.ndarray


class Matches(NamedTuple):
    """The references that a query shares most with, best first: scores float64 [k], their numbers int64 [k], where the
    match begins in the query and in the reference and how long it is, in frames, int64 [k] each."""

    scores: np.ndarray
    indices: np.ndarray
    query_start: np.ndarray
    reference_start: np.ndarray
    length: np.ndarray


def landmarks(audio: np.ndarray, sample_rate_hz: int) -> Landmarks:
    """Landmarks of a clip, int16 or float [S], of any length up to MOST_FRAMES frames; none of a silent or very short one."""
    frames, bins = _peaks(np.asarray(audio[: (MOST_FRAMES - 4) * HOP], np.float32), sample_rate_hz)
    codes, firsts = [np.zeros(0, np.uint32)], [np.zeros(0, np.int32)]
    found = np.zeros(len(frames), np.int64)
    for step in range(1, min(len(frames), 4 * FAN + 1)):  # peaks in order of time, each with those that come after it
        ahead, aside = frames[step:] - frames[:-step], bins[step:] - bins[:-step]
        kept = (ahead > 0) & (ahead <= AHEAD) & (abs(aside) <= ASIDE) & (found[:-step] < FAN)
        found[:-step] += kept
        code = (bins[:-step] << 13) | ((aside + ASIDE + 1) << 6) | ahead
        codes.append(code[kept].astype(np.uint32))
        firsts.append(frames[:-step][kept].astype(np.int32))
    return Landmarks(np.concatenate(codes), np.concatenate(firsts))


def _peaks(audio: np.ndarray, sample_rate_hz: int) -> tuple[np.ndarray, np.ndarray]:
    """Frames and bins, int64 [P] each, of the prominent peaks of a clip's spectrogram, in order of time."""
    padded = np.pad(audio, (N_FFT // 2, N_FFT))
    windows = np.lib.stride_tricks.sliding_window_view(padded, N_FFT)[::HOP]
    spectra = scipy.fft.rfft(windows * np.hanning(N_FFT).astype(np.float32), axis=1)[:, 2:-1]
    loudness = np.log(np.abs(spectra) + 1e-9)
    least = max(loudness.max() - FLOOR_NP, np.log(1e-8))
    prominence = _prominence(loudness, least)
    frames, bins = (prominence > 0).nonzero()
    prominence = prominence[frames, bins]
    block = max(1, round(0.5 * sample_rate_hz / HOP))
    order = np.lexsort((-prominence, frames // block))
    first = np.searchsorted((frames // block)[order], frames // block)
    rank = np.empty(len(frames), np.int64)
    rank[order] = np.arange(len(frames))
    kept = rank - first < PEAKS_S // 2
    return frames[kept], bins[kept]


@numba.njit(nogil=True, cache=True)
def _prominence(values, least):
    """float32 [T, F]: how far the peaks of values [T, F] lie above the mean of what surrounds them; 0 where there is none.

    A peak lies above `least` and is the greatest of its neighbourhood; below `least` all counts as that.
    """
    rows, columns = values.shape
    high, wide = NEIGHBOURHOOD
    found = np.zeros((rows, columns), np.float32)
    for t in range(rows):
        for f in range(1, columns - 1):
            value = values[t, f]
            if value <= least or values[t, f - 1] > value or values[t, f + 1] > value:
                continue
            around = values[max(0, t - high) : t + high + 1, max(0, f - wide) : f + wide + 1]
            if around.max() > value:
                continue
            total, n = 0.0, 0
            for i in range(max(0, t - SURROUNDINGS[0]), min(rows, t + SURROUNDINGS[0] + 1), 4):
                for j in range(max(0, f - SURROUNDINGS[1]), min(columns, f + SURROUNDINGS[1] + 1), 4):
                    total += max(values[i, j], least)
                    n += 1
            found[t, f] = max(value - total / n, 1e-6)
    return found


class Index:
    """Landmarks of many references, to be searched: `Index([landmarks(clip, rate) for clip in clips])`."""

    def __init__(self, references: list[Landmarks]):
        codes = np.concatenate([one.codes for one in references])
        places = np.concatenate([
            (np.int64(number) << 20) | one.frames.astype(np.int64) for number, one in enumerate(references)
        ])  # fmt: skip
        order = np.argsort(codes, kind="stable")
        self.codes, self.places, self.n = codes[order], places[order], len(references)

    def match(self, query: Landmarks, k: int, itself: int = -1) -> Matches:
        """The up to k references that share most with a query. `itself`: the number of the reference that the query is; its
        landmarks are neither matched nor counted, as if it were not in the index."""
        order = np.argsort(query.codes)  # bisection is several times as fast where what is looked up ascends
        codes, query_frames = query.codes[order], query.frames[order].astype(np.int64)
        first = np.searchsorted(self.codes, codes, "left")
        counts = np.searchsorted(self.codes, codes, "right") - first
        counts[counts > COMMON] = 0
        rows = np.repeat(np.arange(len(counts)), counts)
        places = self.places[np.arange(len(rows)) - np.repeat(np.cumsum(counts) - counts - first, counts)]
        if itself >= 0:
            rows, places = rows[kept := places >> 20 != itself], places[kept]
            counts = np.bincount(rows, minlength=len(counts))
        weights = np.log(max(len(self.codes), 2) / np.maximum(counts, 1))
        frames = query_frames[rows]
        offsets = (places & (2 * MOST_FRAMES - 1)) - frames + MOST_FRAMES
        keys, once = np.unique(((places >> 20) << 39) | (offsets << 19) | frames, return_index=True)
        if not len(keys):
            return Matches(np.zeros(0), *(np.zeros(0, np.int64) for _ in range(4)))
        votes, first = np.unique(keys >> 19, return_index=True)  # one for each reference and offset
        sums = np.add.reduceat(weights[rows][once].astype(np.float64), first)
        near = np.diff(votes) == 1  # a peak may fall into the frame before or after
        score = sums.copy()
        score[1:] += near * sums[:-1]
        score[:-1] += near * sums[1:]
        best = np.lexsort((-score, votes >> 20))
        best = best[np.unique(votes[best] >> 20, return_index=True)[1]]
        best = best[np.argsort(-score[best], kind="stable")][:k]
        low = np.searchsorted(keys, (votes[best] - 1) << 19)
        high = np.searchsorted(keys, (votes[best] + 2) << 19)
        inside = [keys[a:b] & (MOST_FRAMES - 1) for a, b in zip(low, high)]
        start, end = (np.array([of(part) for part in inside]) for of in (np.min, np.max))
        offset = (votes[best] & (2 * MOST_FRAMES - 1)) - MOST_FRAMES
        return Matches(score[best], votes[best] >> 20, start, start + offset, end - start + 1)
