"""Writing Parquet files that are small enough for git."""

from pathlib import Path

import pandas as pd
from pandas.api.types import is_float_dtype, is_integer_dtype

LEVEL = 15  # of zstd: a tenth smaller than at its default; higher ones take many times as long


def write_parquet(table: pd.DataFrame, path: Path) -> None:
    """As Parquet, small enough for git: each column in the encoding that its values ask for.

    Similarities, which never repeat, are written byte by byte, which halves them; whole numbers that differ from row to
    row as differences; what repeats as a dictionary.
    """
    encodings = {name: "BYTE_STREAM_SPLIT" for name in table if is_float_dtype(table[name])}
    for name in table:
        if is_integer_dtype(table[name]) and table[name].nunique() > len(table) / 2:
            encodings[name] = "DELTA_BINARY_PACKED"
    table.to_parquet(
        path, index=False, compression="zstd", compression_level=LEVEL, use_dictionary=[name for name in table if name not in encodings],
        column_encoding=encodings,
    )  # fmt: skip
