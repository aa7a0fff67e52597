"""What an audit looks for in the training clips: generated clips, honest ones, and copies that it plants itself."""

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pandas as pd

from helpers.base.profile import Profile
from helpers.base.progress import progress
from helpers.base.seeds import seeded
from helpers.copies.audit.folders import Clips
from helpers.copies.audit.landmarks import landmarks
from helpers.copies.audit.planting import ALTERATIONS, plant
from helpers.copies.calibration import split_calibration
from helpers.sound.likeness import cut
from helpers.sound.sounds import Sounds

PLANTED = 10  # copies of each alteration on which the weights are chosen, and as many on which power is told


class Queries(NamedTuple):
    """What is searched in the training clips: a row a file in `about` (kind, clip, part; of planted copies `of`, the number
    of the training clip, and `role`, "fit" or "power"; of stand-ins, and of copies that lie in one, `itself`, likewise, else -1), their sounds, landmarks and
    the keys by which they are kept."""

    about: pd.DataFrame
    sounds: Sounds
    marks: list
    keys: list[str]

    @property
    def names(self) -> pd.Series:
        return self.about["clip"]


def gather(clips: dict[str, Clips], stand_ins: np.ndarray, profile: Profile, scratch: Path) -> Queries:
    """Generated and honest clips, and copies planted in the training clips that are no `stand_ins`, with others of C1 beside
    them. Each of a pair of copies, cut to the length of a generated clip where that is shorter."""
    parts = split_calibration(clips["honest"].names, profile.thresholds.seed)
    sounds, marks, keys, rows = Sounds(scratch / "queries.int16"), [], [], []
    for kind in ("generated", "honest"):
        some = clips[kind]
        sounds.extend(some.sounds[row] for row in range(len(some.names)))
        marks += some.marks
        keys += some.keys
        of_each = parts if kind == "honest" else [""] * len(some.names)
        rows += [
            {"kind": kind, "clip": name, "part": part, "of": -1, "role": "", "itself": -1}
            for name, part in zip(some.names, of_each)
        ]
    for row, copy in _planted(clips, np.flatnonzero(parts == "C1"), stand_ins, profile):
        sounds.extend([copy])
        marks.append(landmarks(copy, profile.corpus.sample_rate_hz))
        keys.append("")
        rows.append(row)
    about = pd.DataFrame(rows)
    if len(stand_ins):
        about.loc[about["kind"] == "honest", "itself"] = stand_ins
    return Queries(about, sounds, marks, keys)


def _planted(clips: dict[str, Clips], beside: np.ndarray, stand_ins: np.ndarray, profile: Profile) -> Iterator:
    """The rows of `Queries.about` and the sounds of 2 PLANTED copies of each alteration, one beside one of the honest `beside`."""
    training, seed = clips["training"], profile.thresholds.seed
    rng, searched = seeded(seed, "planted"), np.setdiff1d(np.arange(len(training.names)), stand_ins)
    wanted = 2 * PLANTED
    chosen = rng.permutation(np.resize(rng.permutation(searched), wanted))
    lengths = np.resize(seeded(seed, "lengths").permutation(np.diff(clips["generated"].sounds.ends)), wanted)
    originals = [
        cut(training.sounds[row], int(length), seeded(seed, "cut", i))
        for i, (row, length) in enumerate(zip(chosen, lengths))
    ]
    for alteration in progress([*ALTERATIONS], desc="planting", unit="kind"):
        for i, row in enumerate(chosen):
            host = int(rng.choice(beside))
            copy = plant(alteration, originals[i], clips["honest"].sounds[host], profile.corpus.sample_rate_hz, seed, i)
            if not np.ptp(copy):
                continue  # the half of a clip that is silent
            name = f"{alteration} of {training.names[row]} ({i})"
            yield (
                {"kind": "planted", "clip": name, "part": alteration, "of": row, "role": ("fit", "power")[i % 2]}
                # the clip that a copy lies in is a training clip where it stands in: near to itself, which is no find
                | {"itself": stand_ins[host] if len(stand_ins) else -1},
                copy,
            )
