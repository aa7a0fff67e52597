"""When copying begins: the updates at which a share reaches a level, and how they grow with the size of the training set.

One run's onset is where a binomial logistic curve in log updates passes the level. Onsets of several sizes give the
exponent a of the scaling relation `updates = c * n**a`. Bonnaire et al. (2025) found a = 1 for images: linear in n.

Notebook: 07_findings.
"""

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from scipy import stats
from statsmodels.genmod.families import Binomial
from statsmodels.genmod.generalized_linear_model import GLM
from statsmodels.regression.linear_model import OLS
from statsmodels.tools.tools import add_constant

from helpers.copies.rates import Labels
from helpers.copies.replication import near_exact, own_clip_top1, position

MEASURES = {"near_exact": 0.05, "top1": 0.5}  # the share that is called the onset; the primary measure first
ONSET_COLUMNS = (
    *("detector", "measure", "level", "n_train", "draw", "width"),
    *("updates", "updates_low", "updates_high", "trained_to", "censored"),
)


@dataclass(frozen=True)
class Onset:
    """The updates at which a share reaches a level, with the interval; `censored`: not by `trained_to`, the last checkpoint.

    `updates` of a censored onset is where the curve would reach the level, or infinity where it does not rise.
    """

    updates: float
    low: float
    high: float
    trained_to: int
    censored: bool


def fit_onset(
    updates: ArrayLike, outcomes: ArrayLike, prompts: Labels, level: float, confidence: float = 0.95
) -> Onset:
    """Fits `P(outcome) = 1 / (1 + exp(-(a + b log updates)))` and solves it for the level.

    Args:
        updates: [N] of the checkpoint that made each clip, above 0.
        outcomes: bool [N], whether the clip counts.
        prompts: [N], the prompt of each clip: one prompt's clips at several checkpoints are not independent, so the errors
            are robust to clusters of them.
        level: the share asked for, between 0 and 1.

    The interval is the delta method's in log updates. Raises ValueError for a level outside 0..1, or for clips of a single
    checkpoint.
    """
    updates, outcomes = np.asarray(updates, np.float64), np.asarray(outcomes, bool)
    if not 0 < level < 1:
        raise ValueError(f"level: expected a share between 0 and 1, got {level}")
    if len(np.unique(updates)) < 2:
        raise ValueError(f"updates: expected clips of at least two checkpoints, got those of {np.unique(updates)}")
    trained_to, never = int(updates.max()), Onset(math.inf, math.nan, math.inf, int(updates.max()), True)
    if not outcomes.any():
        return never
    x = add_constant(np.log(updates))
    fit = GLM(outcomes.astype(np.float64), x, Binomial()).fit(
        cov_type="cluster", cov_kwds={"groups": pd.factorize(np.asarray(prompts))[0]}
    )
    intercept, slope = fit.params
    if slope <= 0:
        return never
    log_onset = (math.log(level / (1 - level)) - intercept) / slope
    gradient = np.array([-1 / slope, -log_onset / slope])
    margin = stats.norm.ppf((1 + confidence) / 2) * math.sqrt(gradient @ fit.cov_params() @ gradient)
    low, high = math.exp(log_onset - margin), math.exp(min(log_onset + margin, 700))
    return Onset(math.exp(log_onset), low, high, trained_to, math.exp(log_onset) > trained_to)


@dataclass(frozen=True)
class ScalingRelation:
    """`updates = c * n**exponent` by least squares in logarithms; `predict` gives one further run's onset."""

    exponent: float
    low: float
    high: float
    confidence: float
    fit: Any  # statsmodels' results, which have no types

    def predict(self, n_train: float) -> tuple[float, float, float]:
        """The onset expected of one further run on n_train clips, and its prediction interval (Student's t)."""
        row = (
            self.fit.get_prediction(np.array([[1.0, math.log(n_train)]]))
            .summary_frame(alpha=1 - self.confidence)
            .iloc[0]
        )
        expected, low, high = np.exp(row[["mean", "obs_ci_lower", "obs_ci_upper"]].to_numpy(float)).tolist()
        return expected, low, high


def fit_relation(n_train: ArrayLike, onsets: ArrayLike, confidence: float = 0.95) -> ScalingRelation:
    """The scaling relation through onsets [N] of training sizes [N], every onset a point.

    Raises ValueError below three points or two sizes: there would be no interval.
    """
    sizes, onsets = np.log(np.asarray(n_train, np.float64)), np.log(np.asarray(onsets, np.float64))
    if len(sizes) < 3 or len(np.unique(sizes)) < 2:
        raise ValueError(f"onsets: expected at least three of at least two sizes, got {len(sizes)}")
    fit = OLS(onsets, add_constant(sizes)).fit()
    low, high = fit.conf_int(1 - confidence)[1]
    return ScalingRelation(float(fit.params[1]), float(low), float(high), confidence, fit)


def judge_own(made: pd.DataFrame, null: pd.DataFrame, ceiling: pd.DataFrame, theta: float) -> pd.DataFrame:
    """Whether each clip replays its own training clip, where all runs were searched in one gallery, by one detector.

    Args:
        made: generated clips, their nearest each: own_id, ref_id, own_score and more, which is kept.
        null: twins, of all sizes: own_score. Their median is one number for all n.
        ceiling: clip_id, own_score of training clips after codec and vocoder.
        theta: the least position that is near-exact.

    Returns:
        `made` with position (of the own score; NaN where it is undefined), near_exact (missing there) and top1.
    """
    own = made["own_id"].map(ceiling.set_index("clip_id")["own_score"])
    where = position(made["own_score"].to_numpy(), own.to_numpy(), float(null["own_score"].median()))
    top1 = own_clip_top1(made["ref_id"], made["own_id"])
    return made.assign(position=where, near_exact=near_exact(where, theta), top1=top1)


def onset_table(judged: pd.DataFrame, width: int, confidence: float = 0.95) -> pd.DataFrame:
    """One row (`ONSET_COLUMNS`) for each detector, measure and run of `judged` (as `judge_own` gives it, with detector,
    n_train, draw and updates): when it reaches the level, and between which limits."""
    rows = []
    for (detector, n_train, draw), run in judged.groupby(["detector", "n_train", "draw"], sort=False):
        for measure, level in MEASURES.items():
            part = run[run[measure].notna()]
            onset = fit_onset(part["updates"], part[measure].astype(bool), part["own_id"], level, confidence)
            values = (onset.updates, onset.low, onset.high, onset.trained_to, onset.censored)
            rows.append((detector, measure, level, n_train, draw, width, *values))
    return pd.DataFrame(rows, columns=ONSET_COLUMNS)
