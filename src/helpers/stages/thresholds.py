"""The thresholds stage: which generated clips are flagged, at what rate, and how many are near-exact by rule.

For every run and detector: the bias-normalised score, tau from a null (twins, or held-out beside them) at the wished
false-positive rate, that rate verified on untouched null clips, the flagged share with its interval, and the position
of each clip between the null and the ceiling.

Notebook: 06_thresholds.
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd

from helpers.base.arms import MAIN, list_arms
from helpers.base.parquet_file import write_parquet
from helpers.base.profile import Profile
from helpers.base.settings import MAIN_SET, ThresholdsConfig
from helpers.copies import replication as rule, sensitivity, strata
from helpers.copies.calibration import COMMON, calibrate_threshold, flag, split_calibration
from helpers.copies.pairs import read_clusters
from helpers.copies.rates import Rate, clustered_rate, interval_columns
from helpers.copies.score_table import ScoreTable, groups_of
from helpers.sound.corpus import leading_groups

# Shares of the own clip: at rank 1, near-exact of it; of generated clips, of twins.
OF_OWN = ("own_clip_top1", "twins_top1", "own_near_exact", "twins_own_near_exact")


@dataclass(frozen=True)
class Calibration:
    """A null of one run and detector: its normalised scores, their parts, and what a threshold is by its rate."""

    scores: np.ndarray
    part: np.ndarray
    own_id: pd.Series  # the training clip that each is the twin of
    group: pd.Series  # what intervals draw anew
    top1: np.ndarray | None  # of twins: whether the nearest clip is the own one
    near_exact: pd.arrays.BooleanArray  # by the rule for generated clips, which should spare all of these
    own_near_exact: pd.arrays.BooleanArray | None  # of twins: and of the own clip
    n_defined: int  # of these have a position

    def tau(self, fpr: float) -> float | None:
        return calibrate_threshold(self.scores[self.part == "C2"], fpr)

    def verified(self, tau: float | None, config: ThresholdsConfig) -> Rate | None:
        """The false-positive rate on part C3, which had no say in tau."""
        unseen = self.part == "C3"
        return None if tau is None else _rate(flag(self.scores[unseen], tau), self.group[unseen], config)


def _rate(flags: np.ndarray, groups, config: ThresholdsConfig) -> Rate:
    return clustered_rate(flags, groups, config.n_bootstrap, config.confidence, config.seed)


def calibrate(
    table: ScoreTable, run, detector: str, null: str, config: ThresholdsConfig, cluster_of: dict, leading: pd.Series
) -> Calibration:
    """One null's calibration. Twins are split by twin: a clip to come answers to one of the same captions.

    So the rates are those of honest clips for this training set's captions, given this training set.
    """
    best = table.best(run, detector, null)
    top1 = rule.own_clip_top1(best["ref_id"], best["own_id"], cluster_of) if null == "twins" else None
    position = table.positions(run, detector, best, null)
    near = _near_exact(position, detector, config)
    return Calibration(
        table.normalised(run, detector, best, config.beta, config.k),
        split_calibration(best["query_id"], config.seed),
        best["own_id"],
        groups_of(best, leading),
        top1,
        near,
        None if top1 is None else _of_own(near, top1, table.pooled),
        int(np.isfinite(position).sum()),
    )


def _near_exact(position: np.ndarray, detector: str, config: ThresholdsConfig) -> pd.arrays.BooleanArray:
    """By rule, for the profile's detector, which theta is set for; by any other one a position means something else: NA."""
    return rule.near_exact(position if detector == config.detector else np.full(len(position), np.nan), config.theta)


def _of_own(near: pd.arrays.BooleanArray, own_top1: np.ndarray, pooled: bool) -> pd.arrays.BooleanArray:
    """Near-exact of the own clip; NA where near-exact is. Where the runs are pooled, that is what near-exact means."""
    missing = np.asarray(near.isna())
    return near if pooled else pd.arrays.BooleanArray(near.to_numpy(bool, na_value=False) & own_top1, missing)


