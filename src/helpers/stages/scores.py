"""The scores stage: the tables of all runs in one place, as they are published. It computes nothing.

Notebook: 05_retrieval.
"""

from pathlib import Path

import pandas as pd

from helpers.base.parquet_file import write_parquet

TABLES = ("scores", "null", "background", "variants", "queries")


def compute(out: Path, upstream: dict[str, Path], training_sets: dict[str, str], keep_own: bool) -> None:
    """Writes each of TABLES as .parquet, with a column `training_set`, and ceiling.parquet and quality.csv likewise.

    `keep_own`: with `own_score`, each query's similarity to its own clip, which tells something where all runs share one
    gallery.
    `training_sets` tells by the keys of `upstream` which training set each is of; what a folder holds is collected from it.
    """
    parts = {name: [] for name in (*TABLES, "ceiling", "quality")}
    for key, folder in upstream.items():
        for name, tables in parts.items():
            read, path = (pd.read_csv, "quality.csv") if name == "quality" else (pd.read_parquet, f"{name}.parquet")
            if (folder / path).is_file():  # only the first draws have variants
                tables.append(read(folder / path).assign(training_set=training_sets[key]))
    if keep_own:  # the ceiling of each run's own clips
        of_ceiling = (table[(table["kind"] == "ceiling") & (table["rank"] == 1)] for table in parts["null"])
        own = pd.concat(of_ceiling).rename(columns={"own_id": "clip_id"})
        parts["ceiling"] = [
            own[["detector", "clip_id", "own_score", "training_set"]].drop_duplicates(["detector", "clip_id"])
        ]
    for name, tables in parts.items():
        table = pd.concat(tables, ignore_index=True)
        if name in ("scores", "null") and not keep_own:
            table = table.drop(columns="own_score")
        if name == "background":  # held-out clips are queries of every run
            table = table.drop_duplicates(["training_set", "detector", "query_id", "rank"])
        if name == "queries":
            table = table.drop(columns="caption").drop_duplicates(["training_set", "query_id"])
        if name == "quality":
            table.to_csv(out / "quality.csv", index=False)
        else:
            write_parquet(table, out / f"{name}.parquet")
