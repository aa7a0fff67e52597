"""The dose_onset stage: from which update on clips with copies are replayed, in a study of planted copies alone, at every checkpoint.

Notebook: 07_findings.
"""

from pathlib import Path

import pandas as pd

from helpers.base.arms import checkpoint_arms
from helpers.base.profile import Profile
from helpers.copies.conclusions.dose_relation import good_from, onsets, relations, shares, with_truth
from helpers.copies.conclusions.prevention import EMBEDDING
from helpers.copies.pooled import judge_own, twins_and_ceiling


def compute(out: Path, upstream: dict[str, Path], profile: Profile) -> None:
    """Writes dose_shares.csv (`dose_relation.COLUMNS`), dose_onset.csv (`ONSET_COLUMNS`) and dose_relation.csv (`RELATION_COLUMNS`)
    of a run that is searched in all of the planted set, by the primary detector and the run's own twins and ceiling.
    """
    config = profile.thresholds
    scores, null = (pd.read_parquet(upstream["retrieval"] / f"{name}.parquet") for name in ("scores", "null"))
    made = scores[(scores["detector"] == config.detector) & (scores["rank"] == 1)]
    made = made[made["arm"].isin(checkpoint_arms(profile))]
    judged = judge_own(made, *twins_and_ceiling(null, config.detector), config.theta)
    made = with_truth(judged, pd.read_parquet(upstream["planted"] / "clips.parquet"))
    good = good_from(pd.read_csv(upstream["quality"] / "quality.csv"), EMBEDDING)
    shares(made, config.confidence, config.n_bootstrap, config.seed).to_csv(out / "dose_shares.csv", index=False)
    onsets(made, config.confidence).to_csv(out / "dose_onset.csv", index=False)
    relations(made, good, config.confidence).to_csv(out / "dose_relation.csv", index=False)
