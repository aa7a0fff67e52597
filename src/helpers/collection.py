"""The scores stage: the tables of all runs in one place, as they are published, and how they are read. It computes nothing.

Notebook: 05_retrieval.
"""

from pathlib import Path

import numpy as np
import pandas as pd

from helpers.arms import MAIN as MAIN_ARM
from helpers.config import Profile
from helpers.retrieval import normalised_scores

TABLES = ("scores", "null", "background", "variants", "queries")
MAIN, DUPLICATES = "main", "duplicates"  # the training sets


def compute(out: Path, upstream: dict[str, Path], profile: Profile) -> None:
    """Writes each of TABLES as .parquet, with a column `training_set`, and ceiling.parquet and quality.csv likewise."""
    parts = {name: [] for name in (*TABLES, "ceiling", "quality")}
    for key, folder in upstream.items():
        stage, _, of = key.partition("_")
        mark = {"training_set": DUPLICATES if of.startswith(("dup", "planted")) else MAIN}
        if stage == "retrieval":
            for name in TABLES:
                if (folder / f"{name}.parquet").is_file():  # only the first draws have variants
                    parts[name].append(pd.read_parquet(folder / f"{name}.parquet").assign(**mark))
        elif stage == "quality":
            parts["quality"].append(pd.read_csv(folder / "quality.csv").assign(**mark))
        else:
            parts["ceiling"].append(pd.read_parquet(folder / "ceiling.parquet").assign(**mark))
    for name, tables in parts.items():
        table = pd.concat(tables, ignore_index=True)
        if name in ("scores", "null"):  # a clip's own score is for whoever looks at one run
            table = table.drop(columns="own_score")
        if name == "background":  # held-out clips are queries of every run
            table = table.drop_duplicates(["training_set", "detector", "query_id", "rank"])
        if name == "queries":
            table = table.drop(columns="caption").drop_duplicates(["training_set", "query_id"])
        if name == "quality":
            table.to_csv(out / "quality.csv", index=False)
        else:
            _write(table, out / f"{name}.parquet")


def _write(table: pd.DataFrame, path: Path) -> None:
    """As Parquet, small enough for git: similarities, which never repeat, byte by byte, which halves them."""
    measured = table.select_dtypes("floating").columns
    table.to_parquet(
        path, index=False, compression="zstd", use_dictionary=[name for name in table if name not in measured],
        column_encoding=dict.fromkeys(measured, "BYTE_STREAM_SPLIT"),
    )  # fmt: skip


class ScoreTable:
    """The tables of the scores stage, arranged for thresholds.

    `best(run, detector, kind, arm)` has one row a query: query_id, own_id, ref_id, score (its best match).
    A run is (training_set, n_train, draw).
    """

    def __init__(self, folder: Path):
        tables = [pd.read_parquet(folder / f"{name}.parquet") for name in ("scores", "null")]
        best = pd.concat(tables, ignore_index=True).query("rank == 1").drop(columns="rank")
        self._best = dict(tuple(best.groupby(["training_set", "n_train", "draw", "detector", "kind", "arm"])))
        self.queries = pd.read_parquet(folder / "queries.parquet")
        ceiling = pd.read_parquet(folder / "ceiling.parquet")
        self._ceiling = {
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
        return sorted({key[:3] for key in self._best}, key=lambda run: (run[0] == DUPLICATES, *run[1:]))

    def arms(self, run) -> list[str]:
        """The arms of a run's generated clips, the main one first."""
        found = {key[5] for key in self._best if key[:3] == run and key[4] == "generated"}
        return sorted(found, key=lambda arm: (arm != MAIN_ARM, arm))

    def best(self, run, detector: str, kind: str, arm: str = "") -> pd.DataFrame:
        """See above; raises KeyError where there are no such clips."""
        return self._best[(*run, detector, kind, arm)].reset_index(drop=True)

    def has(self, run, detector: str, kind: str) -> bool:
        """Whether the run has queries of this kind."""
        return (*run, detector, kind, "") in self._best

    def ceiling(self, run, detector: str) -> pd.Series:
        """What each training clip scores against itself after codec and vocoder, by clip_id."""
        return self._ceiling[run[0], detector]

    def match_ceiling(self, run, detector: str, best: pd.DataFrame) -> np.ndarray:
        """What the match of each query scores against itself after codec and vocoder, float [Q].

        A match beyond those that were round-tripped takes the median.
        """
        ceiling = self.ceiling(run, detector)
        return best["ref_id"].map(ceiling).fillna(ceiling.median()).to_numpy()

    def background(self, run, detector: str, query_ids) -> np.ndarray:
        """Similarity of queries to their nearest background clips, float [Q, K_max], descending."""
        names, table = self._background[run[0], detector]
        rows = pd.Index(names).get_indexer(query_ids)
        if (rows < 0).any():
            raise ValueError(
                f"background: expected scores for every query, found none for {query_ids[int(np.argmin(rows))]}"
            )
        return table[rows]

    def normalised(self, run, detector: str, best: pd.DataFrame, beta: float, k: int) -> np.ndarray:
        """The bias-normalised best score of each query, float [Q]."""
        background = self.background(run, detector, best["query_id"].to_numpy())
        return normalised_scores(best["score"].to_numpy(), background, beta, k)
