"""Writing Parquet files of scores, which are published."""

from pathlib import Path

import pandas as pd
from pandas.api.types import is_float_dtype


def write_parquet(table: pd.DataFrame, path: Path) -> None:
    """As Parquet, small enough for git: similarities, which never repeat, byte by byte, which halves them."""
    measured = [name for name in table if is_float_dtype(table[name])]
    table.to_parquet(
        path, index=False, compression="zstd", use_dictionary=[name for name in table if name not in measured],
        column_encoding=dict.fromkeys(measured, "BYTE_STREAM_SPLIT"),
    )  # fmt: skip
