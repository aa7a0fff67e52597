"""Similarity that forgives a shift in time: the greatest cosine of two log-mels over shifts of up to half a second.

A copy that starts a little later is the same sound, but its log-mel is another vector. Every shift of every pair would
cost some sixty searches. So candidates are found on coarse log-mels, which few shifts cover, and only they are compared
frame by frame, at all shifts at once by a cross-correlation in the frequency domain.

Notebook: 05_retrieval.
"""

import numba
import numpy as np
import scipy.fft
import torch

from helpers.base.mapped import chunks

COARSE = (16, 8)  # frames and bands averaged; the shifts tried are half of these frames apart
BLOCK_BYTES = 2**29  # of reference spectra
QUERIES = 256  # at a time
LEAST = 0.1  # of the energy of either that a shift must leave: only where frames are zero, as silence, may it take more
WORKERS = -1  # all cores, for the Fourier transforms


def top_aligned(queries, references, k: int, max_shift: int, candidates: int = 32) -> tuple[np.ndarray, np.ndarray]:
    """The k references most similar to each query at their best shift.

    The score of a shift is the cosine of the two log-mels over the frames that both have, if these hold LEAST of either's
    energy. queries [Q, T, M] and
    references [R, T, M] are to be centred: what all clips have in common does not move with a shift. Both may be
    `mapped.Selection`s. The k are the best of those `candidates` that are nearest on coarse log-mels, so a reference
    that resembles the query at some shift can be missed; a shifted copy hardly is.

    Args:
        max_shift: greatest shift in frames, either way; less than T / 2.
        candidates: compared frame by frame for each query; at least k.

    Raises:
        ValueError: shapes that do not fit, a number out of range, or values that are not finite.
    """
    _check(queries, references, k, max_shift, candidates)
    nearest = _candidates(queries, references, max_shift, min(candidates, len(references)))
    scores = np.full(nearest.shape, -np.inf, np.float32)
    length = _padded(queries, max_shift)
    for part, mels in chunks(references, max(1, BLOCK_BYTES // (8 * (length // 2 + 1) * references.shape[2]))):
        block = _Side(mels, length)
        for some, rows in chunks(queries, QUERIES):
            here = (nearest[some] >= part.start) & (nearest[some] < part.stop)
            listed = np.where(here, nearest[some] - part.start, -1)
            scores[some][here] = _best_shift(_Side(rows, length), block, listed, max_shift)[here]
    order = np.argsort(-scores, axis=1, kind="stable")[:, :k]
    return np.take_along_axis(scores, order, axis=1), np.take_along_axis(nearest, order, axis=1)


def aligned_cosines(a: np.ndarray, b: np.ndarray, max_shift: int) -> np.ndarray:
    """The score of `top_aligned` for each pair of rows of log-mels [N, T, M] and [N, T, M]: float32 [N].

    Raises ValueError for shapes that do not fit, or a shift out of range.
    """
    _check(a, b, 1, max_shift, 1)
    length = _padded(a, max_shift)
    return _best_shift(_Side(a, length), _Side(b, length), np.arange(len(a))[:, None], max_shift)[:, 0]


def _padded(mels, max_shift: int) -> int:
    """Frames to which log-mels are padded, so that no shift wraps around."""
    return scipy.fft.next_fast_len(mels.shape[1] + max_shift, real=True)


def _check(queries, references, k: int, max_shift: int, candidates: int) -> None:
    if len(queries.shape) != 3 or queries.shape[1:] != references.shape[1:]:
        raise ValueError(f"queries: expected [Q, T, M] as references {references.shape}, got shape {queries.shape}")
    if not 0 <= max_shift < queries.shape[1] / 2:
        raise ValueError(f"max_shift: expected 0 to less than half of {queries.shape[1]} frames, got {max_shift}")
    if not 1 <= k <= min(candidates, len(references)):
        raise ValueError(f"k: expected 1 to the {min(candidates, len(references))} candidates, got {k}")


def _coarse(mels: np.ndarray, margin: int) -> torch.Tensor:
    """Log-mels [n, T, M] averaged over windows of COARSE, half a window apart, `margin` empty frames put at either end."""
    if not np.isfinite(mels).all():
        raise ValueError("mels: expected finite log-mels, got NaN or infinity")
    padded = torch.nn.functional.pad(torch.tensor(np.asarray(mels, np.float32)), (0, 0, margin, margin))
    window = (COARSE[0], min(COARSE[1], mels.shape[2]))
    return torch.nn.functional.avg_pool2d(padded[:, None], window, (window[0] // 2, window[1]), ceil_mode=True)[:, 0]


def _unit(coarse: torch.Tensor) -> torch.Tensor:
    return torch.nn.functional.normalize(coarse.flatten(1), dim=1)


def _candidates(queries, references, max_shift: int, n: int) -> np.ndarray:
    """Indices [Q, n] of the references that are nearest on coarse log-mels at the best of a few shifts."""
    coarse = torch.cat([_coarse(rows, 0) for _, rows in chunks(references, QUERIES)])
    sides = _unit(coarse[:, ::2]).T
    step = COARSE[0] // 2
    margin = -(-max_shift // step) * step
    nearest = np.empty((len(queries), n), np.int64)
    for part, rows in chunks(queries, QUERIES):
        shifted = _coarse(rows, margin)
        best = torch.full((len(rows), len(references)), -torch.inf)
        for first in range(2 * margin // step + 1):
            windows = shifted[:, first::2][:, : coarse[:, ::2].shape[1]]
            torch.maximum(best, _unit(windows) @ sides, out=best)
        nearest[part] = best.topk(n).indices.numpy()
    return nearest


class _Side:
    """Spectra along time of some log-mels [n, T, M], padded with zeros to `length`, and the energy of their frames.

    `spectra` complex64 [n, F, M]; `energy` [n, T + 1] is that of the first t frames.
    """

    def __init__(self, mels: np.ndarray, length: int):
        self.length = length
        self.spectra = scipy.fft.rfft(np.asarray(mels, np.float32), length, axis=1, workers=WORKERS)
        power = np.einsum("ntm,ntm->nt", mels, mels)
        self.energy = np.pad(np.cumsum(power, axis=1, dtype=np.float64), ((0, 0), (1, 0)))


def _best_shift(some: _Side, block: _Side, listed: np.ndarray, max_shift: int) -> np.ndarray:
    """Best cosine over shifts of each query with the references `listed` [q, c] (-1: none)."""
    products = np.zeros((*listed.shape, some.spectra.shape[1]), np.complex64)
    _multiply(some.spectra, block.spectra, listed, products)
    correlation = scipy.fft.irfft(products, some.length, axis=2, workers=WORKERS)  # [q, c, length]
    lags = np.arange(-max_shift, max_shift + 1)
    frames = some.energy.shape[1] - 1
    later, earlier = np.maximum(lags, 0), np.maximum(-lags, 0)
    # a query that is s frames later shares its frames from s on, and the reference's up to T - s
    query = some.energy[:, frames - earlier] - some.energy[:, later]
    reference = block.energy[:, frames - later] - block.energy[:, earlier]
    norm = np.sqrt(query[:, None] * reference[listed])
    # where most of a sound is shifted out, what is left is rounding, or a few faint frames that are like any others
    left = (query >= LEAST * some.energy[:, -1:])[:, None] & (reference >= LEAST * block.energy[:, -1:])[listed]
    cosines = np.where(left, correlation[..., lags] / np.maximum(norm, 1e-12), -np.inf)
    return cosines.max(axis=2)


@numba.njit(parallel=True, fastmath=True, cache=True)
def _multiply(queries, references, listed, into):
    """into[i, j, f] = sum over bands of queries[i, f] * conj(references[listed[i, j], f]), where listed is not -1."""
    for i in numba.prange(listed.shape[0]):
        for j in range(listed.shape[1]):
            r = listed[i, j]
            if r < 0:
                continue
            for f in range(queries.shape[1]):
                real, imaginary = np.float32(0), np.float32(0)
                for m in range(queries.shape[2]):
                    a, b = queries[i, f, m], references[r, f, m]
                    real += a.real * b.real + a.imag * b.imag
                    imaginary += a.imag * b.real - a.real * b.imag
                into[i, j, f] = complex(real, imaginary)
