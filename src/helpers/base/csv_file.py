"""Reading the CSV files that stages write."""

from pathlib import Path

import pandas as pd

# what users wrote, or named: it stays text where it reads as a number ("0012") or as a missing value ("NA")
TEXTS = ("caption", "file", "caption_a", "caption_b", "id_a", "id_b", "package_a", "package_b")


def read_csv(path: str | Path, **options) -> pd.DataFrame:
    """The table of a CSV file, as `pandas.read_csv` reads it, with the columns TEXTS as text; what is empty there is ""."""
    return pd.read_csv(path, converters=dict.fromkeys(TEXTS, str), **options)
