"""The clips that the book plays, by slot."""

from pathlib import Path

import numpy as np
import pandas as pd
import soundfile

from helpers.base.csv_file import read_csv


class PlayedClips:
    """A finished clips stage: `gallery["quantile 0.50"]` is a row of gallery.csv; `audio(slot)` its sound int16 [S]."""

    def __init__(self, folder: Path):
        self.folder, self.table = Path(folder), read_csv(Path(folder) / "gallery.csv", keep_default_na=False)

    def __getitem__(self, slot: str) -> pd.Series:
        return self.table.set_index("slot").loc[slot]

    def __contains__(self, slot: str) -> bool:
        return slot in set(self.table["slot"])

    def rows(self, role: str) -> pd.DataFrame:
        """The rows whose slots have this role, in order: "quantile", "false alarm", "miss", "fooled", "arm" or "seed".

        A slot is called by its role and a name, as the clips stage writes them; only "perfect replay" is there once.
        """
        return self.table[self.table["slot"].str.startswith(f"{role} ")]

    def audio(self, slot: str) -> np.ndarray:
        """Sound int16 [S] of a slot's clip."""
        return soundfile.read(self.folder / self[slot]["file"], dtype="int16")[0]
