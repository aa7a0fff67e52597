"""Shares with their intervals: exact binomial ones, and bootstraps over groups of clips that depend on one another.

A flag that is missing (NA, None, NaN) is undefined. It is no hit, and it is not counted in n either.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from scipy import stats
from statsmodels.stats.proportion import proportion_confint

Labels = Sequence | np.ndarray | pd.Series | pd.Index  # one a value: which group it belongs to


def _percent(share: float) -> str:
    return f"{100 * share:.1f}" if share >= 0.01 else f"{100 * share:.2g}"


@dataclass(frozen=True)
class Rate:
    """A count of n with its confidence interval; `method` says how the interval was made. NaN where n is zero."""

    count: int
    n: int
    rate: float
    low: float
    high: float
    method: str
    confidence: float = 0.95

    def __str__(self) -> str:
        if self.n == 0:
            return "undefined"
        if self.count == 0:
            return f"0 of {self.n} (at most {_percent(self.high)} %)"
        interval = f"{_percent(self.low)} to {_percent(self.high)} %"
        return f"{self.count} of {self.n} ({_percent(self.rate)} %, {100 * self.confidence:g} % interval {interval})"


def interval_columns(name: str, rate: Rate | None, value: str = "") -> dict[str, float | None]:
    """A rate and its interval as columns, `name`_low and `name`_high; `value` is the rate's own, where that is not `name`."""
    return {
        value or name: getattr(rate, "rate", None),
        f"{name}_low": getattr(rate, "low", None),
        f"{name}_high": getattr(rate, "high", None),
    }


def exact_interval(count: float, n: int, confidence: float = 0.95) -> tuple[float, float]:
    """The exact binomial interval of a share (Clopper and Pearson 1934, statsmodels)."""
    low, high = proportion_confint(count, n, alpha=1 - confidence, method="beta")
    return float(low), float(high)


def flagged_rate(flags: ArrayLike, confidence: float = 0.95) -> Rate:
    """Share of True with its `exact_interval`: flags bool [N], or nullable.

    It treats queries as independent, so it speaks of further queries *given this model*. Raises ValueError if empty.
    """
    hits, defined = _defined(flags)
    if len(defined) == 0:
        raise ValueError("flags: expected at least one query, got none")
    count, n = int(hits.sum()), len(hits)
    if n == 0:
        return Rate(0, 0, math.nan, math.nan, math.nan, "undefined", confidence)
    limits = exact_interval(count, n, confidence)
    return Rate(count, n, count / n, *limits, "exact binomial, given this model", confidence)


def _defined(flags: ArrayLike) -> tuple[np.ndarray, np.ndarray]:
    """The flags that are not missing, bool [n], and which of all these are, bool [N]."""
    values = np.asarray(flags, dtype=object)
    defined = pd.notna(values)
    return values[defined].astype(bool), defined


def cluster_bootstrap(
    values: ArrayLike,
    groups: Labels,
    statistic: Callable[[np.ndarray], float],
    n: int = 1000,
    confidence: float = 0.95,
    seed: int = 0,
) -> tuple[float, float]:
    """Percentile interval of `statistic(values)` when whole groups are drawn anew (scipy's bootstrap over groups).

    values [N, ...], groups [N]; `statistic` takes the values of one resample and returns a number. With a single group
    there is nothing to resample and both limits are NaN. Raises ValueError for another number of groups than of values.
    """
    values = np.asarray(values)
    if len(values) != len(groups):
        raise ValueError(f"groups: expected {len(values)} labels, one a value, got {len(groups)}")
    _, labels, sizes = np.unique(np.asarray(groups), return_inverse=True, return_counts=True)
    if len(sizes) < 2:
        return math.nan, math.nan
    members = np.split(np.argsort(labels, kind="stable"), np.cumsum(sizes)[:-1])
    result = stats.bootstrap(
        (np.arange(len(sizes)),),
        lambda drawn: statistic(values[np.concatenate([members[group] for group in drawn])]),
        n_resamples=n,
        confidence_level=confidence,
        method="percentile",
        vectorized=False,
        rng=np.random.default_rng(seed),
    )
    return float(result.confidence_interval.low), float(result.confidence_interval.high)


def clustered_rate(flags: ArrayLike, groups: Labels, n: int = 1000, confidence: float = 0.95, seed: int = 0) -> Rate:
    """Share of True with a bootstrap interval over groups: flags bool [N], or nullable; groups [N].

    Where all flags agree a bootstrap has no spread, so the interval is the exact binomial one of as many trials as there
    are groups: a count of zero keeps an upper bound. With hits in one or two groups only, the bootstrap cannot see beyond
    these and its limits are too near. NaN limits with a single group. Raises ValueError if empty, or for another number
    of groups than flags.
    """
    whole, (flagged, defined) = flagged_rate(flags, confidence), _defined(flags)
    if len(groups) != len(defined):
        raise ValueError(f"groups: expected {len(defined)} labels, one a flag, got {len(groups)}")
    if whole.n == 0:
        return whole
    groups = np.asarray(groups)[defined]
    clusters = len(np.unique(groups))
    if clusters >= 2 and whole.count in (0, whole.n):
        limits = exact_interval(clusters * whole.rate, clusters, confidence)
        return Rate(whole.count, whole.n, whole.rate, *limits, "exact binomial over groups", confidence)
    if clusters < 2:
        low = high = math.nan
    else:
        labels = np.unique(groups, return_inverse=True)[1]
        hits, sizes = np.bincount(labels, flagged.astype(float)), np.bincount(labels)
        result = stats.bootstrap(
            (np.arange(clusters),),
            lambda drawn, axis: hits[drawn].sum(axis) / sizes[drawn].sum(axis),
            n_resamples=n,
            batch=max(1, 2**22 // clusters),
            confidence_level=confidence,
            method="percentile",
            rng=np.random.default_rng(seed),
        )
        low, high = map(float, result.confidence_interval)
    return Rate(whole.count, whole.n, whole.rate, low, high, "bootstrap over groups", confidence)
