"""Do copies of a clip bring its replay forward? Of one model on planted copies, asked at many checkpoints.

The hypothesis: a clip of which a set of N holds m copies is replayed after `c * N^a * m^-b` updates. With b = a copies act like
epochs; with b = 0 the number of clips alone decides.

Notebook: 07_findings.
"""

import math

import numpy as np
import pandas as pd
from scipy import stats
from statsmodels.genmod.families import Binomial
from statsmodels.genmod.generalized_linear_model import GLM
from statsmodels.tools.tools import add_constant

from helpers.copies.conclusions.onset import MEASURES, fit_onset
from helpers.copies.rates import clustered_rate

ARMS = ("same", "other")  # groups under one caption, and under several; the first is the primary arm
COLUMNS = (
    *("caption_kind", "copies", "updates", "n_clusters", "n_generated", "n_defined"),
    *("own_near_exact_rate", "own_near_exact_low", "own_near_exact_high"),
)
ONSET_COLUMNS = ("caption_kind", "copies", "level", "updates", "updates_low", "updates_high", "trained_to", "censored")
RELATION_COLUMNS = (
    *("caption_kind", "clips", "exponent", "exponent_low", "exponent_high", "std_error"),
    *("n_clusters", "n_generated", "note"),
)
LEAST_KID = 0.01  # a lower kernel distance, or one below zero, counts as this
ALL, FEWER_COPIES, GOOD = "all", "without the largest groups", "once held-out clips are good"


def with_truth(judged: pd.DataFrame, clips: pd.DataFrame) -> pd.DataFrame:
    """Clips of `pooled.judge_own` with what the truth table knows of their own clip: copies, caption_kind, cluster_id.

    Raises ValueError for a clip that the truth table lacks.
    """
    unknown = judged.loc[~judged["own_id"].isin(clips["clip_id"]), "own_id"]
    if len(unknown):
        raise ValueError(f"own_id: expected clips of the planted training set, got {unknown.iloc[0]!r}")
    return judged.merge(
        clips[["clip_id", "copies", "caption_kind", "cluster_id"]], left_on="own_id", right_on="clip_id", validate="m:1"
    )


def shares(made: pd.DataFrame, confidence: float = 0.95, n_bootstrap: int = 1000, seed: int = 0) -> pd.DataFrame:
    """One row (`COLUMNS`) for every arm, number of copies and checkpoint; clips without a copy are in the arm `same`.

    `made` as `with_truth` gives it, with updates. Intervals draw groups anew; a clip without a position is in n_generated alone.
    """
    rows = []
    made = made.astype({"copies": int})
    for (caption_kind, copies, updates), part in made.groupby(["caption_kind", "copies", "updates"]):
        share = clustered_rate(part["near_exact"], part["cluster_id"], n_bootstrap, confidence, seed)
        counts = (part["cluster_id"].nunique(), len(part), share.n)
        rows.append((caption_kind, copies, updates, *counts, share.rate, share.low, share.high))
    return pd.DataFrame(rows, columns=COLUMNS)


def onsets(made: pd.DataFrame, confidence: float = 0.95) -> pd.DataFrame:
    """One row (`ONSET_COLUMNS`) for every arm and number of copies: `onset.fit_onset` of its clips, at the study's level."""
    level, rows = MEASURES["near_exact"], []
    made = made.dropna(subset="near_exact").astype({"copies": int})
    for (caption_kind, copies), part in made.groupby(["caption_kind", "copies"]):
        if part["updates"].nunique() > 1:
            found = fit_onset(part["updates"], part["near_exact"].astype(bool), part["cluster_id"], level, confidence)
            ends = (found.updates, found.low, found.high, found.trained_to, found.censored)
            rows.append((caption_kind, copies, level, *ends))
    return pd.DataFrame(rows, columns=ONSET_COLUMNS)


def relations(made: pd.DataFrame, good_from: float = math.nan, confidence: float = 0.95) -> pd.DataFrame:
    """b of the hypothesis, a row (`RELATION_COLUMNS`) for each arm, of all its copied clips and of parts of them.

    A logistic curve in log updates and log copies, so b is the ratio of its slopes; the interval is the delta method's, with
    errors robust to groups and Student's t of one degree less than there are groups (Cameron and Miller 2015).

    Args:
        made: as `with_truth` gives it, with updates; clips without a copy are left out.
        good_from: the updates from which on held-out clips are good; NaN where that is not known: then no row for them.

    NaN, and the reason in `note`, where the curve does not rise with updates or has nothing to go by.
    """
    copied, rows = made[made["copies"] > 1].dropna(subset="near_exact"), []
    for caption_kind in ARMS:
        arm = copied[copied["caption_kind"] == caption_kind]
        parts = {ALL: arm, FEWER_COPIES: arm[arm["copies"] < arm["copies"].max()]}
        if not math.isnan(good_from):
            parts[GOOD] = arm[arm["updates"] >= good_from]
        for name, part in parts.items():
            counts = {"n_clusters": part["cluster_id"].nunique(), "n_generated": len(part)}
            rows.append({"caption_kind": caption_kind, "clips": name} | counts | _exponent(part, confidence))
    return pd.DataFrame(rows, columns=RELATION_COLUMNS)


def _exponent(part: pd.DataFrame, confidence: float) -> dict:
    missing = dict.fromkeys(("exponent", "exponent_low", "exponent_high", "std_error"), math.nan)
    event = part["near_exact"].astype(bool).to_numpy()
    groups = pd.factorize(part["cluster_id"])[0]
    if event.all() or not event.any():
        return missing | {"note": "every clip counts" if len(event) and event.all() else "no clip counts"}
    if min(part["copies"].nunique(), part["updates"].nunique()) < 2 or groups.max() < 3:
        return missing | {"note": "too few numbers of copies, checkpoints or groups"}
    x = add_constant(np.log(part[["updates", "copies"]].to_numpy(np.float64)))
    fit = GLM(event.astype(np.float64), x, Binomial()).fit(cov_type="cluster", cov_kwds={"groups": groups})
    _, by_updates, by_copies = fit.params
    if by_updates <= 0:
        return missing | {"note": "the share does not rise with updates"}
    b = by_copies / by_updates
    gradient = np.array([0, -b, 1]) / by_updates
    error = math.sqrt(gradient @ fit.cov_params() @ gradient)
    margin = stats.t.ppf((1 + confidence) / 2, groups.max()) * error
    return {"exponent": b, "exponent_low": b - margin, "exponent_high": b + margin, "std_error": error, "note": ""}


def good_from(quality: pd.DataFrame, embedding: str, factor: float = 2.0) -> float:
    """The first checkpoint whose held-out kernel distance is at most `factor` times the lowest; NaN where none is known.

    quality: quality.csv of one run. The plan's time from which on clips are called good (tau_gen).
    """
    rows = quality[(quality["prompt_set"] == "heldout") & (quality["embedding"] == embedding)].dropna(subset="kid")
    good = rows.loc[rows["kid"] <= factor * max(rows["kid"].min(), LEAST_KID), "updates"]
    return float(good.min()) if len(good) else math.nan
