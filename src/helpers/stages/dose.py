"""The dose stage: replication against the number of copies in the training set, of the model on planted copies beside a study.

Notebook: 07_findings.
"""

from pathlib import Path

import pandas as pd

from helpers.base.arms import MAIN
from helpers.base.profile import Profile
from helpers.base.settings import DUPLICATE_SET
from helpers.copies.conclusions.dose import dose_table, trend


def compute(out: Path, upstream: dict[str, Path], profile: Profile) -> None:
    """Writes dose.csv (`COLUMNS`) and dose_trend.csv (`TREND_COLUMNS`) from the primary detector's decisions.

    Only the main arm of the model that was trained on the planted set is counted. Flags are those of the profile's first null.
    """
    config = profile.thresholds
    decisions = pd.read_parquet(upstream["thresholds"] / "decisions.parquet")
    primary = (decisions["detector"] == config.detector) & (decisions["arm"] == MAIN)
    decisions = decisions[primary & (decisions["training_set"] == DUPLICATE_SET)]
    decisions = decisions.assign(flagged=decisions[f"flagged_{profile.nulls[0]}"])
    clips = pd.read_parquet(upstream["planted"] / "clips.parquet")
    clips = clips[clips["split"] == "train"]
    table = dose_table(decisions, clips, config.confidence, config.n_bootstrap, config.seed)
    table.to_csv(out / "dose.csv", index=False)
    trend(decisions, clips, config.confidence).to_csv(out / "dose_trend.csv", index=False)
