"""The thresholds stage: which generated clips are flagged, at what rate, and how many are near-exact by rule.

For every run and detector: the bias-normalised score, tau from a null (twins, or held-out beside them) at the wished
false-positive rate, that rate verified on untouched null clips, the flagged share with its interval, and the position
of each clip between the null and the ceiling.

Notebook: 06_thresholds.
"""

from pathlib import Path

import numpy as np
import pandas as pd

from helpers import thresholds
from helpers.config import Profile, run_key
from helpers.retrieval import normalised_scores


class ScoreTable:
    """The retrieval stage's scores, arranged for thresholds: for each run, detector and kind a table with one row a query."""

    def __init__(self, folder: Path):
        scores = pd.read_parquet(folder / "scores.parquet")
        best = scores[scores["rank"] == 1].drop(columns="rank")
        self._best = dict(tuple(best.groupby(["n_train", "draw", "detector", "kind"])))
        background = pd.read_parquet(folder / "background.parquet").sort_values(["detector", "query_id", "rank"])
        self._background = {
            detector: (part["query_id"].iloc[:: part["rank"].max()].to_numpy(), part["score"].to_numpy().reshape(-1, part["rank"].max()))
            for detector, part in background.groupby("detector")
        }  # fmt: skip

    def best(self, n_train: int, draw: int, detector: str, kind: str) -> pd.DataFrame:
        """One row a query: query_id, own_id, own_score, ref_id, score (its best match)."""
        return self._best[n_train, draw, detector, kind].reset_index(drop=True)

    def background(self, detector: str, query_ids) -> np.ndarray:
        """Similarity of queries to their nearest background clips, float [Q, K_max], descending."""
        names, table = self._background[detector]
        rows = pd.Index(names).get_indexer(query_ids)
        if (rows < 0).any():
            raise ValueError(
                f"background: expected scores for every query, found none for {query_ids[int(np.argmin(rows))]}"
            )
        return table[rows]


def compute_thresholds(out: Path, upstream: dict[str, Path], profile: Profile) -> None:
    """Writes replication.csv, decisions.parquet (one row a generated clip and detector) and sweep.csv.

    n_generated counts the clips that were scored, n_silent those that were silent and so had no score.
    """
    table = ScoreTable(upstream["retrieval"])
    duplicates = pd.read_csv(upstream["duplicates"] / "duplicates.csv")
    cluster_of = dict(zip(duplicates["clip_id"], duplicates["cluster_id"]))
    replication, decisions, sweeps = [], [], []
    for n_train, draw in profile.runs:
        queries = pd.read_parquet(upstream[f"generation_{run_key(n_train, draw)}"] / "queries.parquet")
        for detector in profile.retrieval.detectors:
            judged = _judge(table, profile, n_train, draw, detector, cluster_of)
            decisions.append(judged["decisions"])
            rows = [_replication_row(judged, null, profile, n_train, draw, detector, queries) for null in profile.nulls]
            replication += rows
            sweeps.append(_sweep(table, profile, n_train, draw, detector))
    pd.DataFrame(replication).to_csv(out / "replication.csv", index=False)
    pd.concat(decisions, ignore_index=True).to_parquet(out / "decisions.parquet", index=False)
    pd.concat(sweeps, ignore_index=True).to_csv(out / "sweep.csv", index=False)


def normalised(table: ScoreTable, best: pd.DataFrame, detector: str, beta: float, k: int) -> np.ndarray:
    """The bias-normalised best score of each query, float [Q]."""
    return normalised_scores(best["score"].to_numpy(), table.background(detector, best["query_id"]), beta, k)


