"""When copying begins: the updates at which a share reaches a level, and how they grow with the size of the training set.

One run's onset is where a binomial logistic curve in log updates passes the level. Onsets of several sizes give the
exponent a of the scaling relation `updates = c * n**a`. Bonnaire et al. (2025) found a = 1 for images: linear in n.

Notebooks: 07_findings, 08_onset.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from scipy import stats
from scipy.special import logit
from statsmodels.base.model import GenericLikelihoodModel
from statsmodels.genmod.families import Binomial
from statsmodels.genmod.generalized_linear_model import GLM
from statsmodels.regression.linear_model import OLS, WLS
from statsmodels.tools.tools import add_constant

from helpers.base.arms import MAIN, checkpoint_arms
from helpers.base.profile import Profile
from helpers.copies.published import of_all_runs
from helpers.copies.rates import Labels, clustered_rate
from helpers.copies.replication import near_exact, own_clip_top1, own_positions

MEASURES = {"near_exact": 0.05, "top1": 0.5}  # the share that is called the onset; the primary measure first
ONSET_COLUMNS = (
    *("detector", "measure", "level", "n_train", "draw", "width"),
    *("updates", "updates_low", "updates_high", "trained_to", "censored"),
)
LAW_COLUMNS = (
    *("measure", "level", "exponent", "exponent_low", "exponent_high", "leave_one_out_low", "leave_one_out_high"),
    *("sizes_fitted", "n_predicted", "predicted_updates", "predicted_low", "predicted_high"),
    *("observed_updates", "verdict"),
)
MOST_WIDE = 2  # a prediction whose interval is wider than this factor is not supported by a hit


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

    `fitted`: the training sizes whose runs are fitted. A measure that fewer than two of these reach has no relation, and no
    row. The leave-one-out range is of the exponents without one size each, where two others reach the level.
    """
    rows = []
    for (measure, level), part in onsets.groupby(["measure", "level"], sort=False):
        part = part[part["n_train"].isin(fitted)]
        if part.loc[~part["censored"], "n_train"].nunique() < 2:
            continue
        relation, others = fit_sizes(part, confidence), []
        for size in relation.sizes:
            rest = part[part["n_train"] != size]
            if rest.loc[~rest["censored"], "n_train"].nunique() >= 2:
                others.append(fit_sizes(rest, confidence).exponent)
        span = (min(others, default=math.nan), max(others, default=math.nan))
        sizes = " ".join(map(str, relation.sizes))
        about = (measure, level, relation.exponent, *relation.interval, *span, sizes)
        for n_train in predicted:
            of_size = onsets[(onsets["measure"] == measure) & (onsets["n_train"] == n_train)]
            rows.append((*about, n_train, *relation.predict(n_train), *_verdict(relation.predict(n_train), of_size)))
    return pd.DataFrame(rows, columns=LAW_COLUMNS)


def _verdict(predicted: tuple[float, float, float], runs: pd.DataFrame) -> tuple[float, str]:
    """The mean onset of the runs of a size that was predicted, and what it says of the prediction.

    Supported: inside, and the interval no wider than a factor of MOST_WIDE; refuted: outside, or none by its upper end.
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
    own = ceiling.set_index("clip_id")["own_score"]
    where = own_positions(made["own_score"], made["own_id"], own, null["own_score"])
    top1 = own_clip_top1(made["ref_id"], made["own_id"])
    return made.assign(position=where, near_exact=near_exact(where, theta), top1=top1)


def judge_published(folder: Path, profile: Profile) -> pd.DataFrame:
    """`judge_own` of the training prompts at every checkpoint, of the runs of a pooled study that are published so far."""
    made, twins, ceiling = _published(folder, profile.thresholds.detector)
    made = made[made["arm"].isin(checkpoint_arms(profile))]
    return judge_own(made, twins, ceiling, profile.thresholds.theta)


def published_nulls(folder: Path, profile: Profile, detector: str = "") -> pd.DataFrame:
    """Near-exact shares of the own clip after the last update, of what was trained on and of two nulls, draws pooled.

    Columns: n_train, kind, n_defined, own_near_exact_rate, own_near_exact_low, own_near_exact_high (bootstrap over own clips, as
    one clip may have several twins). The kinds: `trained` prompts; those of an `other draw`, whose clips the model never met;
    and `twins`, which no model made. Sizes of one draw share many clips, and so their twins. By the profile's detector, or another.
    """
    made, twins, ceiling = _published(folder, detector or profile.thresholds.detector)
    kinds = {"trained": made[made["arm"] == MAIN], "other draw": made[made["arm"] == "other_draw"], "twins": twins}
    rows = []
    for kind, clips in kinds.items():
        judged = judge_own(clips, twins, ceiling, profile.thresholds.theta)
        for n_train, part in judged.groupby("n_train"):
            how = profile.thresholds.pick("confidence", "seed")
            rate = clustered_rate(part["near_exact"], part["own_id"], profile.thresholds.n_bootstrap, **how)
            rows.append((n_train, kind, rate.n, rate.rate, rate.low, rate.high))
    columns = ["n_train", "kind", "n_defined", "own_near_exact_rate", "own_near_exact_low", "own_near_exact_high"]
    return pd.DataFrame(rows, columns=columns)


def _published(folder: Path, detector: str) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """Each generated clip's nearest, and what `twins_and_ceiling` gives, of the published runs."""
    scores, null = (of_all_runs(folder, "retrieval", f"{name}.parquet") for name in ("scores", "null"))
    return scores[(scores["detector"] == detector) & (scores["rank"] == 1)], *twins_and_ceiling(null, detector)


def twins_and_ceiling(null: pd.DataFrame, detector: str) -> tuple[pd.DataFrame, pd.DataFrame]:
    """What `judge_own` takes by one detector, of the null tables of retrieval: each twin's nearest, and clip_id, own_score."""
    null = null[(null["detector"] == detector) & (null["rank"] == 1)]
    ceiling = null[null["kind"] == "ceiling"].rename(columns={"own_id": "clip_id"}).drop_duplicates("clip_id")
    return null[null["kind"] == "twins"], ceiling[["clip_id", "own_score"]]


def onset_table(judged: pd.DataFrame, width: int, confidence: float = 0.95) -> pd.DataFrame:
    """One row (`ONSET_COLUMNS`) for each detector, measure and run of `judged` (as `judge_own` gives it, with detector,
    n_train, draw and updates): when it reaches the level, and between which limits. None for a run of one checkpoint."""
    rows = []
    for (detector, n_train, draw), run in judged.groupby(["detector", "n_train", "draw"], sort=False):
        for measure, level in MEASURES.items():
            part = run[run[measure].notna()]
            if part["updates"].nunique() < 2:  # one checkpoint draws no curve
                continue
            onset = fit_onset(part["updates"], part[measure].astype(bool), part["own_id"], level, confidence)
            values = (onset.updates, onset.low, onset.high, onset.trained_to, onset.censored)
            rows.append((detector, measure, level, n_train, draw, width, *values))
    return pd.DataFrame(rows, columns=ONSET_COLUMNS)