def compute(out: Path, upstream: dict[str, Path], profile: Profile) -> None:
    """Writes what follows from the scores by the profile's thresholds.

    replication.csv: a row for each run, arm, detector, null and false-positive rate. decisions.parquet: a row for each
    generated clip and detector. sensitivity.csv: other beta, K and backgrounds. choices.csv: how well each beta and K tells
    altered copies from twins (part C1). strata.csv: near-exact shares by what the training clip holds, of the main clips
    and of twins. n_generated counts the clips that were scored, n_silent those that were silent and so had no score,
    n_defined those with a position: near-exact shares are of these, their precision of flagged_n_defined, the null's of
    null_n_defined of its null_n clips. What is near-exact is said by the profile's detector alone.
    """
    table, clips = ScoreTable(upstream["scores"]), _training_clips(upstream)
    cluster_of = read_clusters(upstream["duplicates"], upstream.get("planted"))
    leading = leading_groups(clips)
    n_clusters = clips["cluster_id"].nunique() if "cluster_id" in clips else 0  # planted ones
    replication, decisions, twins = [], [], []
    largest = (MAIN_SET, max(profile.sizes), 0)
    for detector in profile.retrieval.detectors:
        common = calibrate(table, largest, detector, profile.nulls[0], profile.thresholds, cluster_of, leading)
        for run in table.runs():
            nulls = {
                null: calibrate(table, run, detector, null, profile.thresholds, cluster_of, leading)
                for null in profile.nulls
            }
            for arm in table.arms(run, detector):
                judged = _judge(table, run, detector, arm, profile, cluster_of)
                judged["group"] = groups_of(judged, leading)
                rows, flags = _replication_rows(table, judged, run, detector, arm, nulls, common, n_clusters, profile)
                replication += rows
                decisions.append(judged.assign(**flags))
            if detector == profile.thresholds.detector and run[0] == MAIN_SET and "twins" in nulls:
                null = nulls["twins"]
                spared = {"own_id": null.own_id, "near_exact": null.near_exact, "group": null.group}
                twins.append(pd.DataFrame(spared).assign(n_train=run[1], draw=run[2], kind="twins"))
    decisions = pd.concat(decisions, ignore_index=True)
    pd.DataFrame(replication).to_csv(out / "replication.csv", index=False)
    write_parquet(decisions, out / "decisions.parquet")
    _strata(decisions, twins, clips, profile).to_csv(out / "strata.csv", index=False)
    each = [(run, detector) for detector in profile.retrieval.detectors for run in table.runs()]
    choices = [sensitivity.choices(table, run, detector, profile) for run, detector in each]
    pd.concat(choices, ignore_index=True).to_csv(out / "choices.csv", index=False)
    variants = pd.read_parquet(upstream["scores"] / "variants.parquet")
    swept = [sensitivity.shares(table, variants, run, detector, profile) for run, detector in each]
    pd.concat(swept, ignore_index=True).to_csv(out / "sensitivity.csv", index=False)


def _strata(decisions: pd.DataFrame, twins: list[pd.DataFrame], clips: pd.DataFrame, profile: Profile) -> pd.DataFrame:
    """Near-exact shares by content: of the main clips, and of twins; none where it is not known what clips hold."""
    of_main = (decisions["arm"] == MAIN) & (decisions["training_set"] == MAIN_SET)
    own = decisions[of_main & (decisions["detector"] == profile.thresholds.detector)]
    if not profile.corpus.mixed or own.empty:
        return pd.DataFrame(columns=strata.COLUMNS)
    columns = ["n_train", "draw", "kind", "own_id", "near_exact", "group"]
    judged = pd.concat([part[columns] for part in (own, *twins)], ignore_index=True)
    return strata.near_exact_by_content(judged, clips, profile.thresholds)


def _training_clips(upstream: dict[str, Path]) -> pd.DataFrame:
    """The training clips of all training sets; their ids differ."""
    tables = [pd.read_parquet(upstream[name] / "clips.parquet") for name in ("corpus", "planted") if name in upstream]
    return pd.concat(tables, ignore_index=True).query("split == 'train'")


def _judge(table: ScoreTable, run, detector: str, arm: str, profile: Profile, cluster_of: dict) -> pd.DataFrame:
    """One row a generated clip: its scores, position between null and ceiling, and whether it is near-exact by rule."""
    config, best = profile.thresholds, table.best(run, detector, "generated", arm)
    position = table.positions(run, detector, best, profile.nulls[0])
    near = _near_exact(position, detector, config)
    own_top1 = rule.own_clip_top1(best["ref_id"], best["own_id"], cluster_of)
    copied = best["own_id"] if table.pooled else best["ref_id"]  # what a near-exact clip is a copy of
    return best.assign(
        training_set=run[0],
        normalised=table.normalised(run, detector, best, config.beta, config.k).astype(np.float32),
        position=position.astype(np.float32),
        near_exact=near,
        own_top1=own_top1,
        own_near_exact=_of_own(near, own_top1, table.pooled),
        cluster=copied.map(lambda clip: cluster_of.get(clip, clip)),
    )


