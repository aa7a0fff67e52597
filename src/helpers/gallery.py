"""Clips to listen to, by the ids that results name them by."""

from pathlib import Path

import numpy as np
import pandas as pd

from helpers.config import Profile
from helpers.corpus import subset


def generated_audio(upstream: dict[str, Path]):
    """A function from a generated clip's query_id to its audio int16 [S], over all runs of a retrieval stage's folders."""
    where = {}
    for key, folder in upstream.items():
        if key.startswith("generation_"):
            audio = np.load(folder / "audio.npy", mmap_mode="r")
            for row, query_id in enumerate(pd.read_parquet(folder / "queries.parquet")["query_id"]):
                where[query_id] = (audio, row)
    return lambda query_id: np.asarray(where[query_id][0][where[query_id][1]])


def another_clip(clip_id: str, profile: Profile, n_train: int, draw: int = 0) -> str:
    """The id of a random other clip than `clip_id` of one run's training set; the same at every call."""
    rows = subset(n_train, draw, profile.corpus.n_train, profile.training.seed)
    others = [name for name in (f"train_{i:05d}" for i in rows) if name != clip_id]
    return others[int(np.random.default_rng(n_train).integers(len(others)))]
