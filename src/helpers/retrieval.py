"""Exact nearest-neighbour search by cosine, and the background-normalised score.

The score follows the copy-detection literature: `s(q, r) - beta * bias(q)`, where `bias(q)` is the mean similarity of q
to its K nearest items of a background set (score normalisation of the DISC21 challenge, Douze et al. 2021,
arXiv:2106.09672, and of SSCD, Pizzi et al. 2022, arXiv:2202.10261). Bralios et al. (2024, arXiv:2310.10604) use such a
bias for audio; its form there is inferred from the patent application US 2025/0124944 A1 (pending when last seen).
"""

from collections.abc import Iterator
from typing import NamedTuple

import faiss
import numpy as np

# Cosines this close are one score: a float32 product of 16,384 numbers is not more exact, and two copies of one clip
# must not swap places with the order in which the matrix library adds.
TIE = 1e-6
CHUNK_ROWS = 256  # rows normalised at a time; 256 log-mels of 256 x 64 are 17 MB


class Neighbours(NamedTuple):
    """The k nearest references of each query: scores float32 [Q, k], descending, and their indices int64 [Q, k]."""

    scores: np.ndarray
    indices: np.ndarray


def _unit_rows(features: np.ndarray, name: str, first_row: int) -> np.ndarray:
    lengths = np.linalg.norm(features.astype(np.float64), axis=1)
    bad = ~(np.isfinite(lengths) & (lengths > 0))
    if bad.any():
        row = int(np.flatnonzero(bad)[0])
        kind = "all zeros" if lengths[row] == 0 else "not finite"
        raise ValueError(f"{name}: row {first_row + row} is {kind}; expected a finite, non-zero vector")
    return np.ascontiguousarray(features / lengths[:, None], dtype=np.float32)


def unit_chunks(features: np.ndarray, name: str) -> Iterator[tuple[int, np.ndarray]]:
    """Features [N, D] in chunks of rows of unit length: (first row, float32 [rows, D]), so memory stays flat.

    A zero or non-finite row raises ValueError that calls the array by `name` and gives the row.
    """
    for start in range(0, len(features), CHUNK_ROWS):
        yield start, _unit_rows(np.asarray(features[start : start + CHUNK_ROWS]), name, start)


def _check_shapes(queries: np.ndarray, references: np.ndarray, k: int) -> None:
    for name, features in (("queries", queries), ("references", references)):
        if features.ndim != 2:
            raise ValueError(f"{name}: expected shape [rows, dimensions], got {features.shape}")
    if queries.shape[1] != references.shape[1]:
        raise ValueError(f"queries: expected {references.shape[1]} dimensions as in references, got {queries.shape[1]}")
    if not 1 <= k <= len(references):
        raise ValueError(f"k: expected 1 to the number of references = {len(references)}, got {k}")


def _tie_groups(scores: np.ndarray) -> np.ndarray:
    """Group number int64 [Q, n] of descending scores [Q, n]: a group holds what lies within TIE of its first score."""
    groups = np.zeros(scores.shape, dtype=np.int64)
    leader = scores[:, 0].copy()
    for column in range(1, scores.shape[1]):
        new = leader - scores[:, column] > TIE
        groups[:, column] = groups[:, column - 1] + new
        leader[new] = scores[new, column]
    return groups


def _search_chunk(index: faiss.IndexFlatIP, queries: np.ndarray, k: int) -> tuple[np.ndarray, np.ndarray]:
    """faiss' top k with ties ordered by index; widened until no tie group is cut by the last candidate."""
    wide = min(index.ntotal, k + 16)
    while True:
        scores, indices = index.search(queries, wide)
        groups = _tie_groups(scores)
        # The group of the k-th is whole if a later group has begun among the candidates.
        cut = groups[:, -1] == groups[:, k - 1]
        if wide == index.ntotal or not cut.any():
            break
        wide = min(index.ntotal, 2 * wide)
    order = np.lexsort((indices, groups), axis=1)[:, :k]
    return scores[:, :k], np.take_along_axis(indices, order, axis=1)


def top_k(queries: np.ndarray, references: np.ndarray, k: int) -> Neighbours:
    """The k references of greatest cosine for each query: exact search, faiss' IndexFlatIP over rows of unit length.

    queries [Q, D] and references [R, D] are numbers of any float type (memory maps too). Scores are cosines in [-1, 1].
    References whose scores lie within 1e-6 of the group's greatest are tied and come in the order of their index, also
    where the k-th place falls among them; scores stay descending, so a tied score may differ from its own by 1e-6.
    Raises ValueError for shapes that do not fit, k outside 1..R, or a zero or non-finite row (named).
    """
    _check_shapes(queries, references, k)
    index = faiss.IndexFlatIP(references.shape[1])
    for _, rows in unit_chunks(references, "references"):
        index.add(rows)
    scores = np.empty((len(queries), k), dtype=np.float32)
    indices = np.empty((len(queries), k), dtype=np.int64)
    for start, rows in unit_chunks(queries, "queries"):
        stop = start + len(rows)
        scores[start:stop], indices[start:stop] = _search_chunk(index, rows, k)
    return Neighbours(scores, indices)


def bias(background_scores: np.ndarray, k: int) -> np.ndarray:
    """`bias(q)`: mean of each query's k greatest background scores; [Q, K] with rows descending gives float64 [Q].

    The background must be disjoint from the training clips: a copy in it would hide true copies. Raises ValueError for
    k outside 1..K or a row that is not descending (as `top_k` returns them).
    """
    if background_scores.ndim != 2:
        raise ValueError(f"background_scores: expected shape [queries, K], got {background_scores.shape}")
    if not 1 <= k <= background_scores.shape[1]:
        raise ValueError(f"k: expected 1 to {background_scores.shape[1]} background neighbours, got {k}")
    rising = ~(np.diff(background_scores, axis=1) <= 0).all(axis=1)  # also true of NaN
    if rising.any():
        raise ValueError(
            f"background_scores: expected descending rows, got row {int(np.flatnonzero(rising)[0])} rising"
        )
    return background_scores[:, :k].mean(axis=1, dtype=np.float64)


def normalised_scores(scores: np.ndarray, background_scores: np.ndarray, beta: float, k: int) -> np.ndarray:
    """Normalised scores `s - beta * bias(q)`, float64: scores [Q] or [Q, n], background_scores [Q, K].

    The bias belongs to the query alone, so within a query every score moves by the same amount: it never changes which
    reference is nearest, only which queries pass a threshold common to all. Source: see the module's first lines.
    """
    if len(scores) != len(background_scores):
        raise ValueError(f"background_scores: expected {len(scores)} rows, one a query, got {len(background_scores)}")
    shift = beta * bias(background_scores, k)
    return np.asarray(scores, dtype=np.float64) - shift.reshape(-1, *[1] * (np.ndim(scores) - 1))


def centre(features: np.ndarray, mean: np.ndarray) -> np.ndarray:
    """Features [N, ...] less a mean of the trailing axes, float32 of the same shape.

    For the centred log-mel: without it, the cosine of two log-mels is dominated by the average spectrum that all clips
    share. The mean (log magnitude, nats) is that of the training references, so queries and null are treated alike.
    """
    mean = np.asarray(mean)
    if mean.ndim == 0 or features.shape[-mean.ndim :] != mean.shape or mean.ndim >= features.ndim:
        raise ValueError(f"mean: expected the trailing axes of features {features.shape}, got {mean.shape}")
    return (features - mean).astype(np.float32)
