"""How well a detector finds altered copies: AUROC, average precision, true-positive rate at a false-positive rate.

References are the training clips. A positive query is an altered copy of a training clip, a negative query a held-out
clip with the same alteration; the score of either is its greatest cosine over all references. As in SSCD's metrics
(Pizzi et al. 2022), ties are ordered against the detector: a positive that only equals a negative counts as below it.
"""

import math

import numpy as np
import pandas as pd
from sklearn.metrics import average_precision_score, roc_auc_score, roc_curve

from helpers.copies.rates import Labels, exact_interval

COLUMNS = (  # of alterations.csv
    *("detector", "transform", "strength", "split", "n_pos", "n_neg"),
    *("auroc", "auroc_low", "auroc_high", "average_precision", "tpr_at_fpr_1pct"),
)


def _worst_case(pos: np.ndarray, neg: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Truth, ranks without ties (each negative above the positives it equals), and the score at each rank."""
    scores = np.concatenate([pos, neg])
    if not len(pos) or not len(neg) or np.isnan(scores).any():
        raise ValueError(
            f"scores: expected numbers, at least one positive and one negative, got {len(pos)} and {len(neg)}"
            f" with {int(np.isnan(scores).sum())} NaN"
        )
    truth = np.repeat([1, 0], [len(pos), len(neg)])
    order = np.lexsort((1 - truth, scores))
    ranks = np.empty(len(scores), dtype=np.int64)
    ranks[order] = np.arange(len(scores))
    return truth, ranks, scores[order]


def tpr_at_fpr(pos: np.ndarray, neg: np.ndarray, fpr: float = 0.01) -> float | None:
    """Share of positives above all but `fpr` of the negatives; None with fewer than 1/fpr negatives: unattainable."""
    allowed = math.floor(len(neg) * fpr + 1e-9)
    if allowed < 1:
        return None
    return float(np.mean(np.asarray(pos) > np.sort(neg)[len(neg) - allowed - 1]))


def roc_points(pos: np.ndarray, neg: np.ndarray) -> pd.DataFrame:
    """The ROC curve of positive scores [P] and negative scores [N]: columns fpr, tpr, threshold (inf at the start).

    Raises ValueError for no score on a side, or NaN.
    """
    truth, ranks, scores = _worst_case(np.asarray(pos), np.asarray(neg))
    fpr, tpr, cut = roc_curve(truth, ranks)
    threshold = np.where(np.isinf(cut), np.inf, scores[np.where(np.isinf(cut), 0, cut).astype(np.int64)])
    return pd.DataFrame({"fpr": fpr, "tpr": tpr, "threshold": threshold})


def _check_labels(**sides: tuple[Labels, np.ndarray]) -> None:
    """Raises ValueError for another number of labels than of scores."""
    for name, (labels, scores) in sides.items():
        if len(labels) != len(scores):
            raise ValueError(f"{name}: expected {len(scores)} labels, one a score, got {len(labels)}")


def resampled_aurocs(
    pos: np.ndarray,
    neg: np.ndarray,
    pos_kinds: Labels,
    pos_groups: Labels,
    neg_groups: Labels,
    n_bootstrap: int = 1000,
    seed: int = 0,
) -> np.ndarray:
    """AUROCs [n_bootstrap] of a two-way bootstrap: kinds of alteration, and groups of clips, are drawn anew at once.

    A positive counts as often as its kind times its group was drawn, a negative as often as its group; groups that both
    sides share (source groups) are drawn once for both. So an interval speaks of other alterations and other sounds
    (Owen and Eckles 2012, arXiv:1106.2125). Two detectors that scored the same clips get the same draws: take the
    difference draw by draw. NaN where a draw leaves a side empty. Raises ValueError for another number of labels than of
    scores.
    """
    _check_labels(pos_kinds=(pos_kinds, pos), pos_groups=(pos_groups, pos), neg_groups=(neg_groups, neg))
    kinds = np.unique(np.asarray(pos_kinds), return_inverse=True)[1]
    groups = np.unique(np.concatenate([np.asarray(pos_groups), np.asarray(neg_groups)]), return_inverse=True)[1]
    rng = np.random.default_rng(seed)
    of_kind, of_group = (
        rng.multinomial(count, np.full(count, 1 / count), n_bootstrap).astype(np.float32)
        for count in (kinds.max() + 1, groups.max() + 1)
    )
    pos_weight, neg_weight = of_kind[:, kinds] * of_group[:, groups[: len(pos)]], of_group[:, groups[len(pos) :]]
    wins = (np.asarray(pos)[:, None] > np.asarray(neg)[None, :]).astype(np.float32)
    total = pos_weight.sum(axis=1, dtype=np.float64) * neg_weight.sum(axis=1, dtype=np.float64)
    won = ((pos_weight @ wins) * neg_weight).sum(axis=1, dtype=np.float64)
    return np.divide(won, total, out=np.full(n_bootstrap, np.nan), where=total > 0)


def _group_sums(wins: np.ndarray, pos_labels: np.ndarray, neg_labels: np.ndarray) -> np.ndarray:
    """Won pairs [P, N] summed to pairs of groups [groups of positives, groups of negatives]."""
    sums = np.zeros((pos_labels.max() + 1, wins.shape[1]))
    np.add.at(sums, pos_labels, wins)
    totals = np.zeros((neg_labels.max() + 1, len(sums)))
    np.add.at(totals, neg_labels, sums.T)
    return totals.T


def auroc_interval(
    pos: np.ndarray,
    neg: np.ndarray,
    pos_groups: Labels,
    neg_groups: Labels,
    confidence: float = 0.95,
    n_bootstrap: int = 1000,
    seed: int = 0,
) -> tuple[float, float]:
    """Percentile bootstrap interval of the AUROC over groups, positives' and negatives' drawn separately.

    An AUROC of 1 or 0 has no bootstrap spread: the interval is then the exact binomial one of the independent pairs that
    all came out alike, as many as the smaller side has groups. NaN limits with a single group on a side. Raises ValueError
    for another number of groups than of scores.
    """
    _check_labels(pos_groups=(pos_groups, pos), neg_groups=(neg_groups, neg))
    _, pos_labels, pos_sizes = np.unique(np.asarray(pos_groups), return_inverse=True, return_counts=True)
    _, neg_labels, neg_sizes = np.unique(np.asarray(neg_groups), return_inverse=True, return_counts=True)
    pairs = min(len(pos_sizes), len(neg_sizes))
    if pairs < 2:
        return math.nan, math.nan
    wins = np.asarray(pos)[:, None] > np.asarray(neg)[None, :]
    if wins.all() or not wins.any():
        return exact_interval(pairs * bool(wins.all()), pairs, confidence)
    # The AUROC is a ratio of sums over pairs of groups, so all resamples are two matrix products (scikit-learn's
    # function in a loop of a thousand takes a thousand times as long).
    rng = np.random.default_rng(seed)
    draw = [rng.multinomial(len(s), np.full(len(s), 1 / len(s)), n_bootstrap) for s in (pos_sizes, neg_sizes)]
    won = ((draw[0] @ _group_sums(wins, pos_labels, neg_labels)) * draw[1]).sum(axis=1)
    resampled = won / ((draw[0] @ pos_sizes) * (draw[1] @ neg_sizes))
    low, high = np.quantile(resampled, [(1 - confidence) / 2, (1 + confidence) / 2])
    return float(low), float(high)


def detection_row(
    detector: str,
    transform: str,
    strength: float,
    split: str,
    pos_scores: np.ndarray,
    neg_scores: np.ndarray,
    pos_groups: Labels,
    neg_groups: Labels,
    confidence: float = 0.95,
    n_bootstrap: int = 1000,
    seed: int = 0,
) -> dict:
    """One row of alterations.csv (`COLUMNS`) from greatest cosines [P] of copies and [N] of held-out clips.

    Groups are the units of each side that the interval draws anew (source groups, or clips). Average precision
    depends on n_pos / n_neg, so rows compare only at the same numbers. `tpr_at_fpr_1pct` is None below 100 negatives.
    Raises ValueError for no score on a side, NaN, or another number of groups than of scores.
    """
    pos, neg = np.asarray(pos_scores), np.asarray(neg_scores)
    truth, ranks, _ = _worst_case(pos, neg)
    low, high = auroc_interval(pos, neg, pos_groups, neg_groups, confidence, n_bootstrap, seed)
    values = (detector, transform, strength, split, len(pos), len(neg), float(roc_auc_score(truth, ranks)), low, high)
    precision = float(average_precision_score(truth, ranks))
    return dict(zip(COLUMNS, (*values, precision, tpr_at_fpr(pos, neg)), strict=True))
