"""When copying begins: the updates at which a share reaches a level, where a binomial logistic curve in log updates passes it.

Notebooks: 07_findings, 08_onset.
"""

import math
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from scipy import stats
from scipy.optimize import minimize
from scipy.special import expit, logit, rel_entr
from statsmodels.genmod.families import Binomial
from statsmodels.genmod.generalized_linear_model import GLM
from statsmodels.tools.tools import add_constant

from helpers.base.arms import checkpoint_arms
from helpers.base.profile import Profile
from helpers.base.settings import MAIN_SET
from helpers.copies.rates import Labels

MEASURES = {"near_exact": 0.05, "top1": 0.5}  # the share that is called the onset; the primary measure first
ONSET_COLUMNS = (
    *("detector", "measure", "level", "n_train", "draw", "width"),
    *("updates", "updates_low", "updates_high", "trained_to", "censored"),
)


def judged_clips(decisions: Path, profile: Profile) -> pd.DataFrame:
    """The clips of training prompts at every checkpoint: detector, n_train, draw, updates, own_id, near_exact, top1."""
    table = pd.read_parquet(decisions)
    own = (table["training_set"] == MAIN_SET) & (table["detector"] == profile.thresholds.detector)
    table = table[own & table["arm"].isin(checkpoint_arms(profile))]
    return table.assign(near_exact=table["own_near_exact"], top1=table["own_top1"])


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

    The interval is the delta method's in log updates. Where only one checkpoint has such clips, it reaches from the checkpoint
    before to that one, or without end; with one or two prompts it has no ends. Where the share does not rise,
    and is past the level at every checkpoint, the onset is given as the first one: at the latest. Raises ValueError for a level outside 0..1, or for clips of a single
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
    groups = pd.factorize(np.asarray(prompts))[0]
    few = groups.max() < 2  # errors that are robust to clusters cannot be told of no more clusters than parameters
    robust = {} if few else {"cov_type": "cluster", "cov_kwds": {"groups": groups}}
    fit = GLM(outcomes.astype(np.float64), x, Binomial()).fit(**robust)
    intercept, slope = fit.params
    if slope <= 0:
        if pd.Series(outcomes).groupby(updates).mean().min() >= level:  # begun before anyone looked
            return Onset(float(updates.min()), 0.0, float(updates.min()), trained_to, False)
        return never
    log_onset = (math.log(level / (1 - level)) - intercept) / slope
    onset = math.exp(min(log_onset, 700))
    with_hits = np.unique(updates[outcomes])
    if len(with_hits) == 1:  # the slope is not identified: no margin follows from it
        low, high = updates[updates < with_hits[0]].max(initial=0), math.inf if onset > trained_to else trained_to
    else:
        gradient = np.array([-1 / slope, -log_onset / slope])
        variance = gradient @ fit.cov_params() @ gradient
        low, high = 0.0, math.inf
        if not few and variance >= 0:  # where the curve hardly rises it comes out below zero
            margin = stats.norm.ppf((1 + confidence) / 2) * math.sqrt(variance)
            low, high = math.exp(log_onset - margin), math.exp(min(log_onset + margin, 700))
    return Onset(onset, low, high, trained_to, onset > trained_to)


class FlooredOnset(NamedTuple):
    """The updates at which a share lies `level` of the way from its floor to 1; `floor`; and how well the checkpoints' counts
    are met by a logistic curve with that floor, and by one from 0: p of the deviance, small where a curve is not met."""

    updates: float
    floor: float
    p_with_floor: float
    p_without: float


def fit_with_floor(updates: ArrayLike, outcomes: ArrayLike, level: float) -> FlooredOnset:
    """Fits `P(outcome) = floor + (1 - floor) / (1 + exp(-(a + b log updates)))` by maximum likelihood, as some clips count
    whatever a model has learned. Arguments as `fit_onset` takes them.

    Checkpoints are taken for independent, though the same prompts are asked at each. p is NaN where there are no more
    checkpoints than the curve has parameters; `updates` is infinite where the curve does not rise.
    """
    counts = pd.DataFrame({"x": np.log(np.asarray(updates, np.float64)), "y": np.asarray(outcomes, bool)})
    points = counts.groupby("x")["y"].agg(["sum", "size"])
    x, hits, n = points.index.to_numpy(), points["sum"].to_numpy(float), points["size"].to_numpy(float)

    def deviance(share: np.ndarray) -> float:
        seen, share = hits / n, np.clip(share, 1e-9, 1 - 1e-9)
        return float(2 * (n * (rel_entr(seen, share) + rel_entr(1 - seen, 1 - share))).sum())

    def curve(params: np.ndarray) -> np.ndarray:
        return expit(params[0]) + expit(-params[0]) * expit(params[1] + params[2] * (x - x.mean()))

    plain = GLM(np.column_stack([hits, n - hits]), add_constant(x - x.mean()), Binomial()).fit()
    starts = [[logit(floor), *plain.params] for floor in (0.001, 0.02, 0.1)]
    fits = [
        minimize(lambda params: deviance(curve(params)), start, method="Nelder-Mead", options={"maxiter": 4000})
        for start in starts
    ]
    best = min(fits, key=lambda fit: fit.fun)
    floor, intercept, slope = expit(best.x[0]), best.x[1], best.x[2]
    onset = math.exp(min((logit(level) - intercept) / slope + x.mean(), 700)) if slope > 0 else math.inf
    p_with, p_without = (
        float(stats.chi2.sf(off, len(x) - used)) if len(x) > used else math.nan
        for off, used in ((best.fun, 3), (deviance(plain.fittedvalues), 2))
    )
    return FlooredOnset(onset, float(floor), p_with, p_without)


def rise(shares: pd.DataFrame, low: float = 0.05, high: float = 0.9) -> float:
    """How many times as many updates a run needs for a near-exact share of `high` as for one of `low`.

    It is read off the logistic curve in log updates through the run's rows of shares.csv (updates, near_exact, n_generated). NaN
    where the run never passes `high`.
    """
    if not (shares["near_exact"] > high).any():
        return math.nan
    hits = shares["near_exact"] * shares["n_generated"]
    outcomes = np.column_stack([hits, shares["n_generated"] - hits])
    slope = GLM(outcomes, add_constant(np.log(shares["updates"].to_numpy(float))), Binomial()).fit().params[1]
    return math.exp((logit(high) - logit(low)) / slope)


def onset_table(
    judged: pd.DataFrame, width: int, confidence: float = 0.95, measures: Mapping[str, float] = MEASURES
) -> pd.DataFrame:
    """One row (`ONSET_COLUMNS`) for each detector, measure and run of `judged` (as `judge_own` gives it, with detector,
    n_train, draw and updates): when it reaches the level, and between which limits. None for a run of one checkpoint.

    `measures`: columns of `judged`, each with the share that is its level."""
    rows = []
    for (detector, n_train, draw), run in judged.groupby(["detector", "n_train", "draw"], sort=False):
        for measure, level in measures.items():
            part = run[run[measure].notna()]
            if part["updates"].nunique() < 2:  # one checkpoint draws no curve
                continue
            onset = fit_onset(part["updates"], part[measure].astype(bool), part["own_id"], level, confidence)
            values = (onset.updates, onset.low, onset.high, onset.trained_to, onset.censored)
            rows.append((detector, measure, level, n_train, draw, width, *values))
    return pd.DataFrame(rows, columns=ONSET_COLUMNS)
