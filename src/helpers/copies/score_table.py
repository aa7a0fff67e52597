"""The tables of the scores stage, read and arranged for thresholds."""

from pathlib import Path

import numpy as np
import pandas as pd

from helpers.base.arms import MAIN
from helpers.base.settings import DUPLICATE_SET
from helpers.copies.bias import normalised_scores
from helpers.copies.replication import own_positions, position


def groups_of(best: pd.DataFrame, leading: pd.Series) -> pd.Series:
    """What intervals draw anew: the own clip's leading source group; a clip without one is a group of its own."""
    return best["own_id"].map(leading).fillna(best["query_id"])


class ScoreTable:
    """The tables of the scores stage, arranged for thresholds.

    `best(run, detector, kind, arm)` has one row a query: query_id, own_id, ref_id, score (its best match).
    A run is (training_set, n_train, draw). `pooled`: all runs were searched in one gallery, so a clip is judged by its
    similarity to its own clip, own_score, and the twins of all runs mean the same.
    """

    def __init__(self, folder: Path):
        tables = [pd.read_parquet(folder / f"{name}.parquet") for name in ("scores", "null")]
        best = pd.concat(tables, ignore_index=True).query("rank == 1").drop(columns="rank")
        self.pooled = "own_score" in best
        self._best: dict[tuple, pd.DataFrame] = dict(
            tuple(best.groupby(["training_set", "n_train", "draw", "detector", "kind", "arm"]))
        )
        self._queries = pd.read_parquet(folder / "queries.parquet").set_index(["training_set", "query_id"])
        ceiling = pd.read_parquet(folder / "ceiling.parquet")
        self._ceiling = {  # what each training clip scores against itself after codec and vocoder, by clip_id
            key: part.set_index("clip_id")["own_score"] for key, part in ceiling.groupby(["training_set", "detector"])
        }
        background = pd.read_parquet(folder / "background.parquet").sort_values(
            ["training_set", "detector", "query_id", "rank"]
        )
        self._background = {}
        for key, part in background.groupby(["training_set", "detector"]):
            depth = int(part["rank"].max())
            self._background[key] = (
                part["query_id"].iloc[::depth].to_numpy(),
                part["score"].to_numpy().reshape(-1, depth),
            )

    def runs(self) -> list[tuple[str, int, int]]:
        """Every run, by training set, size and draw."""
        return sorted({key[:3] for key in self._best}, key=lambda run: (run[0] == DUPLICATE_SET, *run[1:]))

    def arms(self, run, detector: str) -> list[str]:
        """The arms of a run's generated clips that the detector searched for, the main one first."""
        names = {key[5] for key in self._best if key[:5] == (*run, detector, "generated")}
        return sorted(names, key=lambda arm: (arm != MAIN, arm))

    def query(self, training_set: str, query_id: str) -> pd.Series:
        """What one query was made with: updates, weights, prompt_set, guidance, steps and more."""
        return self._queries.loc[(training_set, query_id)]  # type: ignore[return-value]  # a row: no query is there twice

    def best(self, run, detector: str, kind: str, arm: str = "") -> pd.DataFrame:
        """See above; raises KeyError where there are no such clips."""
        return self._best[(*run, detector, kind, arm)].reset_index(drop=True)

    def has(self, run, detector: str, kind: str) -> bool:
        """Whether the run has queries of this kind."""
        return (*run, detector, kind, "") in self._best

    def positions(self, run, detector: str, best: pd.DataFrame, null: str) -> np.ndarray:
        """Where clips lie between the null's median and a perfect replay (`replication.position`), float64 [Q].

        Of their match: its ceiling is what it scores against itself after codec and vocoder, and the median of all for one
        that was not sent through (a pooled run sends those that it is asked for, but altered copies are of any of its clips).
        Where the runs are pooled, of their own clip instead, between the median own score of all runs' nulls and the own
        ceiling: NaN for a clip without an own one.
        """
        ceiling = self._ceiling[run[0], detector]
        if self.pooled:
            owned = ceiling.index.union(pd.Index(best["own_id"]).difference([""]))
            ceiling = ceiling.reindex(owned).fillna(ceiling.median())
            return own_positions(best["own_score"], best["own_id"], ceiling, self.null_own(detector, null))
        of_match = best["ref_id"].map(ceiling).fillna(ceiling.median()).to_numpy()
        return position(best["score"].to_numpy(), of_match, float(self.best(run, detector, null)["score"].median()))

    def null_best(self, detector: str, null: str) -> pd.DataFrame:
        """The nulls of all runs, as `best` has those of one."""
        return pd.concat([rows for key, rows in self._best.items() if key[3:5] == (detector, null)])

    def null_own(self, detector: str, null: str) -> pd.Series:
        """The similarity of all runs' nulls to their own clips; to their nearest where they have none."""
        best = self.null_best(detector, null)
        return best["own_score"].fillna(best["score"])

    def background(self, run, detector: str, query_ids) -> np.ndarray:
        """Similarity of queries to their nearest background clips, float [Q, K_max], descending; NaN for a pooled arm that was
        not searched in the background.

        Raises ValueError for a query that has none.
        """
        names, table = self._background[run[0], detector]
        rows = pd.Index(names).get_indexer(query_ids)
        if (rows < 0).all() and self.pooled:  # arms of which the nearest clip alone is known (arms.full_arms)
            return np.full((len(rows), table.shape[1]), np.nan)
        if (rows < 0).any():
            raise ValueError(
                f"background: expected scores for every query, found none for {query_ids[int(np.argmin(rows))]}"
            )
        return table[rows]

    def normalised(self, run, detector: str, best: pd.DataFrame, beta: float, k: int) -> np.ndarray:
        """The bias-normalised best score of each query, float [Q]; NaN where there is no background."""
        background = self.background(run, detector, best["query_id"].to_numpy())
        if np.isnan(background).all():
            return np.full(len(best), np.nan)
        return normalised_scores(best["score"].to_numpy(), background, beta, k)
