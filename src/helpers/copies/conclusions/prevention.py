"""What prevents copying: the near-exact share of a changed study beside that of the study itself, at equal quality.

A change that makes every clip worse makes every copy worse too. So each run is read where its clips of held-out prompts are
nearest to real sound, and the study it changes where its own were first as near. The real sound is that of the run's training
clips (`stages.quality`), so this quality is nearness to what was trained on.

Notebook: 10_prevention.
"""

from pathlib import Path

import numpy as np
import pandas as pd
from statsmodels.stats.contingency_tables import mcnemar

from helpers.base.arms import checkpoint_arms
from helpers.base.profile import Profile
from helpers.copies.pooled import judge_own, of_all_runs, twins_and_ceiling
from helpers.copies.rates import flagged_rate

COLUMNS = (
    *("intervention", "n_train", "draw", "updates", "detector", "n_defined"),
    *("own_near_exact_rate", "own_near_exact_low", "own_near_exact_high"),
    *("kid", "kid_low", "kid_high", "n_compared", "caption_agreement", "held_out_loss"),
)
EMBEDDING = "aisfx"  # of the held-out KID by which quality is told: CLAP was trained on captions of the same recordings
RUN = ["n_train", "draw"]
OWN_SCORES = [*RUN, "updates", "detector", "own_id", "own_score", "ref_id"]
SHARE = ["own_near_exact_rate", "own_near_exact_low", "own_near_exact_high"]
QUALITY = ["kid", "kid_low", "kid_high", "caption_agreement"]


def of_checkpoints(scores: pd.DataFrame, profile: Profile) -> pd.DataFrame:
    """OWN_SCORES of the clips of training prompts at every checkpoint, of a run's scores; `ref_id` is the nearest clip."""
    nearest = scores[(scores["rank"] == 1) & scores["arm"].isin(checkpoint_arms(profile))]
    return nearest[OWN_SCORES].reset_index(drop=True)


def own_scores(folder: Path, profile: Profile) -> pd.DataFrame:
    """`of_checkpoints` of the published runs.

    A study that changes one thing has a table for it; else it is among the scores of its search. No row without either.
    """
    if files := sorted(folder.glob("own_scores/*/own_scores.parquet")):
        return pd.concat(map(pd.read_parquet, files), ignore_index=True)
    scores = of_all_runs(folder, "retrieval", "scores.parquet")
    return of_checkpoints(scores, profile) if len(scores) else pd.DataFrame(columns=OWN_SCORES)


def trajectories(made: pd.DataFrame, null: pd.DataFrame, quality: pd.DataFrame, losses: pd.DataFrame,
                 intervention: str, profile: Profile) -> pd.DataFrame:  # fmt: skip
    """One row (`COLUMNS`) for each run, checkpoint and detector.

    Args:
        made: as `own_scores` gives it.
        null: the null tables of retrieval of the study that is changed, all runs together: their twins have one median, so that
            a share here is the share that the study itself reports.
        quality: quality.csv of the runs. Read are the held-out prompts' rows; NaN where there is none.
        losses: loss_gap.csv of the runs; without rows where there is none.
        intervention: what is changed, in words.

    The interval of a share is the exact binomial one, given the model: there is one clip a prompt.
    """
    clips = judge_made(made, null, profile)
    held_out = quality[(quality["prompt_set"] == "heldout") & (quality["embedding"] == EMBEDDING)]
    held_out = held_out.rename(columns={"clap_agreement": "caption_agreement"})
    loss = losses.groupby([*RUN, "updates"])["held_out"].mean().rename("held_out_loss").reset_index()
    rows = []
    for detector, judged in clips.groupby("detector", sort=False):
        for (n_train, draw, updates), part in judged.groupby([*RUN, "updates"]):
            rate = flagged_rate(part["near_exact"], profile.thresholds.confidence)
            shares = (rate.n, rate.rate, rate.low, rate.high)
            rows.append((intervention, n_train, draw, updates, detector, *shares))
    table = pd.DataFrame(rows, columns=COLUMNS[:9])
    known = held_out[[*RUN, "updates", *QUALITY, "n_compared"]]
    return table.merge(known, on=[*RUN, "updates"], how="left").merge(loss, on=[*RUN, "updates"], how="left")[
        [*COLUMNS]
    ]


def judge_made(made: pd.DataFrame, null: pd.DataFrame, profile: Profile) -> pd.DataFrame:
    """`pooled.judge_own` of the clips of `own_scores`, each detector by its own twins and ceiling."""
    parts = [
        judge_own(part, *twins_and_ceiling(null, str(detector)), profile.thresholds.theta)
        for detector, part in made.groupby("detector", sort=False)
    ]
    return pd.concat(parts, ignore_index=True) if parts else made.assign(near_exact=pd.Series(dtype="boolean"))


def replayed_by_one(ours: pd.DataFrame, theirs: pd.DataFrame) -> tuple[int, int, float]:
    """Of the prompts that two models were both asked, how many only the first brings back near-exact, how many only the second,
    and p of McNemar's exact test that a prompt is as likely to be among the ones as among the others.

    `ours` and `theirs` of `judge_made`, a clip a prompt; prompts whose position is undefined are left out.
    """
    pairs = ours.merge(theirs, on="own_id", suffixes=("_ours", "_theirs")).dropna(
        subset=["near_exact_ours", "near_exact_theirs"]
    )
    first, second = (pairs[f"near_exact_{side}"].astype(bool).to_numpy() for side in ("ours", "theirs"))
    counts = np.array(
        [[(first & second).sum(), (first & ~second).sum()], [(~first & second).sum(), (~first & ~second).sum()]]
    )
    return int(counts[0, 1]), int(counts[1, 0]), float(mcnemar(counts, exact=True).pvalue)


def told_alike(table: pd.DataFrame) -> pd.DataFrame:
    """The rows whose KID is of about as many clips as at most checkpoints, within a tenth: silent ones are left out. After the last
    update a study asks for 150 more prompts beside the same, so that distance is of other clips as well. (Added to the plan
    after the first draw of swapped captions was published.)"""
    usual = table["n_compared"].mode().max()
    return table[(table["n_compared"] - usual).abs() <= usual / 10]


def at_equal_quality(changed: pd.DataFrame, study: pd.DataFrame, detector: str) -> pd.DataFrame:
    """Each changed run at its lowest held-out KID, and the study's run of the same clips where it first is as good.

    `changed` and `study` as `trajectories` gives them; read where their KID is `told_alike`. One row a run: intervention, n_train, draw, updates, kid, the share and
    its limits, and the same of the study as study_updates, study_kid, study_own_near_exact_rate ...; missing where the study
    never is as good, or has no such run.
    """
    rows = []
    changed, study = (told_alike(one[one["detector"] == detector]) for one in (changed, study))
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
