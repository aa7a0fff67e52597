"""Clips of a study whose runs are all searched in one gallery: how near each comes to its own training clip.

Such a study is published run by run, so these read what is published so far. Notebooks: 08_onset, 10_prevention.
"""

import math
from pathlib import Path

import pandas as pd

from helpers.base.arms import MAIN, checkpoint_arms
from helpers.base.profile import Profile
from helpers.base.settings import MAIN_SET
from helpers.copies.rates import clustered_rate
from helpers.copies.replication import near_exact, own_clip_top1, own_positions


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


def judge_published(folder: Path, profile: Profile, largest: float = math.inf) -> pd.DataFrame:
    """`judge_own` of the training prompts at every checkpoint, of the runs of a pooled study that are published so far.

    largest: training clips at most of the runs that are read, and of the twins whose median is used.
    """
    made, twins, ceiling = _published(folder, profile.thresholds.detector)
    made = made[made["arm"].isin(checkpoint_arms(profile)) & (made["n_train"] <= largest)]
    return judge_own(made, twins[twins["n_train"] <= largest], ceiling, profile.thresholds.theta)


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


def of_all_runs(folder: Path, stage: str, file: str) -> pd.DataFrame:
    """The table `file` of `stage` of every published run of the main training set; without columns where there is none.

    A study that is whole has one table of all its runs in `folder`; one in the making has one in `<stage>/<run>/`.
    """
    whole = folder / file
    paths = [whole] if whole.is_file() else sorted(folder.glob(f"{stage}/*/{file}"))
    tables = [pd.read_csv(path) if path.suffix == ".csv" else pd.read_parquet(path) for path in paths]
    table = pd.concat(tables, ignore_index=True) if tables else pd.DataFrame()
    return table[table["training_set"] == MAIN_SET].reset_index(drop=True) if "training_set" in table else table


def twins_and_ceiling(null: pd.DataFrame, detector: str) -> tuple[pd.DataFrame, pd.DataFrame]:
    """What `judge_own` takes by one detector, of the null tables of retrieval: each twin's nearest, and clip_id, own_score."""
    null = null[(null["detector"] == detector) & (null["rank"] == 1)]
    ceiling = null[null["kind"] == "ceiling"].rename(columns={"own_id": "clip_id"}).drop_duplicates("clip_id")
    return null[null["kind"] == "twins"], ceiling[["clip_id", "own_score"]]
