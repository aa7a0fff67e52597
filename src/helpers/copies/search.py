"""Exact nearest-neighbour search by cosine, blocked, so that memory does not grow with the number of clips.

Wide rows (log-mels) are searched by filter and refinement: the bounds of `bounds` rule most references out, faiss computes
the products of the rest, and nothing is lost. Narrow rows (embeddings), and all rows on a CPU without fast 8-bit products,
take float32 products with all references.

Notebook: 05_retrieval.
"""

from collections.abc import Iterator
from typing import NamedTuple

import faiss
import numpy as np
import torch

from helpers.base.mapped import chunks
from helpers.base.progress import progress
from helpers.copies.bounds import WIDEST, Block, codes_pay, mean_row, measure, parts, upper_bounds

# Cosines this close are one score: a float32 product of 16,384 numbers is not more exact, and two copies of one clip
# must not swap places with the order in which the matrix library adds.
TIE = 1e-6
BLOCK_BYTES = 2**29  # of a block of references as float32
SCORES = 2**24  # query-reference pairs at a time: float32 scores of 64 MB
MOST_QUERIES = 2048  # at a time
NARROW = 1024  # up to so many dimensions, codes cost more than they save
EXTRA = 2  # references refined at once beyond k
SPARE = 32  # references kept beyond k while blocks are searched, for ties


class Neighbours(NamedTuple):
    """The k nearest references of each query: scores float32 [Q, k], descending, and their indices int64 [Q, k]."""

    scores: np.ndarray
    indices: np.ndarray


def top_k(queries: np.ndarray, references: np.ndarray, k: int) -> Neighbours:
    """The k references of greatest cosine for each query: exact search.

    queries [Q, D] and references [R, D] are numbers of any float type, taken as float32; arrays on disk (memory maps,
    or an `mapped.Selection` of one) are read in blocks. Scores are cosines in [-1, 1]. References whose scores lie within 1e-6 of the group's greatest
    are tied and come in the order of their index, also where the k-th place falls among them; scores stay descending,
    so a tied score may differ from its own by 1e-6. Raises ValueError for shapes that do not fit, k outside 1..R, or a
    row that is zero or not finite (named).
    """
    _check_shapes(queries, references, k)
    scores = np.full((len(queries), k + SPARE), -np.inf, np.float32)
    indices = np.full(scores.shape, -1, np.int64)
    for block, some in _pairs_of_blocks(queries, references, "queries"):
        part = slice(some.start, some.start + len(some.rows))
        scores[part], indices[part] = _best_so_far(some, block, Neighbours(scores[part], indices[part]), k)
    return Neighbours(scores[:, :k].clip(-1, 1), indices[:, :k].copy())


