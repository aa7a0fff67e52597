"""Does duplication matter? How often a model trained on the planted set replicates a cluster, by its number of copies.

A generated clip replicates its own cluster if it is near-exact by rule and its nearest training clip is a copy of the
clip whose caption was the prompt. Single clips are the dose of one.

Notebook: 07_findings.
"""

import math

import numpy as np
import pandas as pd
from statsmodels.discrete.discrete_model import Logit
from statsmodels.tools.tools import add_constant

from helpers.copies.rates import clustered_rate

CAPTION_KINDS = ("all", "same", "other")
TREND_KINDS = ("all", "exact", "altered")
OUTCOMES = ("replicated", "flagged", "top1")
# Clusters that a fit asks for on each side: ten events a parameter (Peduzzi et al. 1996), counted by cluster, since the clips
# of one are not independent. With two events in 400 clusters the robust error came out a tenth of the slope.
LEAST_CLUSTERS = 10
COLUMNS = (
    *("copies", "kind", "caption_kind", "n_clusters", "n_generated", "n_defined", "replicated"),
    *("rate", "ci_low", "ci_high"),
    *("flagged_rate", "flagged_low", "flagged_high", "median_position", "own_cluster_top1_rate"),
)
TREND_COLUMNS = (
    *("outcome", "kind", "slope_per_doubling", "low", "high", "p", "n_clusters", "n_generated", "n_defined", "note"),
)


def dose_table(
    decisions: pd.DataFrame, clips: pd.DataFrame, confidence: float = 0.95, n_bootstrap: int = 1000, seed: int = 0
) -> pd.DataFrame:
    """One row (`COLUMNS`) for every number of copies and kind; above one copy also for every kind of caption.

    Args:
        decisions: one row a generated clip: own_id (the clip whose caption was the prompt), ref_id (the nearest training
            clip), near_exact (missing where the position is undefined), flagged (missing where the false-positive rate
            was unattainable), position.
        clips: the truth table of the training clips: clip_id, cluster_id, copies, kind, caption_kind.

    n_clusters counts the clusters that were prompted, which the intervals draw anew; n_defined the generated clips with a
    position, of which `replicated` is a share. NaN where there are none. Raises ValueError for a clip that the truth table lacks.
    """
    made = _with_truth(decisions, clips)
    rows = []
    for (copies, kind), cell in clips.groupby(["copies", "kind"]):
        mine = made[(made["copies"] == copies) & (made["kind"] == kind)]
        for caption_kind in CAPTION_KINDS:
            if caption_kind == "all":
                part = mine
            elif copies != 1 and (cell["caption_kind"] == caption_kind).any():
                part = mine[mine["caption_kind"] == caption_kind]
            else:
                continue
            about = {"copies": copies, "kind": kind, "caption_kind": caption_kind}
            rows.append(about | _summary(part, confidence, n_bootstrap, seed))
    return pd.DataFrame(rows, columns=COLUMNS)


def trend(decisions: pd.DataFrame, clips: pd.DataFrame, confidence: float = 0.95) -> pd.DataFrame:
    """The trend of each outcome with copies, one row (`TREND_COLUMNS`) for all clips and for each kind with the singles.

    Outcomes: replicated, flagged (near any clip), top1 (the nearest clip is of the own cluster, however near). A logistic
    regression on log2(copies), so the slope is a log odds ratio for each doubling; errors are robust to clusters, with
    Student's t of one degree less than there are clusters (Cameron and Miller 2015). n_clusters and n_defined count those
    of which the outcome is known. NaN, and the reason in `note`, where there is no finite slope or there are too few events.
    Tables and errors as in `dose_table`.
    """
    made = _with_truth(decisions, clips)
    rows = []
    for outcome in OUTCOMES:
        for kind in TREND_KINDS:
            every = made if kind == "all" else made[made["kind"].isin([kind, "single"])]
            part = every[every[outcome].notna()]
            counts = {"n_clusters": part["cluster_id"].nunique(), "n_generated": len(every), "n_defined": len(part)}
            fitted = _slope(part, outcome, confidence)
            if len(every) and part.empty:
                fitted["note"] = "undefined for every generated clip"
            rows.append({"outcome": outcome, "kind": kind} | counts | fitted)
    return pd.DataFrame(rows, columns=TREND_COLUMNS)


