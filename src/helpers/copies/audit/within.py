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

PARTNERS = 256  # of each file that are looked at: of a cluster of more files than that, more than one may be kept
COLUMNS = ["cluster", "file", "drop", "seconds", "like", "score", *PLACES]
SHARE = 0.1  # of what a sound shares with itself, by weight: two that share as much are duplicates
MIRRORED = (
    0.5  # likewise: a sound that shares as much with another played backwards is its mirror image, which is no chance
)


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

    Two files are joined where they have the same samples, or where their landmarks agree better than those of any file of the
    folder do when it is played backwards, which keeps everything but the order of sounds, and in at least SHARE of what the
    lesser has. So about one file in all may be joined by chance. Files that are MIRRORED do not count there. Of a cluster
    the longest is kept, the first by name among equals; then each that shares nothing with a kept one is kept too.

    Raises FileNotFoundError for a missing folder, ValueError for one without usable files.
    """
    found, left_out = list_folders({"within": Path(folder)})
    rate = profile.corpus.sample_rate_hz
    with tempfile.TemporaryDirectory() as scratch:
        clips = read_clips("within", found["within"], left_out["within"], profile, Path(scratch))
        index, own, pairs, mirrored = Index(clips.marks), np.zeros(len(clips.names)), [], []
        for row, marks in enumerate(progress(clips.marks, desc="within", unit="file")):
            matches = index.match(marks, PARTNERS + 1)
            own[row] = matches.scores[matches.indices == row].max(initial=0)
            pairs += [(row, *pair) for pair in zip(*matches) if pair[1] != row]
            backwards = index.match(landmarks(clips.sounds[row][::-1], rate), K_BEST + 1)
            mirrored += [(row, *pair) for pair in zip(*backwards) if pair[1] != row]
        seconds, equal = clips.measures["seconds"].to_numpy(), clips.first_of_equal()
    table = _joined(_table(pairs, rate), _table(mirrored, rate), own, _equals(equal, own, seconds))
    among, names = (table["row"].to_numpy(int), table["other"].to_numpy(int)), clips.names
    cluster = connected_components(coo_array((np.ones(len(table)), among), shape=(len(own), len(own))), directed=False)
    drop = _dropped(*among, np.lexsort((names, -seconds)))
    # a file to drop stands beside a kept one that it shares something with
    table = table.assign(kept=~drop[among[1]]).sort_values(["kept", "score"], ascending=False, kind="stable")
    best = table.drop_duplicates("row").set_index("row")
    rows = np.unique(among[0])
    made = pd.DataFrame(
        {"cluster": cluster[1][rows], "file": names[rows], "drop": drop[rows], "seconds": seconds[rows]}
    )
    made = made.set_index(rows).join(best)
    made["like"] = names[made["other"].to_numpy(int)]
    made = made.sort_values(["cluster", "drop", "seconds", "file"], ascending=[True, True, False, True])
    made["cluster"] = made["cluster"].rank(method="dense").astype(int)
    return Duplicates(made[COLUMNS].reset_index(drop=True), clips.left_out)


def _table(pairs: list[tuple], rate: int) -> pd.DataFrame:
    table = pd.DataFrame(pairs, columns=["row", "score", "other", *PLACES])
    table[PLACES] *= HOP / rate
    return table.astype({"row": int, "other": int})


def _equals(equal: np.ndarray, own: np.ndarray, seconds: np.ndarray) -> pd.DataFrame:
    """Pairs of sounds with the same samples, either way round: each with the first of its kind."""
    again = np.flatnonzero(equal != np.arange(len(equal)))
    both = np.concatenate([again, equal[again]]), np.concatenate([equal[again], again])
    columns = {"row": both[0], "score": own[both[0]], "other": both[1]} | dict.fromkeys(PLACES, 0.0)
    return pd.DataFrame(columns).assign(length_s=seconds[both[0]])


def _joined(pairs: pd.DataFrame, mirrored: pd.DataFrame, own: np.ndarray, equals: pd.DataFrame) -> pd.DataFrame:
    """The pairs that are duplicates, each both ways round. own [N]: what each sound shares with itself."""

    def shares(table: pd.DataFrame) -> np.ndarray:
        lesser = np.minimum(own[table["row"]], own[table["other"]])
        return table["score"].to_numpy(float) / np.maximum(lesser, 1e-9)

    chance = mirrored["score"].to_numpy(float)[shares(mirrored) < MIRRORED].max(initial=0.0)
    found = pairs[(pairs["score"] > chance) & (shares(pairs) >= SHARE)]
    swapped = {"row": "other", "other": "row", PLACES[0]: PLACES[1], PLACES[1]: PLACES[0]}
    return pd.concat([found, equals, found.rename(columns=swapped)], ignore_index=True)


def _dropped(rows: np.ndarray, others: np.ndarray, order: np.ndarray) -> np.ndarray:
    """Which sounds [N] share something with one that is kept, where they are gone through in `order`."""
    drop, kept = np.zeros(len(order), bool), np.zeros(len(order), bool)
    partners = pd.Series(others).groupby(rows).agg(list).to_dict()
    for row in order:
        drop[row] = kept[partners.get(row, [])].any()
        kept[row] = not drop[row]
    return drop
