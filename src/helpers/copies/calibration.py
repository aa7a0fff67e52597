"""Calibrated thresholds: which scores are flagged at a stated false-positive rate.

A threshold comes with a false-positive rate. The finite-sample rule is split conformal calibration (Vovk et al. 2005;
Angelopoulos and Bates 2021, arXiv:2107.07511): it holds for any score distribution, if a null score to come is
exchangeable with those that set the threshold. What cannot be attained is None, never a made-up number.
"""

import math
from collections.abc import Sequence
from fractions import Fraction

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from sklearn.metrics import roc_auc_score

from helpers.copies.bias import normalised_scores
from helpers.copies.rates import Labels, flagged_rate, interval_columns

PARTS = ("C1", "C2", "C3")  # beta and K are chosen on C1, the threshold on C2, the rate is verified on C3
SHARES = (0.25, 0.5, 0.25)  # of the items, for each part
COMMON = "_common"  # after a null's name: the threshold of the largest training size, applied at each size
SWEEP_COLUMNS = (
    *("beta", "k", "tau", "flagged", "n", "flagged_rate", "ci_low", "ci_high"),
    *("fpr_check", "fpr_check_low", "fpr_check_high"),
)


def calibrate_threshold(null_scores: ArrayLike, fpr: float) -> float | None:
    """The threshold tau at which a null query is flagged, `score >= tau`, with probability at most `fpr`.

    Of m null scores [m] let c be the ceil((m + 1)(1 - fpr))-th smallest. A further exchangeable null score exceeds c with
    probability at most fpr, ties or not; so tau is the least float32 above c. (On the float32 grid: a float32 score
    compared with a float64 tau would be compared in float32, and a tie with c would pass.) None if m < 1/fpr - 1: no
    threshold has the guarantee. The guarantee is on average over calibration sets, and asks one score per independent
    unit. Raises ValueError for a NaN score or an fpr outside 0..1.
    """
    scores = np.sort(np.asarray(null_scores, dtype=np.float64).ravel())
    if not 0 < fpr < 1:
        raise ValueError(f"fpr: expected a rate between 0 and 1, got {fpr}")
    if np.isnan(scores).any():
        raise ValueError(f"null_scores: expected numbers, got NaN in {int(np.isnan(scores).sum())} of {len(scores)}")
    above = n_above(len(scores), fpr)
    if above < 1:
        return None
    quantile = scores[len(scores) - above]
    tau = np.float32(quantile)
    return float(tau if tau > quantile else np.nextafter(tau, np.float32(np.inf)))


def n_above(n: int, fpr: float) -> int:
    """How many of n null scores lie at or above the quantile that tau exceeds; 0 where the rate is unattainable."""
    # As exact decimals: 1000 * (1 - 0.01) in floats may land just above 990.
    return math.floor((n + 1) * Fraction(str(float(fpr))))


def flag(scores: ArrayLike, tau: float | None) -> np.ndarray:
    """Which scores reach the threshold: bool of the shape of `scores`, `score >= tau`. The only place of this comparison.

    Raises ValueError for a tau that is None or NaN: the rate was unattainable, so nothing can be called flagged or not.
    """
    if tau is None or math.isnan(tau):
        raise ValueError("tau: expected a number, got none: the false-positive rate was unattainable")
    return np.asarray(scores, dtype=np.float64) >= tau


def split_calibration(groups: Labels, seed: int) -> np.ndarray:
    """Assigns items to the parts "C1", "C2", "C3" so that no group is in two: groups [N] gives str [N].

    Groups (source components, or clip ids) come in random order; each goes to the part that lacks most of its share of
    items (SHARES). With a few large groups these cannot be met: look at the counts. Raises ValueError below three groups.
    """
    _, labels, sizes = np.unique(np.asarray(groups), return_inverse=True, return_counts=True)
    if len(sizes) < len(PARTS):
        raise ValueError(f"groups: expected at least {len(PARTS)} distinct groups to split, got {len(sizes)}")
    target = np.asarray(SHARES) * len(labels)
    filled = np.zeros(len(PARTS))
    part_of = np.empty(len(sizes), dtype=np.int64)
    for group in np.random.default_rng(seed).permutation(len(sizes)):
        part_of[group] = np.argmax((target - filled) / target)
        filled[part_of[group]] += sizes[group]
    return np.asarray(PARTS)[part_of[labels]]


def choose_beta_k(
    positive_scores: np.ndarray,
    positive_background: np.ndarray,
    null_scores: np.ndarray,
    null_background: np.ndarray,
    betas: Sequence[float],
    ks: Sequence[int],
) -> tuple[float, int, pd.DataFrame]:
    """The (beta, K) that best separate known copies from the null on part C1, and the table of all (beta, k, auroc).

    Scores [Q], backgrounds [Q, K] descending. Best is the greatest AUROC; among equals the smallest beta, then the
    smallest K, so that no normalisation is preferred where it gains nothing. Raises ValueError as `normalised_scores` does.
    """
    rows = []
    for beta in sorted(betas):
        for k in sorted(ks):
            positive = normalised_scores(positive_scores, positive_background, beta, k)
            null = normalised_scores(null_scores, null_background, beta, k)
            truth = np.repeat([1, 0], [len(positive), len(null)])
            rows.append({"beta": beta, "k": k, "auroc": float(roc_auc_score(truth, np.concatenate([positive, null])))})
    table = pd.DataFrame(rows)
    best = table.loc[table.auroc >= table.auroc.max() - 1e-9].iloc[0]
    return float(best.beta), int(best.k), table


def sweep(
    query_scores: np.ndarray,
    query_background: np.ndarray,
    null_scores: np.ndarray,
    null_background: np.ndarray,
    betas: Sequence[float],
    ks: Sequence[int],
    fpr: float,
    check: tuple[np.ndarray, np.ndarray] | None = None,
    confidence: float = 0.95,
) -> pd.DataFrame:
    """What every (beta, K) would flag, each at its own threshold calibrated on the null scores (part C2).

    Scores [Q], backgrounds [Q, K] descending. Columns: beta, k, tau, flagged, n, flagged_rate, ci_low, ci_high (exact
    binomial), fpr_check, fpr_check_low, fpr_check_high (the rate on `check`, the null scores and background of part C3,
    where given). NaN where the rate is unattainable. Raises ValueError as `normalised_scores`, `calibrate_threshold` and
    `flagged_rate` do.
    """
    rows = []
    for beta in betas:
        for k in ks:
            tau = calibrate_threshold(normalised_scores(null_scores, null_background, beta, k), fpr)
            row: dict = {"beta": beta, "k": k, "tau": math.nan if tau is None else tau, "n": len(query_scores)}
            if tau is not None:
                flags = flag(normalised_scores(query_scores, query_background, beta, k), tau)
                rate = flagged_rate(flags, confidence)
                row |= {"flagged": rate.count} | interval_columns("ci", rate, "flagged_rate")
                if check:
                    rate = flagged_rate(flag(normalised_scores(*check, beta, k), tau), confidence)
                    row |= interval_columns("fpr_check", rate)
            rows.append(row)
    return pd.DataFrame(rows, columns=SWEEP_COLUMNS)