def _with_truth(decisions: pd.DataFrame, clips: pd.DataFrame) -> pd.DataFrame:
    """One row a generated clip: what is known of its own cluster, top1, replicated and flagged (nullable), position."""
    truth = clips.set_index("clip_id")[["cluster_id", "copies", "kind", "caption_kind"]]
    for name in ("own_id", "ref_id"):
        unknown = decisions.loc[~decisions[name].isin(truth.index), name]
        if len(unknown):
            raise ValueError(f"{name}: expected clips of the planted training set, got {unknown.iloc[0]!r}")
    made = truth.loc[decisions["own_id"]].reset_index(drop=True)
    top1 = made["cluster_id"].to_numpy() == truth.loc[decisions["ref_id"], "cluster_id"].to_numpy()
    near_exact = decisions["near_exact"].astype("boolean").array
    return made.assign(
        top1=top1,
        replicated=pd.arrays.BooleanArray(top1 & near_exact.fillna(False).to_numpy(bool), near_exact.isna()),
        flagged=decisions["flagged"].astype("boolean").to_numpy(),
        position=decisions["position"].to_numpy(float),
    )


def _summary(part: pd.DataFrame, confidence: float, n_bootstrap: int, seed: int) -> dict:
    def interval(column: str) -> tuple[float, float, float]:
        if part.empty:
            return (math.nan,) * 3
        share = clustered_rate(part[column], part["cluster_id"], n_bootstrap, confidence, seed)
        return share.rate, share.low, share.high

    rate, low, high = interval("replicated")
    flagged, flagged_low, flagged_high = interval("flagged")
    return {
        "n_clusters": part["cluster_id"].nunique(), "n_generated": len(part),
        "n_defined": int(part["replicated"].count()), "replicated": int(part["replicated"].sum()),
        "rate": rate, "ci_low": low, "ci_high": high,
        "flagged_rate": flagged, "flagged_low": flagged_low, "flagged_high": flagged_high,
        "median_position": part["position"].median(), "own_cluster_top1_rate": part["top1"].mean(),
    }  # fmt: skip


def _slope(part: pd.DataFrame, outcome: str, confidence: float) -> dict:
    dose, event = np.log2(part["copies"].to_numpy(float)), part[outcome].to_numpy(bool)
    clusters = pd.factorize(part["cluster_id"])[0]
    missing = {"slope_per_doubling": math.nan, "low": math.nan, "high": math.nan, "p": math.nan}
    if note := _no_slope(dose, event, clusters):
        return missing | {"note": note}
    model = Logit(event.astype(float), add_constant(dose))
    fit = model.fit(disp=0, cov_type="cluster", cov_kwds={"groups": clusters}, use_t=True)
    if not fit.mle_retvals["converged"]:
        return missing | {"note": "the fit did not converge"}
    if not fit.bse[1] > 1e-6:  # no cluster differs from its dose's rate: the robust error is rounding
        return missing | {"slope_per_doubling": float(fit.params[1]), "note": "clusters of one dose do not differ"}
    low, high = fit.conf_int(1 - confidence)[1]
    values = (float(fit.params[1]), float(low), float(high), float(fit.pvalues[1]))
    return dict(zip(missing, values)) | {"note": ""}


def _no_slope(dose: np.ndarray, event: np.ndarray, clusters: np.ndarray) -> str:
    """Why the regression has no finite slope or error; empty where it has. The fit exists if and only if the doses of
    what did and did not happen overlap (Albert and Anderson 1984)."""
    if not len(dose):
        return "no generated clips"
    if len(np.unique(dose)) < 2:
        return "one number of copies only"
    if not event.any():
        return "no event"
    if event.all():
        return "no contrast: the event is everywhere"
    yes, no = dose[event], dose[~event]
    if no.max() <= yes.min() or yes.max() <= no.min():
        return "complete separation by the number of copies"
    for side, what in ((event, "the event"), (~event, "its absence")):
        if (count := len(np.unique(clusters[side]))) < LEAST_CLUSTERS:
            clips = f"{count} clip{'s' * (count > 1)} of the set"
            return f"too few for a fit: {what} in {clips}, {int(side.sum())} generated"
    return ""
