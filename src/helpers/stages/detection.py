"""The detection stage: how well each detector tells known copies from clips that only resemble the training set.

Positives are the altered training clips of every run. Negatives are twins, held-out clips, and strangers over a training
clip's bed: a detector that is good against one of these need not be good against another. All went through codec and
vocoder, and are judged by the scores that are published. The alterations stage tells how strong an alteration may be.

Notebook: 05_retrieval.
"""

import math
from pathlib import Path

import numpy as np
import pandas as pd

from helpers.base.profile import Profile
from helpers.base.progress import progress
from helpers.base.settings import MAIN_SET, ThresholdsConfig
from helpers.copies.detection_metrics import detection_row, resampled_aurocs
from helpers.copies.score_table import ScoreTable, groups_of
from helpers.sound.altered_copies import plan_alterations
from helpers.sound.corpus import leading_groups

NEGATIVES = {"twins": "train", "heldout": "heldout", "same_bed": "train"}  # and the split that their recordings are of
NO_BIAS = {"beta": 0.0, "k": 1}
ALL = "all"  # alterations together
COLUMNS = (
    *("detector", "n_train", "negatives", "bias", "beta", "k", "transform", "split", "n_pos", "n_neg"),
    *("auroc", "auroc_low", "auroc_high", "average_precision", "tpr_at_fpr_1pct"),
    *("below_mel", "below_mel_low", "below_mel_high"),
)


def compute(out: Path, upstream: dict[str, Path], profile: Profile, own: dict[str, dict]) -> None:
    """Writes detection.csv (COLUMNS): a row for each detector, training size, kind of negatives, bias and alteration.

    `bias` is "none", or "own": the beta and K that serve the detector best on the pilot, by `own` (beta and k of each
    detector). The draws of a size are judged together. `below_mel` is the AUROC of mel less this detector's, of the same
    clips and the same bias, none or each its own. Intervals are of a two-way bootstrap over alterations and source groups.
    """
    table = ScoreTable(upstream["scores"])
    groups = leading_groups(pd.read_parquet(upstream["corpus"] / "clips.parquet"))
    transforms = pd.concat([plan_alterations(profile, *run) for run in profile.runs]).set_index("query_id")["transform"]
    detectors = sorted(profile.retrieval.detectors, key=lambda name: name != "mel")  # the others are compared with it
    cases = [(n, negatives, bias) for n in profile.sizes for negatives in NEGATIVES for bias in ("none", "own")]
    rows = []
    for n_train, negatives, bias in progress(cases, desc="detection", unit="case"):
        mel: dict[str, tuple] = {}
        for detector in detectors:
            best = own.get(detector, NO_BIAS) if bias == "own" else NO_BIAS
            beta, k = best["beta"], min(best["k"], profile.retrieval.k_max, profile.corpus.n_background)
            sides = [_scored(table, n_train, detector, kind, beta, k, groups) for kind in ("altered", negatives)]
            if any(side.empty for side in sides):
                continue  # a corpus that cannot be mixed anew has held-out clips alone
            copies = sides[0].assign(transform=sides[0]["query_id"].map(transforms))
            about = {"n_train": n_train, "negatives": negatives, "bias": bias, "beta": beta, "k": k}
            for transform in (ALL, *dict.fromkeys(copies["transform"])):
                some = copies if transform == ALL else copies[copies["transform"] == transform]
                row, drawn = _judge(detector, transform, NEGATIVES[negatives], some, sides[1], profile.thresholds)
                if detector == "mel":
                    mel[transform] = row["auroc"], drawn
                elif mel:
                    difference = mel[transform][0] - row["auroc"], mel[transform][1] - drawn
                    row |= _limits("below_mel", *difference, profile.thresholds)
                rows.append(about | row)
    pd.DataFrame(rows, columns=list(COLUMNS)).to_csv(out / "detection.csv", index=False)


def _scored(table: ScoreTable, n_train: int, detector: str, kind: str, beta: float, k: int, groups) -> pd.DataFrame:
    """Clips of one kind, of all draws of a size: query_id, score, group (what intervals draw anew)."""
    parts = [pd.DataFrame({"query_id": [], "score": [], "group": []})]
    for run in table.runs():
        if run[:2] == (MAIN_SET, n_train) and table.has(run, detector, kind):
            best = table.best(run, detector, kind)
            score = table.normalised(run, detector, best, beta, k)
            parts.append(pd.DataFrame({"query_id": best["query_id"], "score": score, "group": groups_of(best, groups)}))
    return pd.concat(parts[1:] or parts, ignore_index=True)


def _judge(
    detector: str, transform: str, split: str, copies: pd.DataFrame, others: pd.DataFrame, config: ThresholdsConfig
) -> tuple[dict, np.ndarray]:
    """A row of one detector and alteration, and the resampled AUROCs behind its interval."""
    scores, groups = zip(*((side["score"].to_numpy(), side["group"]) for side in (copies, others)))
    row = detection_row(detector, transform, math.nan, split, *scores, *groups, config.confidence, n_bootstrap=1)
    drawn = resampled_aurocs(*scores, copies["transform"], *groups, config.n_bootstrap, config.seed)
    if row["auroc"] in (0, 1):  # without spread: detection_row has the exact interval then
        return row, drawn
    return row | _limits("auroc", row["auroc"], drawn, config), drawn


def _limits(name: str, value: float, drawn: np.ndarray, config: ThresholdsConfig) -> dict:
    low, high = np.nanquantile(drawn, [(1 - config.confidence) / 2, (1 + config.confidence) / 2])
    return {name: value, f"{name}_low": low, f"{name}_high": high}
