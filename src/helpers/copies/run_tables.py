"""Finds a published table, whether it is one file of all runs or one a run."""

from pathlib import Path

import pandas as pd

from helpers.base.settings import MAIN_SET


def of_all_runs(folder: Path, stage: str, file: str) -> pd.DataFrame:
    """The table `file` of `stage` of every published run of the main training set; without columns where there is none.

    A study that is whole has one table of all its runs in `folder`; one in the making has one in `<stage>/<run>/`.
    """
    whole = folder / file
    paths = [whole] if whole.is_file() else sorted(folder.glob(f"{stage}/*/{file}"))
    tables = [pd.read_csv(path) if path.suffix == ".csv" else pd.read_parquet(path) for path in paths]
    table = pd.concat(tables, ignore_index=True) if tables else pd.DataFrame()
    return table[table["training_set"] == MAIN_SET].reset_index(drop=True) if "training_set" in table else table
