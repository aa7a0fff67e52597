"""How strong the evidence is that a clip was copied: one p-value over all detectors, and what it can tell at all.

Each detector's score is put on one scale, by how far it lies in that detector's tail of honest clips. A clip's evidence is
the greatest sum over the detectors that name the same training clip. Detectors that hear the same are no independent
witnesses: of those the strongest counts in full, the others count half. (So chosen on one half of the recordings of
`benchmarks/audit.py`: the plain sum lost copies that only one of three sees, the maximum those that all see weakly.) That is
one number, however many detectors there are, and honest clips that set no scale calibrate it: p = (1 + honest clips at or above) / (honest clips + 1).

Sources: conformal p-values (Vovk et al. 2005; Bates et al. 2023, "Testing for outliers with conformal p-values", Annals of
Statistics 51), for which the false discovery rate of Benjamini and Hochberg (1995) holds.
"""

import math
from collections.abc import Collection
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from statsmodels.stats.multitest import multipletests

FURTHER = 0.5  # what the evidence of a further detector counts that hears the same as a stronger one


class Tail(NamedTuple):
    """A detector's scores of honest clips, as their median and the mean excess over it: the scale of an exponential tail."""

    median: float
    excess: float

    @classmethod
    def of(cls, scores: ArrayLike, least: float = 1e-3) -> "Tail":
        """`least`: of the excess, where the scores hardly differ. Raises ValueError for none, or such as are not finite."""
        scores = np.asarray(scores, np.float64)
        if not len(scores) or not np.isfinite(scores).all():
            raise ValueError(f"scores: expected finite ones, got {len(scores)} with {np.isfinite(scores).sum()} finite")
        over = scores[scores > np.median(scores)] - np.median(scores)
        return cls(float(np.median(scores)), max(least, float(over.mean()) if len(over) else 0.0))

    def evidence(self, scores: ArrayLike) -> np.ndarray:
        """-log of the share of honest clips above the median that would score so much if the tail were exponential; at
        least 0."""
        return np.maximum(0.0, (np.asarray(scores, np.float64) - self.median) / self.excess)


def combined(table: pd.DataFrame, kin: Collection[str] = ()) -> pd.DataFrame:
    """One row a clip of a table with `kind`, `clip`, `detector`, `nearest` and `evidence`: the training clip for which the
    detectors' evidence adds up to most, as `nearest`, and that sum, as `evidence`. `kin`: detectors that hear the same."""
    family = table["detector"].where(~table["detector"].isin(kin), "")
    ordered = table.assign(family=family).sort_values("evidence", ascending=False, kind="stable")
    further = ordered.duplicated(["kind", "clip", "nearest", "family"])
    ordered["evidence"] *= np.where(further, FURTHER, 1.0)
    sums = ordered.groupby(["kind", "clip", "nearest"], sort=False)["evidence"].sum().reset_index()
    best = sums.sort_values("evidence", ascending=False, kind="stable").drop_duplicates(["kind", "clip"])
    return best.reset_index(drop=True)


def p_values(scores: ArrayLike, null: ArrayLike) -> np.ndarray:
    """p = (1 + nulls at or above) / (N + 1) of each score [n], float64: at most t with probability t for a further null.

    Raises ValueError for an empty null, or NaN.
    """
    scores, null = np.asarray(scores, np.float64), np.sort(np.asarray(null, np.float64))
    if not len(null) or np.isnan(null).any() or np.isnan(scores).any():
        raise ValueError(f"null: expected numbers, got {len(null)} with NaN in {int(np.isnan(null).sum())}")
    return (1 + len(null) - np.searchsorted(null, scores, "left")) / (len(null) + 1)


def q_values(p: ArrayLike) -> np.ndarray:
    """The least rate of false discoveries at which each of some p-values [n] would be among the discoveries."""
    p = np.asarray(p, np.float64)
    return multipletests(p, method="fdr_bh")[1] if len(p) else p


def smallest_p(n_null: int) -> float:
    """What p is at best beside so many honest clips."""
    return 1 / (n_null + 1)


def honest_needed(rate: float) -> int:
    """How many honest clips a rate needs at least: the half that calibrates (C2) has 1 / rate - 1."""
    return 2 * math.ceil(round(1 / rate - 1, 9))
