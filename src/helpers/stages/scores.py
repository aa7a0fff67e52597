"""The scores stage: the tables of all runs in one place, as they are published. It computes nothing.

Notebook: 05_retrieval.
"""

from pathlib import Path

import pandas as pd

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
            _write(table, out / f"{name}.parquet")


def _write(table: pd.DataFrame, path: Path) -> None:
    """As Parquet, small enough for git: similarities, which never repeat, byte by byte, which halves them."""
    measured = table.select_dtypes("floating").columns
    table.to_parquet(
        path, index=False, compression="zstd", use_dictionary=[name for name in table if name not in measured],
        column_encoding=dict.fromkeys(measured, "BYTE_STREAM_SPLIT"),
    )  # fmt: skip