def _judge(table: ScoreTable, profile: Profile, n_train: int, draw: int, detector: str, cluster_of: dict) -> dict:
    config = profile.thresholds
    best = {kind: table.best(n_train, draw, detector, kind) for kind in ("generated", *profile.nulls, "ceiling")}
    score = {kind: normalised(table, part, detector, config.beta, config.k) for kind, part in best.items()}
    generated = best["generated"]
    decisions = generated.assign(n_train=n_train, draw=draw, detector=detector, normalised=score["generated"])
    nulls = {}
    for null in profile.nulls:
        part = thresholds.split_calibration(_units(best[null], null), config.seed)
        tau = thresholds.calibrate_threshold(score[null][part == "C2"], config.fpr)
        flags = None if tau is None else thresholds.flag(score["generated"], tau)
        check = thresholds.verified_fpr(score[null][part == "C3"], tau, config.confidence)
        nulls[null] = {"tau": tau, "flags": flags, "check": check}
        decisions[f"flagged_{null}"] = pd.array([None] * len(generated) if flags is None else flags, dtype="boolean")
    ceiling = best["ceiling"].set_index("own_id")["own_score"]
    median_null = float(best[profile.nulls[0]]["score"].median())
    # a clip beyond those that were round-tripped takes the median ceiling
    own = generated["ref_id"].map(ceiling).fillna(ceiling.median()).to_numpy()
    decisions["position"] = thresholds.position(generated["score"].to_numpy(), own, median_null)
    decisions["near_exact"] = thresholds.near_exact(decisions["position"].to_numpy(), config.theta)
    cluster = decisions["ref_id"].map(lambda r: cluster_of.get(r, r))
    decisions["cluster"] = cluster.astype(str)
    top1 = {
        kind: thresholds.own_clip_top1(best[kind]["ref_id"], best[kind]["own_id"], cluster_of)
        for kind in ("generated", *(null for null in profile.nulls if null == "twins"))
    }
    return {"decisions": decisions, "nulls": nulls, "top1": top1}


def _units(best: pd.DataFrame, null: str) -> pd.Series:
    """What is split as one: all twins of a clip, or each held-out clip."""
    return best["own_id"] if null == "twins" else best["query_id"]


def _replication_row(judged, null: str, profile: Profile, n_train: int, draw: int, detector: str, queries) -> dict:
    config, decisions, found = profile.thresholds, judged["decisions"], judged["nulls"][null]
    groups = decisions["own_id"]
    rate = lambda flags: thresholds.clustered_rate(flags, groups, config.n_bootstrap, config.confidence, config.seed)  # noqa: E731
    near = rate(decisions["near_exact"].to_numpy())
    flagged = None if found["flags"] is None else rate(found["flags"])
    top1 = rate(judged["top1"]["generated"])
    twins = thresholds.flagged_rate(judged["top1"]["twins"], config.confidence) if "twins" in judged["top1"] else None
    updates = int(queries["updates"].iloc[0])
    return {
        "n_train": n_train, "draw": draw, "train_seed": profile.training.seed, "updates": updates,
        "epochs": updates * profile.training.batch_size / n_train, "prompt_set": "train",
        "guidance": profile.generation.guidance, "steps": profile.generation.steps,
        "sample_seed": profile.generation.sample_seed, "n_generated": len(decisions),
        "n_silent": len(queries) - len(decisions),
        "detector": detector, "null": null, "fpr": config.fpr, "tau": found["tau"], "beta": config.beta, "k": config.k,
        "fpr_verified": getattr(found["check"], "rate", None), "fpr_verified_low": getattr(found["check"], "low", None),
        "fpr_verified_high": getattr(found["check"], "high", None),
        "flagged": getattr(flagged, "count", None), "flagged_rate": getattr(flagged, "rate", None),
        "ci_low": getattr(flagged, "low", None), "ci_high": getattr(flagged, "high", None),
        "near_exact": near.count, "near_exact_rate": near.rate, "near_exact_low": near.low, "near_exact_high": near.high,
        "distinct_clusters": int(decisions.loc[decisions["near_exact"], "cluster"].nunique()),
        "own_clip_top1_rate": top1.rate, "own_clip_top1_low": top1.low, "own_clip_top1_high": top1.high,
        "twins_top1_rate": getattr(twins, "rate", None), "twins_top1_low": getattr(twins, "low", None),
        "twins_top1_high": getattr(twins, "high", None),
    }  # fmt: skip


def _sweep(table: ScoreTable, profile: Profile, n_train: int, draw: int, detector: str) -> pd.DataFrame:
    config, first = profile.thresholds, profile.nulls[0]
    best = {kind: table.best(n_train, draw, detector, kind) for kind in ("generated", first)}
    background = {kind: table.background(detector, part["query_id"]) for kind, part in best.items()}
    part = thresholds.split_calibration(_units(best[first], first), config.seed)
    null = best[first]["score"].to_numpy()
    result = thresholds.sweep(
        best["generated"]["score"].to_numpy(), background["generated"],
        null[part == "C2"], background[first][part == "C2"], config.betas, config.ks, config.fpr,
        null[part == "C3"], background[first][part == "C3"], config.confidence,
    )  # fmt: skip
    return result.assign(n_train=n_train, draw=draw, detector=detector)
