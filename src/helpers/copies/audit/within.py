"""Duplicates inside one folder of sounds, whole or in part, as clusters, with the files to drop."""

import tempfile
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy.sparse import coo_array
from scipy.sparse.csgraph import connected_components

from helpers.base.profile import Profile
from helpers.base.progress import progress
from helpers.copies.audit.folders import list_folders, read_clips
from helpers.copies.audit.landmarks import HOP, Index, landmarks
from helpers.copies.audit.search import K_BEST, PLACES

COLUMNS = ["cluster", "file", "drop", "seconds", "like", "score", *PLACES]
SHARE = 0.1  # of what a sound shares with itself, by weight: two that share as much are duplicates


class Duplicates(NamedTuple):
    """What `duplicates` returns: `table` has a row for each file that shares an excerpt with another (COLUMNS), by cluster;
    `left_out` has reasons by file."""

    table: pd.DataFrame
    left_out: dict[str, str]

    @property
    def counted(self) -> tuple[int, str]:
        """How many files there are to drop, and what that number is of."""
        return int(self.table["drop"].sum()), "files to drop"

    def __str__(self) -> str:
        (count, of), clusters = self.counted, self.table["cluster"].nunique()
        return f"{clusters} clusters of files that share an excerpt, {count} {of}; {len(self.left_out)} files left out"


def duplicates(folder: str | Path, profile: Profile) -> Duplicates:
    """Files of a folder that share an excerpt with another.

    Two files are joined where their landmarks agree better than those of any file of the folder do when it is played
    backwards, which keeps everything but the order of sounds, and in at least SHARE of what the lesser has. So about one
    file in all may be joined by chance. The longest of a cluster is kept, the first by name among equals.

    Raises FileNotFoundError for a missing folder, ValueError for one without usable files.
    """
    found, left_out = list_folders({"within": Path(folder)})
    rate = profile.corpus.sample_rate_hz
    with tempfile.TemporaryDirectory() as scratch:
        clips = read_clips("within", found["within"], left_out["within"], profile, Path(scratch))
        index, own, chance, pairs = Index(clips.marks), np.zeros(len(clips.names)), 0.0, []
        for row, marks in enumerate(progress(clips.marks, desc="within", unit="file")):
            matches = index.match(marks, K_BEST + 1)
            own[row] = matches.scores[matches.indices == row].max(initial=0)
            pairs += [(row, *pair) for pair in zip(*matches) if pair[1] != row]
            backwards = index.match(landmarks(clips.sounds[row][::-1], rate), 2)
            chance = max(chance, backwards.scores[backwards.indices != row].max(initial=0))
    table = pd.DataFrame(pairs, columns=["row", "score", "other", *PLACES])
    table[PLACES] *= HOP / rate
    least = SHARE * np.minimum(own[table["row"].astype(int)], own[table["other"].astype(int)])
    table = table[(table["score"] > chance) & (table["score"] >= least)]
    joined = coo_array((np.ones(len(table)), (table["row"], table["other"])), shape=(len(own), len(own)))
    cluster = connected_components(joined, directed=False)[1]
    best = table.sort_values("score", ascending=False, kind="stable").drop_duplicates("row").set_index("row")
    sizes = np.bincount(cluster)
    rows = np.flatnonzero(sizes[cluster] > 1)
    made = pd.DataFrame(
        {"cluster": cluster[rows], "file": clips.names[rows], "seconds": clips.measures["seconds"][rows]}
    )
    made = made.join(best)
    made["like"] = made["other"].map(lambda other: clips.names[int(other)], na_action="ignore")
    made = made.sort_values(["cluster", "seconds", "file"], ascending=[True, False, True]).reset_index(drop=True)
    made["drop"] = made.duplicated("cluster")
    made["cluster"] = made["cluster"].rank(method="dense").astype(int)
    return Duplicates(made[COLUMNS], clips.left_out)
