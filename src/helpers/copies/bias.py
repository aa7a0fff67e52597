"""The background-normalised score of retrieval, and the centring of log-mels.

The score follows the copy-detection literature: `s(q, r) - beta * bias(q)`, where `bias(q)` is the mean similarity of q
to its K nearest items of a background set (score normalisation of the DISC21 challenge, Douze et al. 2021,
arXiv:2106.09672, and of SSCD, Pizzi et al. 2022, arXiv:2202.10261). Bralios et al. (2024, arXiv:2310.10604) use such a
bias for audio; its form there is inferred from the patent application US 2025/0124944 A1 (pending when last seen).
"""

import numpy as np


def bias(background_scores: np.ndarray, k: int) -> np.ndarray:
    """`bias(q)`: mean of each query's k greatest background scores; [Q, K] with rows descending gives float64 [Q].

    The background must be disjoint from the training clips: a copy in it would hide true copies. Raises ValueError for
    k outside 1..K or a row that is not descending (as `search.top_k` returns them).
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
    reference is nearest, only which queries pass a threshold common to all. Raises ValueError for different numbers of
    queries, and as `bias` does. Source: see the module's first lines.
    """
    if len(scores) != len(background_scores):
        raise ValueError(f"background_scores: expected {len(scores)} rows, one a query, got {len(background_scores)}")
    shift = beta * bias(background_scores, k)
    return np.asarray(scores, dtype=np.float64) - shift.reshape(-1, *[1] * (np.ndim(scores) - 1))


def centre(features: np.ndarray, mean: np.ndarray) -> np.ndarray:
    """Features [N, ...] less a mean of the trailing axes, float32 of the same shape.

    For the centred log-mel: without it, the cosine of two log-mels is dominated by the average spectrum that all clips
    share. The mean (log magnitude, nats) is that of the training references, so queries and null are treated alike. Raises
    ValueError unless the mean's shape is that of one or more trailing axes, but not of all.
    """
    mean = np.asarray(mean)
    if mean.ndim == 0 or features.shape[-mean.ndim :] != mean.shape or mean.ndim >= features.ndim:
        raise ValueError(f"mean: expected the trailing axes of features {features.shape}, got {mean.shape}")
    return (features - mean).astype(np.float32)
