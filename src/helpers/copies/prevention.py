"""What prevents copying: the near-exact share of a changed study beside that of the study itself, at equal quality.

A change that makes every clip worse makes every copy worse too. So each run is read where its clips of held-out prompts are
nearest to real sound, and the study it changes where its own were first as near. The real sound is that of the run's training
clips (`stages.quality`), so this quality is nearness to what was trained on.

Notebook: 10_prevention.
"""

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from helpers.base.arms import checkpoint_arms
from helpers.base.profile import Profile
from helpers.copies.onset import judge_own
from helpers.copies.rates import flagged_rate

COLUMNS = (
    *("intervention", "n_train", "draw", "updates", "detector", "n_defined"),
    *("own_near_exact_rate", "own_near_exact_low", "own_near_exact_high"),
    *("kid", "kid_low", "kid_high", "caption_agreement", "held_out_loss"),
)
EMBEDDING = "aisfx"  # of the held-out KID by which quality is told: CLAP was trained on captions of the same recordings
RUN = ["n_train", "draw"]
SHARE = ["own_near_exact_rate", "own_near_exact_low", "own_near_exact_high"]
QUALITY = ["kid", "kid_low", "kid_high", "caption_agreement"]


def own_scores(folder: Path, profile: Profile) -> pd.DataFrame:
    """The clips of training prompts at every checkpoint of the published runs (columns of `stages.own_scores`).

    A study that changes one thing has a table for them; else they are among the scores of its search. No row without either.
    """
    files = sorted(folder.glob("own_scores/*/own_scores.parquet")) or sorted(folder.glob("retrieval/*/scores.parquet"))
    columns = ["n_train", "draw", "updates", "detector", "own_id", "own_score", "ref_id"]
    if not files:
        return pd.DataFrame(columns=columns)
    made = pd.concat(map(pd.read_parquet, files), ignore_index=True)
    if "rank" in made:
        made = made[(made["rank"] == 1) & made["arm"].isin(checkpoint_arms(profile))]
    return made[columns]


def trajectories(made: pd.DataFrame, null: pd.DataFrame, quality: pd.DataFrame, losses: pd.DataFrame,
                 intervention: str, profile: Profile) -> pd.DataFrame:  # fmt: skip
    """One row (`COLUMNS`) for each run, checkpoint and detector.

    Args:
        made: as `own_scores` gives it.
        null: of the study that is changed, rank 1: kind (twins, ceiling), detector, own_id, own_score. All runs' twins
            together have one median, so that a share here is the share that the study itself reports.
        quality: quality.csv of the runs. Read are the held-out prompts' rows; NaN where there is none.
        losses: loss_gap.csv of the runs; without rows where there is none.
        intervention: what is changed, in words.

    The interval of a share is the exact binomial one, given the model: there is one clip a prompt.
    """
    held_out = quality[(quality["prompt_set"] == "heldout") & (quality["embedding"] == EMBEDDING)]
    held_out = held_out.rename(columns={"clap_agreement": "caption_agreement"})
    loss = losses.groupby([*RUN, "updates"])["held_out"].mean().rename("held_out_loss").reset_index()
    rows = []
    for detector, part in made.groupby("detector", sort=False):
        of_detector = null[null["detector"] == detector]
        twins, ceiling = (of_detector[of_detector["kind"] == kind] for kind in ("twins", "ceiling"))
        ceiling = ceiling.rename(columns={"own_id": "clip_id"}).drop_duplicates("clip_id")
        judged = judge_own(part, twins, ceiling, profile.thresholds.theta)
        for (n_train, draw, updates), clips in judged.groupby([*RUN, "updates"]):
            rate = flagged_rate(clips["near_exact"], profile.thresholds.confidence)
            shares = (rate.n, rate.rate, rate.low, rate.high)
            rows.append((intervention, n_train, draw, updates, detector, *shares))
    table = pd.DataFrame(rows, columns=COLUMNS[:9])
    known = held_out[[*RUN, "updates", *QUALITY]]
    return table.merge(known, on=[*RUN, "updates"], how="left").merge(loss, on=[*RUN, "updates"], how="left")[
        [*COLUMNS]
    ]


def at_equal_quality(changed: pd.DataFrame, study: pd.DataFrame, detector: str) -> pd.DataFrame:
    """Each changed run at its lowest held-out KID, and the study's run of the same clips where it first is as good.

    `changed` and `study` as `trajectories` gives them. One row a run: intervention, n_train, draw, updates, kid, the share and
    its limits, and the same of the study as study_updates, study_kid, study_own_near_exact_rate ...; missing where the study
    never is as good, or has no such run.
    """
    rows = []
    changed, study = (one[one["detector"] == detector] for one in (changed, study))
    for (intervention, n_train, draw), run in changed.dropna(subset="kid").groupby(["intervention", *RUN], sort=False):
        best = run.sort_values("kid", kind="stable").iloc[0]
        same = study[(study["n_train"] == n_train) & (study["draw"] == draw) & (study["kid"] <= best["kid"])]
        beside = same.sort_values("updates").head(1)
        named = ["updates", *QUALITY, *SHARE]
        there = dict(zip(named, beside[named].to_numpy()[0])) if len(beside) else dict.fromkeys(named, np.nan)
        rows.append(
            {"intervention": intervention, "n_train": n_train, "draw": draw, **best[named]}
            | {f"study_{name}": value for name, value in there.items()}
        )
    return pd.DataFrame(rows)


def stopped_early(study: pd.DataFrame, detector: str) -> pd.DataFrame:
    """The rows of the study's runs at the checkpoint of their lowest held-out loss: what anyone can do without a search."""
    known = study[(study["detector"] == detector) & study["held_out_loss"].notna()]
    return known.loc[known.groupby(RUN)["held_out_loss"].idxmin()]


def twin_shares(null: pd.DataFrame, profile: Profile, sizes: Sequence[int]) -> dict[str, float]:
    """By detector: the share of the twins of runs of these sizes that the same rule calls near-exact, though none is a copy."""
    found = {}
    for detector, part in null.groupby("detector", sort=False):
        twins, ceiling = (part[part["kind"] == kind] for kind in ("twins", "ceiling"))
        ceiling = ceiling.rename(columns={"own_id": "clip_id"}).drop_duplicates("clip_id")
        judged = judge_own(twins, twins, ceiling, profile.thresholds.theta)
        flags = judged.loc[judged["n_train"].isin(sizes), "near_exact"]
        found[str(detector)] = flagged_rate(flags).rate if len(flags) else np.nan
    return found
