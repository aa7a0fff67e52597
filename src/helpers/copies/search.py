"""Exact nearest-neighbour search by cosine, blocked, so that memory does not grow with the number of clips.

Both ways to search filter and refine: a cheap product rules out most references of a block and cannot rule out one that
belongs to the answer; the few that are left are scored by accurate dot products. The cheap product is faiss' float32 one,
or, for wide rows on a CPU that multiplies 8-bit numbers fast, that of 8-bit codes. `bounds.codes_pay` is the switch.

Notebook: 05_retrieval.
"""

import operator
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
import torch

from helpers.base.mapped import chunks
from helpers.base.openmp import import_faiss
from helpers.base.progress import progress
from helpers.copies.bounds import (
    WIDEST,
    Block,
    codes_are_exact,
    codes_pay,
    mean_row,
    measure,
    parts,
    unit_length,
    upper_bounds,
)

faiss = import_faiss()

# Cosines this close are one score: two copies of one clip must not swap places with the order in which numbers are added.
TIE = 1e-6
FLOAT32 = 5e-5  # rounding of faiss' float32 cosines; with log-mels up to 4e-6 was seen
BLOCK_BYTES = 2**29  # of a block of references as float32
MOST_REFERENCES = 8192  # in a block
MOST_QUERIES = 2048  # at a time
MOST_PAIRS = 2**18  # scored at a time
NARROW = 1024  # up to so many dimensions, codes cost more than they save
EXTRA = 2  # references scored beyond k before anything is known of a query
SPARE = 32  # references kept beyond k while blocks are searched, for ties; and listed by faiss at first


class Neighbours(NamedTuple):
    """The k nearest references of each query: scores float32 [Q, k], descending, and their indices int64 [Q, k]."""

    scores: np.ndarray
    indices: np.ndarray


def top_k(queries: np.ndarray, references: np.ndarray, k: int, *, codes: bool | None = None) -> Neighbours:
    """The k references of greatest cosine for each query: exact search.

    queries [Q, D] and references [R, D] are numbers of any float type, taken as float32, and are not changed; arrays on
    disk (memory maps, or an `mapped.Selection` of one) are read in blocks. Scores are cosines in [-1, 1], within 2e-6 of
    float64 ones. References whose scores lie within 1e-6 of the group's greatest are tied and come in the order of their
    index, also where the k-th place falls among them; scores stay descending, so a tied score may differ from its own by
    1e-6. `codes`: whether 8-bit codes filter the references (True) or faiss does (False). By default codes do where they
    are faster: rows of more than 1,024 dimensions on a CPU where `bounds.codes_pay`. The answer is the same.

    Source: faiss' flat index (Douze et al., 2024, "The Faiss library", arXiv:2401.08281); for codes see `helpers.copies.bounds`.
    Raises ValueError for shapes that do not fit, D above 131,072, k outside 1..R, a row that is zero or not finite
    (named), or codes on a CPU that gets them wrong; TypeError for a k that is no whole number.
    """
    _check_shapes(queries, references, k)
    k = operator.index(k)  # faiss takes no integer of numpy's
    scores = np.full((len(queries), k + SPARE), -np.inf, np.float32)
    indices = np.full(scores.shape, -1, np.int64)
    for block, some in _pairs_of_blocks(queries, references, "queries", codes):
        part = slice(some.start, some.start + len(some.rows))
        scores[part], indices[part] = _best_so_far(some, block, Neighbours(scores[part], indices[part]), k)
    return Neighbours(scores[:, :k].clip(-1, 1), indices[:, :k].copy())