def pairs_above(features: np.ndarray, threshold: float) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Every pair of rows whose cosine is at least `threshold`: i and j (i < j) and scores, ordered by i and j.

    features [N, D] as in `top_k`. A cosine within 1e-6 below the threshold counts, so that at 1.0 exact copies are
    found. Raises ValueError for a row that is zero or not finite.
    """
    found = [(np.zeros(0, np.int64), np.zeros(0, np.int64), np.zeros(0, np.float32))]
    for block, some in _pairs_of_blocks(features, features, "features"):
        if some.start >= block.start + len(block.rows):
            continue  # all of its pairs come with i and j exchanged
        close = _close_pairs(some, block, threshold - TIE)
        rows, columns = np.nonzero(np.isfinite(close.scores))
        i, j, score = some.start + rows, close.indices[rows, columns], close.scores[rows, columns]
        found.append((i[i < j], j[i < j], score[i < j]))
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


def _pairs_of_blocks(queries: np.ndarray, references: np.ndarray, name: str) -> Iterator[tuple[Block, Block]]:
    """Every block of references with every block of queries; `name` is what an error calls the queries."""
    mean, same = None, queries is references
    size = max(1, BLOCK_BYTES // (4 * references.shape[1]))
    sizes = [min(size, len(references) - start) for start in range(0, len(references), size)]
    total = sum(-(-len(queries) // _queries_beside(rows)) for rows in sizes)
    with progress(total=total, desc="search", unit="block") as bar:
        for start, rows in _rows(references, size):
            if mean is None and references.shape[1] > NARROW and codes_pay():
                mean = mean_row(rows)
            block = measure(rows, start, mean, name if same else "references")
            for first, some in _rows(queries, _queries_beside(len(rows))):
                yield block, measure(some, first, mean, name)
                bar.update()


def _queries_beside(references: int) -> int:
    """How many queries are taken at a time beside a block of so many references."""
    return max(1, min(MOST_QUERIES, SCORES // references))


def _rows(features, size: int) -> Iterator[tuple[int, np.ndarray]]:
    """Features some rows at a time: (first row, writable contiguous float32 [rows, D])."""
    for part, rows in chunks(features, size):
        yield part.start, np.require(rows, np.float32, ["C", "W"])


def _best_so_far(some: Block, block: Block, kept: Neighbours, k: int) -> Neighbours:
    """The best of each query, `kept` [q, k + SPARE], after one more block of references."""
    if some.codes is None:
        return _merge(kept, _greatest(_cosines(some, block), block.start, k))
    upper = upper_bounds(some, block)
    if not block.start:  # nothing is known yet: the cosines of those with the greatest bounds give a threshold
        first = upper.topk(min(k + EXTRA, len(block.rows)), sorted=False).indices
        kept = _merge(kept, _listed_cosines(some, block, first.numpy()))
        upper.scatter_(1, first, torch.nan)  # done: passes no threshold, not even that of a list not yet full
    passed = (upper >= torch.from_numpy(kept.scores[:, k - 1 : k] - 2 * TIE)).numpy()
    many = _too_many(passed)
    kept = _merge(kept, _listed_cosines(some, block, _listed(passed & ~many[:, None])))
    if many.any():
        earlier = kept.indices[many] < block.start
        before = Neighbours(np.where(earlier, kept.scores[many], -np.inf), np.where(earlier, kept.indices[many], -1))
        found = _merge(before, _greatest(_cosines(_pick(some, many), block), block.start, k))
        kept.scores[many], kept.indices[many] = found
    return kept


def _close_pairs(some: Block, block: Block, threshold: float) -> Neighbours:
    """Cosines of at least `threshold` [q, c] between two blocks; the others are -inf."""
    if some.codes is None:
        scores = _cosines(some, block).numpy()
        listed = _listed(scores >= threshold)
        close = Neighbours(np.take_along_axis(scores, np.maximum(listed, 0), axis=1), listed + block.start)
        return close._replace(scores=np.where(listed < 0, -np.inf, close.scores))
    passed = (upper_bounds(some, block) >= threshold).numpy()
    close = _listed_cosines(some, block, _listed(passed))
    return close._replace(scores=np.where(close.scores >= threshold, close.scores, -np.inf))


def _too_many(passed: np.ndarray) -> np.ndarray:
    """Which queries have so many references left, as in a cluster of copies, that cosines with all of them are faster."""
    return passed.sum(axis=1) > max(64, passed.shape[1] // 8)


def _pick(block: Block, chosen: np.ndarray) -> Block:
    """The chosen rows of a block, without their codes; `start` no longer means anything."""
    return Block(block.rows[chosen], -1, block.lengths[chosen], None, None)


def _listed(passed: np.ndarray) -> np.ndarray:
    """Column numbers of the true elements of each row [q, r], padded with -1 to the longest row."""
    counts = passed.sum(axis=1)
    listed = np.full((len(passed), counts.max(initial=0)), -1, np.int64)
    row, column = passed.nonzero()
    listed[row, np.arange(len(row)) - np.repeat(np.cumsum(counts) - counts, counts)] = column
    return listed


def _listed_cosines(some: Block, block: Block, listed: np.ndarray) -> Neighbours:
    """Cosines of each query with the references of the block that `listed` [q, c] names (-1: none, -inf)."""
    dimensions = some.rows.shape[1]
    cuts, (q, c) = parts(dimensions), listed.shape
    numbers = np.where(listed[:, None] < 0, -1, listed[:, None] * cuts + np.arange(cuts)[:, None])  # [q, cuts, c]
    products = np.empty(numbers.shape, np.float32)
    if numbers.size:
        arrays = map(faiss.swig_ptr, (products, some.rows, block.rows, numbers))
        faiss.fvec_inner_products_by_idx(*arrays, dimensions // cuts, q * cuts, c)
    scores = products.sum(axis=1, dtype=np.float64) / (some.lengths[:, None] * block.lengths[listed])
    return Neighbours(np.where(listed < 0, -np.inf, scores), np.where(listed < 0, -1, listed + block.start))


def _cosines(some: Block, block: Block) -> torch.Tensor:
    """Cosines float32 [q, r] of all queries with all references of a block."""
    scores = torch.from_numpy(some.rows) @ torch.from_numpy(block.rows).T
    return scores.div_(torch.from_numpy(some.lengths[:, None] * block.lengths))


def _greatest(scores: torch.Tensor, start: int, k: int) -> Neighbours:
    """The k + SPARE greatest of scores [q, r] with references numbered from `start`."""
    n = scores.shape[1]
    best = scores.topk(min(k + SPARE, n))
    values, indices = best.values.numpy(), best.indices.numpy() + start
    cut = values[:, -1] >= values[:, min(k, n) - 1] - 2 * TIE  # ties go on beyond: take those of lower index
    if indices.shape[1] < n and cut.any():
        every = np.broadcast_to(np.arange(start, start + n), (int(cut.sum()), n))
        ordered = _ordered(scores.numpy()[cut], every)
        values[cut], indices[cut] = (part[:, : k + SPARE] for part in ordered)
    return Neighbours(values, indices)


def _merge(kept: Neighbours, found: Neighbours) -> Neighbours:
    """The best of two lists, as many as `kept` has."""
    scores, indices = (np.concatenate(parts, axis=1) for parts in zip(kept, found))
    return Neighbours(*(part[:, : kept.scores.shape[1]] for part in _ordered(scores.astype(np.float32), indices)))


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
