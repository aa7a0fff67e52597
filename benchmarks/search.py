"""Exact search: the ten nearest of n log-mels for n queries, beside faiss' flat index; and how the cost grows with n."""

from functools import partial

import faiss
import numpy as np
from sounds import log_mels
from timing import compare, options, write

from helpers.copies.search import top_k

K = 10


def textbook(queries: np.ndarray, references: np.ndarray):
    """As faiss' documentation shows it. The data stay as they are, so normalised copies are made."""
    references, queries = references.copy(), queries.copy()
    faiss.normalize_L2(references)
    faiss.normalize_L2(queries)
    index = faiss.IndexFlatIP(references.shape[1])
    index.add(references)
    return index.search(queries, K)


def tuned(queries: np.ndarray, references: np.ndarray):
    """Normalised in place and searched where they lie: nothing is copied."""
    faiss.normalize_L2(references)
    faiss.normalize_L2(queries)
    return faiss.knn(queries, references, K, metric=faiss.METRIC_INNER_PRODUCT)


def main():
    """n = 5,000, and smaller n for the curve. `--filter codes` or `faiss` forces what otherwise the CPU decides."""
    chosen = options(__doc__, n=5000, filter="auto")
    ours = partial(top_k, codes={"auto": None, "codes": True, "faiss": False}[chosen.filter])
    mels, rows = log_mels(2 * chosen.n), []
    for n in sorted({max(K, chosen.n // 10), max(K, chosen.n // 5), chosen.n // 2, chosen.n}):
        references, queries = (np.array(part.reshape(n, -1)) for part in (mels[:n], mels[chosen.n : chosen.n + n]))
        found, (scores, indices) = ours(queries, references, K), textbook(queries, references)
        detail = f"same neighbours as faiss: {(found.indices == indices).mean():.2%}; scores within "
        detail += f"{np.abs(found.scores - scores).max():.1g}"
        peers = {
            "faiss IndexFlatIP, textbook": partial(textbook, queries, references),
            "faiss knn in place, tuned": partial(tuned, queries.copy(), references.copy()),
        }
        name = f"exact search, {n:,} x {n:,} x {references.shape[1]:,}"
        name += "" if chosen.filter == "auto" else f", {chosen.filter} forced"
        rows += compare(name, partial(ours, queries, references, K), peers, chosen.runs, detail, ["faiss-cpu"])
    write(rows, chosen.out)


if __name__ == "__main__":
    main()