def pairs_above(
    features: np.ndarray, threshold: float, *, codes: bool | None = None
) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Every pair of rows whose cosine is at least `threshold`: i and j (i < j) int64, scores float32, ordered by i and j.

    features [N, D], `codes` and errors as in `top_k`. A cosine within 1e-6 below the threshold counts, so that at 1.0
    exact copies are found.
    """
    found = [(np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0, np.float32))]
    for block, some in _pairs_of_blocks(features, features, "features", codes):
        if some.start >= block.start + len(block.rows):
            continue  # all of its pairs come with i and j exchanged
        row, column = _close(some, block, threshold - TIE)
        once = some.start + row < block.start + column
        row, column = row[once], column[once]
        scores = _cosines(some, block, row, column)
        enough = scores >= threshold - TIE
        found.append((some.start + row[enough], block.start + column[enough], scores[enough].astype(np.float32)))
    i, j, score = map(np.concatenate, zip(*found))
    order = np.lexsort((j, i))
    return i[order], j[order], score[order]


def _check_shapes(queries: np.ndarray, references: np.ndarray, k: int) -> None:
    for name, features in (("queries", queries), ("references", references)):
        if features.ndim != 2:
            raise ValueError(f"{name}: expected shape [rows, dimensions], got {features.shape}")
    if queries.shape[1] != references.shape[1]:
        raise ValueError(f"queries: expected {references.shape[1]} dimensions as in references, got {queries.shape[1]}")
    if references.shape[1] > WIDEST:
        raise ValueError(f"references: expected at most {WIDEST} dimensions, got {references.shape[1]}")
    if not 1 <= k <= len(references):
        raise ValueError(f"k: expected 1 to the number of references = {len(references)}, got {k}")


def _pairs_of_blocks(
    queries: np.ndarray, references: np.ndarray, name: str, codes: bool | None
) -> Iterator[tuple[Block, Block]]:
    """Every block of references with every block of queries; `name` is what an error calls the queries."""
    if codes is None:
        codes = references.shape[1] > NARROW and codes_pay()
    if codes and not codes_are_exact():
        raise ValueError("codes: expected a CPU that multiplies 8-bit numbers exactly, got one that does not")
    mean, same = None, queries is references
    size = max(1, min(MOST_REFERENCES, BLOCK_BYTES // (4 * references.shape[1])))
    total = -(-len(references) // size) * -(-len(queries) // MOST_QUERIES)
    with progress(total=total, desc="search", unit="block") as bar:
        for start, rows in _rows(references, size):
            if codes and mean is None:
                mean = mean_row(rows)
            block = measure(rows, start, mean, name if same else "references")
            del rows  # else those of a file stay in memory beside their copy of unit length
            block = block if codes else unit_length(block)
            for first, some in _rows(queries, MOST_QUERIES):
                yield block, measure(some, first, mean, name)
                bar.update()


def _rows(features, size: int) -> Iterator[tuple[int, np.ndarray]]:
    """Features some rows at a time: (first row, writable contiguous float32 [rows, D])."""
    for part, rows in chunks(features, size):
        yield part.start, np.require(rows, np.float32, ["C", "W"])


def _best_so_far(some: Block, block: Block, kept: Neighbours, k: int) -> Neighbours:
    """The best of each query, `kept` [q, k + SPARE], after one more block of references."""
    if some.codes is None:
        return _best_by_faiss(some, block, kept, k, k + SPARE)
    upper, new = upper_bounds(some, block), kept
    if not block.start:  # nothing is known yet: the cosines of those with the greatest bounds give a threshold
        first = upper.topk(min(k + EXTRA, len(block.rows)), sorted=False).indices
        row = np.repeat(np.arange(len(first)), first.shape[1])
        new = _merge(kept, some, block, row, first.numpy().reshape(-1))
        upper.scatter_(1, first, torch.nan)  # done: passes no threshold, not even that of a list not yet full
    passed = (upper >= torch.from_numpy(new.scores[:, k - 1 : k] - 2 * TIE)).numpy()
    many = passed.sum(axis=1) > max(64, passed.shape[1] // 8)  # as in a cluster of copies: faiss is faster
    new = _merge(new, some, block, *(passed & ~many[:, None]).nonzero())
    if many.any():
        before = Neighbours(*(part[many] for part in kept))
        found = _best_by_faiss(_pick(some, many), unit_length(block), before, k, k + SPARE)
        new.scores[many], new.indices[many] = found
    return new


def _best_by_faiss(some: Block, block: Block, kept: Neighbours, k: int, n: int) -> Neighbours:
    """As `_best_so_far`, beside references of unit length: faiss lists n a query, and more where n may be too few."""
    n = min(n, len(block.rows))
    products, listed = faiss.knn(some.rows, block.rows, n, metric=faiss.METRIC_INNER_PRODUCT)
    products /= some.lengths[:, None]
    least = np.maximum(products[:, min(k, n) - 1] - FLOAT32, kept.scores[:, k - 1]) - 2 * TIE  # of a cosine
    passed = products >= (least - FLOAT32)[:, None]
    more = passed[:, -1] & (n < len(block.rows))
    row, place = (passed & ~more[:, None]).nonzero()
    new = _merge(kept, some, block, row, listed[row, place])
    if more.any():
        before = Neighbours(*(part[more] for part in kept))
        new.scores[more], new.indices[more] = _best_by_faiss(_pick(some, more), block, before, k, 8 * n)
    return new


def _pick(block: Block, chosen: np.ndarray) -> Block:
    """The chosen rows of a block, without their codes; `start` no longer means anything."""
    return Block(block.rows[chosen], -1, block.lengths[chosen], None)


def _close(some: Block, block: Block, threshold: float) -> tuple[np.ndarray, np.ndarray]:
    """Rows and columns of the pairs of two blocks whose cosine may be `threshold` or more."""
    if some.codes is not None:
        rows, columns = (upper_bounds(some, block) >= threshold).numpy().nonzero()
        return rows, columns
    index = faiss.IndexFlatIP(block.rows.shape[1])
    index.add(block.rows)
    limits, _, columns = index.range_search(unit_length(some).rows, threshold - FLOAT32)
    return np.repeat(np.arange(len(some.rows)), np.diff(limits.astype(np.int64))), columns


def _cosines(some: Block, block: Block, row: np.ndarray, column: np.ndarray) -> np.ndarray:
    """Cosines float64 [n] of n pairs of a row of one block and a row of another: short float32 sums, added in float64."""
    cuts, scores = parts(some.rows.shape[1]), np.empty(len(row))
    for start in range(0, len(row), MOST_PAIRS // cuts):
        part = slice(start, start + MOST_PAIRS // cuts)
        left, right = (np.add.outer(number[part] * cuts, np.arange(cuts)) for number in (row, column))
        products = np.empty(left.shape, np.float32)
        x, ix, y, iy, dot = map(faiss.swig_ptr, (some.rows, left, block.rows, right, products))
        faiss.pairwise_indexed_inner_product(some.rows.shape[1] // cuts, left.size, x, ix, y, iy, dot)
        scores[part] = products.sum(axis=1, dtype=np.float64)
    return scores / (some.lengths[row] * block.lengths[column])


def _merge(kept: Neighbours, some: Block, block: Block, row: np.ndarray, column: np.ndarray) -> Neighbours:
    """The best of `kept` and of pairs of rows of two blocks (rows ascending), as many as `kept` has."""
    counts = np.bincount(row, minlength=len(some.rows))
    place = np.arange(len(row)) - np.repeat(np.cumsum(counts) - counts, counts) + kept.scores.shape[1]
    pad = ((0, 0), (0, counts.max(initial=0)))
    scores, indices = np.pad(kept.scores, pad, constant_values=-np.inf), np.pad(kept.indices, pad, constant_values=-1)
    scores[row, place] = _cosines(some, block, row, column)
    indices[row, place] = block.start + column
    return Neighbours(*(part[:, : kept.scores.shape[1]] for part in _ordered(scores, indices)))


def _ordered(scores: np.ndarray, indices: np.ndarray) -> Neighbours:
    """Scores [q, n] descending; indices by tie group (what lies within TIE of the group's first score), then by number."""
    order = np.argsort(-scores, axis=1, kind="stable")
    scores, indices = np.take_along_axis(scores, order, axis=1), np.take_along_axis(indices, order, axis=1)
    groups = np.zeros(scores.shape, dtype=np.int64)
    leader = scores[:, 0].copy()
    for column in range(1, scores.shape[1]):
        with np.errstate(invalid="ignore"):  # places not yet taken are -inf
            new = leader - scores[:, column] > TIE
        groups[:, column] = groups[:, column - 1] + new
        leader[new] = scores[new, column]
    return Neighbours(scores, np.take_along_axis(indices, np.lexsort((indices, groups), axis=1), axis=1))
