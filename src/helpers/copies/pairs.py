"""Duplicate clips in a training set: pairs above a cosine, their clusters, and how well the pairs match the truth."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pandas as pd
from scipy import signal, sparse
from scipy.sparse.csgraph import connected_components

from helpers.copies.rates import Rate, flagged_rate
from helpers.sound.silence import is_silent


def pairs_above(features: np.ndarray, threshold: float) -> pd.DataFrame:
    """Every pair of rows whose cosine is at least `threshold`: features [N, D] give columns i, j (i < j), score.

    Exact (`search.pairs_above`). A cosine within 1e-6 below the threshold counts, so that at 1.0 exact copies are found.
    Raises ValueError for a zero or non-finite row.
    """
    if features.ndim != 2:
        raise ValueError(f"features: expected shape [clips, dimensions], got {features.shape}")
    from helpers.copies import search  # imports torch, which a chapter that only reads the stage's tables does without

    return pd.DataFrame(dict(zip(("i", "j", "score"), search.pairs_above(features, threshold))))


def clusters_of(pairs: pd.DataFrame, ids: Sequence[str]) -> pd.DataFrame:
    """Connected components of pairs (columns i, j, score): columns clip_id, cluster_id, score; singletons left out.

    cluster_id counts from 0 in order of each cluster's first clip; score is a clip's best within its cluster.
    Components chain: a cluster may hold two clips that are alike only through a third.
    """
    n = len(ids)
    i, j = pairs.i.to_numpy(dtype=np.int64), pairs.j.to_numpy(dtype=np.int64)
    labels = connected_components(sparse.coo_array((np.ones(len(i)), (i, j)), shape=(n, n)), directed=False)[1]
    best = np.full(n, -np.inf)
    np.maximum.at(best, i, pairs.score.to_numpy(dtype=np.float64))
    np.maximum.at(best, j, pairs.score.to_numpy(dtype=np.float64))
    members = np.flatnonzero(np.isfinite(best))
    frame = pd.DataFrame({"clip_id": np.asarray(ids)[members], "cluster_id": pd.factorize(labels[members])[0]})
    return frame.assign(score=best[members]).sort_values("cluster_id", kind="stable", ignore_index=True)


def read_clusters(duplicates: Path, planted: Path | None = None) -> dict[str, str]:
    """The cluster of each clip that is in one, from the folders of these stages: as found in the main set, as planted."""
    merged = pd.read_csv(duplicates / "duplicates.csv").query("kind == 'natural'")
    clusters = dict(zip(merged["clip_id"], merged["cluster_id"]))
    if planted:
        truth = pd.read_parquet(planted / "clips.parquet").query("split == 'train'")
        clusters |= dict(zip(truth["clip_id"], truth["cluster_id"]))
    return clusters


@dataclass(frozen=True)
class PairMetrics:
    """Precision and recall of found pairs; None where there was nothing to divide by."""

    precision: Rate | None
    recall: Rate | None


def _unordered(pairs: Iterable[tuple], name: str) -> set[frozenset]:
    unique = {frozenset(pair) for pair in pairs}
    if any(len(pair) != 2 for pair in unique):
        raise ValueError(f"{name}: expected pairs of two different clips, got {min(map(sorted, unique), key=len)}")
    return unique


def pair_metrics(found: Iterable[tuple], truth: Iterable[tuple]) -> PairMetrics:
    """Precision and recall of found pairs of clip ids against the true ones, with exact binomial 95 % intervals.

    The order within a pair and repeated pairs do not count. Pairs of one cluster depend on each other, so the intervals
    are somewhat too narrow where clusters are large. Raises ValueError for a clip paired with itself.
    """
    claimed, true = _unordered(found, "found"), _unordered(truth, "truth")
    precision = flagged_rate([pair in true for pair in claimed]) if claimed else None
    return PairMetrics(precision, flagged_rate([pair in claimed for pair in true]) if true else None)


def waveform_correlation(a: np.ndarray, b: np.ndarray) -> float:
    """Greatest absolute normalised cross-correlation of two clips [S] over all lags.

    1 for the same waveform at any gain or sign. It uses no mel and no embedding, hence is an independent truth for
    natural duplicates; a copy shifted by a share f of its length reaches about 1 - f. Raises ValueError for silence.
    """
    correlation = np.abs(signal.correlate(_of_unit_length(a, "a"), _of_unit_length(b, "b"), method="fft"))
    return float(min(correlation.max(), 1.0))


def _of_unit_length(clip: np.ndarray, name: str) -> np.ndarray:
    clip = np.asarray(clip, dtype=np.float64)
    if clip.ndim != 1 or not np.isfinite(clip).all() or is_silent(clip):
        raise ValueError(f"{name}: expected one clip [samples] that is not silent, got shape {clip.shape}")
    centred = clip - clip.mean()
    return centred / np.linalg.norm(centred)
