"""Exact search at the paper's size: every clip of 45,000 against all, 65,536 dimensions, a 16-bit file on disk.

The log-mels are mixed from real ones: two clips' bands added in power, the second moved in time and at another level.
Not part of `make bench`: it takes a while and 6 GB of disk.
"""

import resource
import time

import numpy as np
from sounds import log_mels
from timing import WORK, options, row, write

from helpers.base.mapped import create, forget
from helpers.base.progress import progress
from helpers.copies.search import top_k

K, FRAMES, BANDS, CHECKED = 10, 1024, 64, 16


def mixed(n: int) -> np.ndarray:
    """A file of `n` log-mels float16 [n, 65,536], each mixed from eight clips of 4 s."""
    path = WORK / f"mixed_{n}.npy"
    if not path.is_file():
        source, rng = log_mels(2000), np.random.default_rng(0)
        rows = create(path.with_suffix(".part"), np.float16, (n, FRAMES * BANDS))
        for index in progress(range(n), desc="mixing log-mels", unit="clip"):
            pair = []
            for level in (0.0, rng.uniform(-3, 0)):
                parts = source[np.sort(rng.choice(len(source), 4, replace=False))]
                pair.append(np.roll(parts.reshape(FRAMES, BANDS), rng.integers(FRAMES), axis=0) + level)
            rows[index] = (0.5 * np.logaddexp(2 * pair[0], 2 * pair[1])).astype(np.float16).reshape(-1)
            if index % 1024 == 0:
                forget(rows)  # else the peak would be that of this file's pages, not of the search
        rows.flush()
        path.with_suffix(".part").rename(path)
    return np.load(path, mmap_mode="r")


def main():
    """One run, its peak memory, and a check of some queries against float64."""
    chosen = options(__doc__, n=45_000)
    rows = mixed(chosen.n)
    start = time.perf_counter()
    found = top_k(rows, rows, K)
    seconds = time.perf_counter() - start
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 2**20  # Linux counts in KiB
    some = np.linspace(0, chosen.n - 1, CHECKED).astype(int)
    queries = rows[some].astype(np.float64)
    queries /= np.linalg.norm(queries, axis=1, keepdims=True)
    scores = np.empty((CHECKED, chosen.n))
    for first in range(0, chosen.n, 500):
        part = rows[first : first + 500].astype(np.float64)
        scores[:, first : first + 500] = queries @ (part / np.linalg.norm(part, axis=1, keepdims=True)).T
    order = np.argsort(-scores, axis=1)[:, :K]
    error = np.abs(found.scores[some] - np.take_along_axis(scores, order, axis=1)).max()
    detail = (
        f"peak {peak:.1f} GiB; {CHECKED} queries against float64: neighbours equal "
        f"{(found.indices[some] == order).mean():.1%}, scores within {error:.1g}"
    )
    name = f"exact search on disk, {chosen.n:,} x {chosen.n:,} x {FRAMES * BANDS:,}, float16"
    write([row(name, seconds, detail=detail, packages=["faiss-cpu"])], chosen.out)


if __name__ == "__main__":
    main()
