"""Shift-aligned search beside the unaligned one, and beside an exact search at each shift."""

import numpy as np
from sounds import log_mels
from timing import compare, options, write

from helpers.copies.search import top_k
from helpers.copies.shifted import top_aligned

K, MAX_SHIFT = 10, 31  # frames of 16 ms: half a second either way


def every_shift(queries: np.ndarray, references: np.ndarray) -> np.ndarray:
    """Indices of the nearest reference at the best shift, one exact search a shift (frames moved out are lost)."""
    best, nearest = np.full(len(queries), -np.inf, np.float32), np.zeros(len(queries), np.int64)
    frames = queries.shape[1]
    for shift in range(-MAX_SHIFT, MAX_SHIFT + 1):
        moved = np.zeros_like(queries)
        moved[:, max(0, -shift) : frames - max(0, shift)] = queries[:, max(0, shift) : frames - max(0, -shift)]
        found = top_k(moved.reshape(len(moved), -1), references.reshape(len(references), -1), 1)
        better = found.scores[:, 0] > best
        best[better], nearest[better] = found.scores[better, 0], found.indices[better, 0]
    return nearest


def main():
    """n = 5,000 against the plain search; n = 500 against a search at every shift; recall of the candidates."""
    chosen = options(__doc__, n=5000)
    n, few = chosen.n, max(64, chosen.n // 10)
    mels = np.array(log_mels(2 * n))
    mels -= mels[:n].mean(axis=(0, 1))
    references, queries = mels[:n], mels[n:]
    every = top_aligned(queries[:few], references, 1, MAX_SHIFT, candidates=n)
    some = top_aligned(queries[:few], references, 1, MAX_SHIFT)
    moved = np.roll(references[:few], 20, axis=1)
    copies = top_aligned(moved, references, 1, MAX_SHIFT)[1][:, 0] == np.arange(few)
    detail = (
        f"32 candidates: best of all {n:,} found for {(every[1] == some[1]).mean():.1%} of {few} clips, "
        f"of copies 0.32 s later {copies.mean():.1%}"
    )
    rows = compare(
        f"shift-aligned search, {n:,} x {n:,}",
        lambda: top_aligned(queries, references, K, MAX_SHIFT),
        {"unaligned exact search": lambda: top_k(queries.reshape(n, -1), references.reshape(n, -1), K)},
        chosen.runs, detail, ["scipy", "numba"],
    )  # fmt: skip
    rows += compare(
        f"shift-aligned search, {few:,} x {few:,}",
        lambda: top_aligned(queries[:few], references[:few], 1, MAX_SHIFT),
        {"exact search at each of 63 shifts": lambda: every_shift(queries[:few], references[:few])},
        chosen.runs, packages=["scipy", "numba"],
    )  # fmt: skip
    write(rows, chosen.out)


if __name__ == "__main__":
    main()
