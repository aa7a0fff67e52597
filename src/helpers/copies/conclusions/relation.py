"""How the onset of copying grows with the training set: the scaling relation `updates = c * n**a` through onsets of several sizes.

Bonnaire et al. (2025) found a = 1 for images: linear in n.

Notebooks: 07_findings, 08_onset.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import stats
from statsmodels.regression.linear_model import OLS, WLS
from statsmodels.tools.tools import add_constant

LAW_COLUMNS = (
    *("measure", "level", "exponent", "exponent_low", "exponent_high", "leave_one_out_low", "leave_one_out_high"),
    *("sizes_fitted", "n_predicted", "predicted_updates", "predicted_low", "predicted_high"),
    *("observed_updates", "verdict"),
)
LEAST_SPREAD, MOST_STEPS = 1e-3, 1000  # of log onsets about the line; of expectation and maximisation
MOST_WIDE = 2  # a prediction whose interval is wider than this factor is not supported by a hit


@dataclass(frozen=True)
class ScalingRelation:
    """`updates = c * n**exponent`, fitted in logarithms; `predict` gives one further run's onset.

    `params` (log c, exponent) [2] with their covariance [2, 2]; `variance` of one run's log onset about the line; `df` of
    Student's t; `sizes` fitted.
    """

    params: np.ndarray
    covariance: np.ndarray
    variance: float
    df: int
    sizes: tuple[int, ...]
    confidence: float = 0.95

    @property
    def exponent(self) -> float:
        return float(self.params[1])

    @property
    def interval(self) -> tuple[float, float]:
        """Of the exponent."""
        margin = self._quantile * math.sqrt(self.covariance[1, 1])
        return self.exponent - margin, self.exponent + margin

    @property
    def _quantile(self) -> float:
        return float(stats.t.ppf((1 + self.confidence) / 2, self.df))

    def predict(self, n_train: float) -> tuple[float, float, float]:
        """The onset expected of one further run on n_train clips, and its prediction interval."""
        at = np.array([1.0, math.log(n_train)])
        expected = float(at @ self.params)
        margin = self._quantile * math.sqrt(at @ self.covariance @ at + self.variance)
        return math.exp(expected), math.exp(expected - margin), math.exp(expected + margin)


def fit_sizes(onsets: pd.DataFrame, confidence: float = 0.95) -> ScalingRelation:
    """The scaling relation through the mean log onset of each size: a table of runs n_train, updates, trained_to, censored.

    The limits are Student's t with (sizes - 2) degrees of freedom, as runs of one size share that size's luck. A mean
    weighs as many runs as it is of, so that `predict` speaks of one further run. A run that has no onset enters as a value
    above its `trained_to` (`_expected`). Two sizes leave no degree of freedom to their means, so every
    run is a point there, and the luck that a size's runs share is not in the limits.
    Raises ValueError below two sizes with an onset.
    """
    n_train, censored = onsets["n_train"].to_numpy(), onsets["censored"].to_numpy(bool)
    sizes, reached = np.unique(n_train), np.unique(n_train[~censored])
    if len(reached) < 2:
        raise ValueError(f"onsets: expected some of at least two sizes, got those of {reached.tolist()}")
    at = np.log(onsets["updates"].where(~censored, onsets["trained_to"]).to_numpy(np.float64))
    logs, variances, information = _expected(np.log(n_train.astype(np.float64)), at, censored)
    runs = pd.DataFrame({
        "size": n_train if len(sizes) > 2 else np.arange(len(onsets)), "n_train": n_train.astype(np.float64), "log": logs,
        "variance": variances, "information": information, "runs": 1,
    })  # fmt: skip
    points = runs.groupby("size").agg(
        {"n_train": "first", "log": "mean", "variance": "sum", "information": "sum", "runs": "sum"}
    )
    x, weights, df = add_constant(np.log(points["n_train"].to_numpy())), points["runs"].to_numpy(), len(points) - 2
    params = WLS(points["log"].to_numpy(), x, weights).fit().params
    off = (points["log"].to_numpy() - x @ params) ** 2 + (points["variance"] / points["runs"] ** 2).to_numpy()
    variance = float((weights * off).sum() / df)
    covariance = variance * np.linalg.inv(x.T @ (points["information"].to_numpy()[:, None] * x))
    return ScalingRelation(params, covariance, variance, df, tuple(map(int, sizes)), confidence)


def _expected(x: np.ndarray, at: np.ndarray, censored: np.ndarray) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """For each run at log size x [N] its log onset, as the line expects it where only a lower bound `at` is known; that
    value's variance, 0 where it is known; and what share of a known onset's information it has, 1 where it is known.

    The line is that of greatest likelihood (Tobin 1958), found by expectation and maximisation (Dempster et al. 1977).
    """
    logs, variance, spread = at.copy(), np.zeros(len(at)), LEAST_SPREAD
    for _ in range(MOST_STEPS if censored.any() else 0):
        fit = OLS(logs, add_constant(x)).fit()
        spread = max(math.sqrt((fit.resid**2 + variance).mean()), LEAST_SPREAD)
        beyond = stats.truncnorm(
            (at - fit.fittedvalues)[censored] / spread, math.inf, fit.fittedvalues[censored], spread
        )
        moved = np.abs(beyond.mean() - logs[censored]).max()
        logs[censored], variance[censored] = beyond.mean(), beyond.var()
        if moved < 1e-7:
            break
    return logs, variance, 1 - variance / spread**2


def law_table(
    onsets: pd.DataFrame, fitted: Sequence[int], predicted: Sequence[int], confidence: float = 0.95
) -> pd.DataFrame:
    """One row (`LAW_COLUMNS`) for each measure of `onsets` (ONSET_COLUMNS) and size to predict.

    `fitted`: the training sizes whose runs are fitted. A measure that fewer than two of these reach, or of fewer than three
    runs, has no relation, and no row. The leave-one-out range is of the exponents without one size each, where what is left has one.
    """
    rows = []
    for (measure, level), reached in onsets.groupby(["measure", "level"], sort=False):
        part = reached[reached["n_train"].isin(fitted)]
        if not _has_relation(part):
            continue
        relation, others = fit_sizes(part, confidence), []
        for size in relation.sizes:
            rest = part[part["n_train"] != size]
            if _has_relation(rest):
                others.append(fit_sizes(rest, confidence).exponent)
        span = (min(others, default=math.nan), max(others, default=math.nan))
        sizes = " ".join(map(str, relation.sizes))
        about = (measure, level, relation.exponent, *relation.interval, *span, sizes)
        for n_train in predicted:
            of_size = reached[reached["n_train"] == n_train]
            rows.append(
                (*about, n_train, *relation.predict(n_train), *of_prediction(relation.predict(n_train), of_size))
            )
    return pd.DataFrame(rows, columns=LAW_COLUMNS)


def _has_relation(runs: pd.DataFrame) -> bool:
    """Whether two sizes at least reach the level, and three runs leave a degree of freedom."""
    return len(runs) >= 3 and runs.loc[~runs["censored"], "n_train"].nunique() >= 2


def of_prediction(predicted: Sequence[float], runs: pd.DataFrame) -> tuple[float, str]:
    """The mean onset of the runs (ONSET_COLUMNS) of a size that was predicted, and what it says of the prediction: expected,
    low, high.

    Supported: inside, and the interval no wider than a factor of MOST_WIDE; refuted: outside, or none by its upper end;
    undecided: inside a wider one, or the run was stopped earlier; "no run". Without an onset the mean is NaN.
    """
    _, low, high = predicted
    if runs.empty:
        return math.nan, "no run"
    if runs["censored"].any():
        return math.nan, "refuted" if runs.loc[runs["censored"], "trained_to"].max() >= high else "undecided"
    observed = math.exp(np.log(runs["updates"]).mean())
    if not low <= observed <= high:
        return observed, "refuted"
    return observed, "supported" if high <= MOST_WIDE * low else "undecided"
