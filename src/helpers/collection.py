"""The scores stage: the tables of all runs in one place, as they are published. It computes nothing.

Notebook: 05_retrieval.
"""

from pathlib import Path

import pandas as pd

from helpers.config import Profile

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
