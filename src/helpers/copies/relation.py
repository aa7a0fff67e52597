"""How the onset of copying grows with the training set: the scaling relation `updates = c * n**a` through onsets of several sizes.

Bonnaire et al. (2025) found a = 1 for images: linear in n.

Notebooks: 07_findings, 08_onset.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from scipy import stats
from statsmodels.base.model import GenericLikelihoodModel
from statsmodels.regression.linear_model import OLS, WLS
from statsmodels.tools.tools import add_constant

LAW_COLUMNS = (
    *("measure", "level", "exponent", "exponent_low", "exponent_high", "leave_one_out_low", "leave_one_out_high"),
    *("sizes_fitted", "n_predicted", "predicted_updates", "predicted_low", "predicted_high"),
    *("observed_updates", "verdict"),
)
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


def fit_relation(n_train: ArrayLike, onsets: ArrayLike, confidence: float = 0.95) -> ScalingRelation:
    """The scaling relation through onsets [N] of training sizes [N] by least squares, every onset a point.

    Raises ValueError below three points or two sizes: there would be no interval.
    """
    n_train, onsets = np.asarray(n_train, np.float64), np.asarray(onsets, np.float64)
    if len(n_train) < 3 or len(np.unique(n_train)) < 2:
        raise ValueError(f"onsets: expected at least three of at least two sizes, got {len(n_train)}")
    fit = OLS(np.log(onsets), add_constant(np.log(n_train))).fit()
    return _relation(fit, int(fit.df_resid), n_train, confidence)


def _relation(fit, df: int, n_train: ArrayLike, confidence: float) -> ScalingRelation:
    sizes = tuple(sorted({int(n) for n in np.asarray(n_train)}))
    return ScalingRelation(fit.params, np.asarray(fit.cov_params()), float(fit.scale), df, sizes, confidence)


def fit_sizes(onsets: pd.DataFrame, confidence: float = 0.95) -> ScalingRelation:
    """The scaling relation through the mean log onset of each size: a table of runs n_train, updates, trained_to, censored.

    The limits are Student's t with (sizes - 2) degrees of freedom, as runs of one size share that size's luck. A mean
    weighs as many runs as it is of, so that `predict` speaks of one further run. With a run that has no onset, the fit is by
    maximum likelihood over runs, and that run enters as a value above its `trained_to` (Tobin 1958). Two sizes leave no
    degree of freedom to their means, so every run is a point there. Raises ValueError below two sizes with an onset.
    """
    n_train, censored = onsets["n_train"].to_numpy(), onsets["censored"].to_numpy(bool)
    sizes, reached = np.unique(n_train), np.unique(n_train[~censored])
    if len(reached) < 2:
        raise ValueError(f"onsets: expected some of at least two sizes, got those of {reached.tolist()}")
    df = (len(sizes) if len(sizes) > 2 else len(onsets)) - 2
    if censored.any():
        return _fit_censored(onsets, df, confidence)
    if len(sizes) == 2:
        return fit_relation(n_train, onsets["updates"], confidence)
    logs = np.log(onsets["updates"]).groupby(onsets["n_train"]).agg(["mean", "size"])
    fit = WLS(logs["mean"].to_numpy(), add_constant(np.log(logs.index.to_numpy(float))), logs["size"].to_numpy()).fit()
    return _relation(fit, df, n_train, confidence)


def _fit_censored(onsets: pd.DataFrame, df: int, confidence: float) -> ScalingRelation:
    """Normal regression of log onsets on log sizes by maximum likelihood, where some are only known to be greater."""
    censored = onsets["censored"].to_numpy(bool)
    at = np.log(onsets["updates"].where(~censored, onsets["trained_to"]).to_numpy(np.float64))
    x = add_constant(np.log(onsets["n_train"].to_numpy(np.float64)))

    class Tobit(GenericLikelihoodModel):
        def loglikeobs(self, params):
            spread = math.exp(params[2])
            z = (at - x @ params[:2]) / spread
            return np.where(censored, stats.norm.logsf(z), stats.norm.logpdf(z) - params[2])

    start = OLS(at[~censored], x[~censored]).fit()
    begin = np.append(start.params, math.log(max(math.sqrt(start.scale), 0.01)) if start.df_resid else math.log(0.1))
    fit = Tobit(at, x, extra_params_names=["log_spread"]).fit(begin, method="bfgs", disp=0)
    variance, sizes = math.exp(2 * fit.params[2]), tuple(sorted(set(onsets["n_train"].astype(int))))
    return ScalingRelation(fit.params[:2], fit.cov_params()[:2, :2], variance, df, sizes, confidence)


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
