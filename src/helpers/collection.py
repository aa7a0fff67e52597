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
        if name == "background":  # held-out clips are queries of every run
            table = table.drop_duplicates(["training_set", "detector", "query_id", "rank"])
        if name == "queries":
            table = table.drop(columns="caption").drop_duplicates(["training_set", "query_id"])
        if name == "quality":
            table.to_csv(out / "quality.csv", index=False)
        else:
            table.to_parquet(out / f"{name}.parquet", index=False, compression="zstd")
