"""The rule for a replicated clip: where it lies between null and ceiling, and whether its match is its own clip."""

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from sklearn.metrics import precision_recall_curve

from helpers.copies.rates import Labels

MIN_SPAN = 0.01  # cosine between null and ceiling, below which the two cannot be told apart


def position(scores: np.ndarray, own_roundtrip: np.ndarray, median_twin, min_span: float = MIN_SPAN) -> np.ndarray:
    """Where scores lie between null and ceiling: `(s - median twin) / (s_own round trip - median twin)`, float64.

    0 is a typical twin, 1 what a perfect replay of the own clip reaches through codec and vocoder; the three broadcast.
    NaN where the span is below `min_span` (cosine), as null and ceiling then cannot be told apart. Raises ValueError for
    shapes that do not broadcast.
    """
    span = np.asarray(own_roundtrip, dtype=np.float64) - median_twin
    above = np.asarray(scores, dtype=np.float64) - median_twin
    return np.divide(above, span, out=np.full(np.broadcast(above, span).shape, np.nan), where=span >= min_span)


def own_positions(own_scores: ArrayLike, own_ids: Labels, ceiling: pd.Series, null: pd.Series) -> np.ndarray:
    """`position` of queries by their similarity to their own clips [Q], where all runs were searched in one gallery.

    Between the median of `null`, the own scores of the nulls of all runs, and the own clip's `ceiling`, by clip_id. NaN for
    a clip without an own one, too.
    """
    return position(np.asarray(own_scores), ceiling.reindex(np.asarray(own_ids)).to_numpy(), float(null.median()))


def near_exact(p: np.ndarray, theta: float) -> pd.arrays.BooleanArray:
    """Near-exact by rule: `p >= theta` of positions [Q], nullable bool [Q]; NA where a position is undefined (NaN).

    Such a clip is neither near-exact nor spared: rates leave it out of their denominator (`copies.rates`).
    """
    p = np.asarray(p)
    return pd.arrays.BooleanArray(p >= theta, np.isnan(p))


def choose_theta(positives: np.ndarray, negatives: np.ndarray, precision: float = 0.95) -> float | None:
    """The lowest theta at which the rule `p >= theta` has the wished precision on positions of known kind; else None.

    Lowest, so that recall is greatest. Precision depends on how many of each kind there are: give equal numbers to read
    it as "a copy or a twin, equally likely beforehand". NaN positions are never flagged and so left out.
    """
    p = np.concatenate([positives, negatives]).astype(np.float64)
    truth = np.repeat([1, 0], [len(positives), len(negatives)])[~np.isnan(p)]
    reached, _, thetas = precision_recall_curve(truth, p[~np.isnan(p)])
    good = thetas[reached[:-1] >= precision]
    return float(good.min()) if good.size else None


def own_clip_top1(ref_ids: Labels, own_ids: Labels, cluster_of: dict | None = None) -> np.ndarray:
    """Whether each query's nearest training clip is the one that gave the prompt: bool [Q] from clip ids [Q] and [Q].

    `cluster_of` maps clip ids to duplicate clusters: any clip of the own cluster counts. The rate of this is not a rate
    of copying: prompt-following and shared beds raise it, so it is read beside the same rate of the twins. Raises
    ValueError for another number of own_ids than of ref_ids.
    """
    if len(ref_ids) != len(own_ids):
        raise ValueError(f"own_ids: expected {len(ref_ids)} as ref_ids, got {len(own_ids)}")
    merged = cluster_of or {}
    return np.array([merged.get(a, a) == merged.get(b, b) for a, b in zip(ref_ids, own_ids)], dtype=bool)