def _replication_rows(
    table, judged, run, detector: str, arm: str, nulls: dict, common: Calibration, n_clusters: int, profile: Profile
):
    """The rows of one arm and detector, and each clip's flags at the primary rate."""
    config = profile.thresholds
    near, of_own = _rate(judged["near_exact"], judged["group"], config), {}
    if (judged["own_id"] != "").all():
        of_own["own_clip_top1"] = _rate(judged["own_top1"].to_numpy(), judged["group"], config)
        of_own["own_near_exact"] = _rate(judged["own_near_exact"], judged["group"], config)
    if "twins" in nulls:
        of_own["twins_top1"] = _rate(nulls["twins"].top1, nulls["twins"].group, config)
        of_own["twins_own_near_exact"] = _rate(nulls["twins"].own_near_exact, nulls["twins"].group, config)
    shared = _settings(table, run, arm, judged, n_clusters, profile) | {
        "detector": detector, "beta": config.beta, "k": config.k,
        "near_exact": _count(near), **interval_columns("near_exact", near, "near_exact_rate"),
        "n_defined": int(judged["position"].count()),
        "distinct_clusters": judged.loc[judged["near_exact"].fillna(False), "cluster"].nunique() if near.n else None,
        "own_near_exact": _count(of_own.get("own_near_exact")),
        **{column: value for name in OF_OWN for column, value in interval_columns(name, of_own.get(name), f"{name}_rate").items()},
    }  # fmt: skip
    rows, flags = [], {}
    first = profile.nulls[0]
    calibrations = [(null, calibration, calibration) for null, calibration in nulls.items()]
    if arm == MAIN and len(profile.sizes) > 1:
        calibrations.append((first + COMMON, common, nulls[first]))  # the threshold of another null than the run's own
    for null, calibration, own_null in calibrations:
        rates = (config.fpr, *(config.further_fprs if arm == MAIN else ()))
        for fpr in dict.fromkeys(rates):
            tau = calibration.tau(fpr)
            flagged = None if tau is None or judged["normalised"].isna().all() else flag(judged["normalised"], tau)
            rows.append(shared | _flag_columns(null, fpr, tau, flagged, judged, own_null, config))
            if fpr == config.fpr and null in nulls:
                flags[f"flagged_{null}"] = pd.array(
                    [None] * len(judged) if flagged is None else flagged, dtype="boolean"
                )
    return rows, flags


def _flag_columns(null, fpr, tau, flagged, judged, calibration: Calibration, config: ThresholdsConfig) -> dict:
    """What one threshold flags, and what the null that it comes from says of it and of the near-exact rule."""
    whole = precision = defined = None
    spared = _rate(calibration.near_exact, calibration.group, config)
    if flagged is not None:
        whole, defined = _rate(flagged, judged["group"], config), int(judged["position"][flagged].count())
        if flagged.any():
            precision = _rate(judged["near_exact"][flagged], judged["group"][flagged], config)
    return {
        "null": null, "fpr": fpr, "tau": tau,
        **interval_columns("fpr_verified", calibration.verified(tau, config)),
        "flagged": _count(whole), **interval_columns("ci", whole, "flagged_rate"),
        "flagged_near_exact": _count(precision), "flagged_n_defined": defined,
        **interval_columns("precision", precision),
        "null_n": len(calibration.scores), "null_n_defined": calibration.n_defined,
        **interval_columns("null_near_exact", spared, "null_near_exact_rate"),
    }  # fmt: skip


def _count(rate: Rate | None) -> int | None:
    """Of how many it is so; None where it is known of none."""
    return rate.count if rate and rate.n else None


def _settings(table: ScoreTable, run, arm: str, judged: pd.DataFrame, n_clusters: int, profile: Profile) -> dict:
    """What the clips of one arm were made with. Silent clips have no score: they are those planned and not judged."""
    training_set, n_train, draw = run
    variant = next(variant for variant in profile.variants if variant.training_set == training_set)
    config = list_arms(variant, n_train, draw)[arm]
    others = {"heldout": variant.corpus.n_heldout, "clusters": n_clusters}
    prompts = others.get(config.prompts, n_train)
    n_planned = min(config.n_prompts, prompts) * config.seeds_per_prompt
    made = table.query(training_set, judged["query_id"].iloc[0])
    return {
        "training_set": training_set, "n_train": n_train, "draw": draw, "train_seed": profile.training.seed, "arm": arm,
        "updates": int(made["updates"]), "epochs": made["updates"] * profile.training.batch_size / n_train,
        "weights": made["weights"], "prompt_set": made["prompt_set"], "guidance": made["guidance"],
        "steps": int(made["steps"]), "sample_seed": profile.generation.sample_seed, "n_generated": len(judged),
        "n_silent": n_planned - len(judged),
    }  # fmt: skip
