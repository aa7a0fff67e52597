"""Which training clips of a run are altered as known copies, and how: a plan that follows from the settings alone."""

import numpy as np
import pandas as pd

from helpers.base.profile import Profile
from helpers.base.seeds import deal, seeded
from helpers.sound.corpus import Corpus, subset
from helpers.sound.transforms import TRANSFORMS, apply_transform


def plan_alterations(profile: Profile, n_train: int, draw: int) -> pd.DataFrame:
    """One row a known copy of a run: query_id, index (of the training clip), transform, strength.

    Every clip once before any comes again; the transforms in turn, the next strength of each in every turn. Raises
    ValueError as `corpus.subset` does.
    """
    config, names, rows = profile.controls, list(TRANSFORMS), []
    members = subset(profile.training_run(n_train, draw), profile.corpus.n_train)
    dealt = deal(members, config.n_altered, (config.seed, "controls", n_train, draw, "altered"))
    for number, index in enumerate(map(int, dealt)):
        turn, position = divmod(number, len(names))
        strengths = TRANSFORMS[names[position]].strengths
        query_id = f"altered_{profile.key(n_train, draw)}_{index:05d}_{number}"
        rows.append((query_id, index, names[position], float(strengths[turn % len(strengths)])))
    return pd.DataFrame(rows, columns=["query_id", "index", "transform", "strength"])


def alter(data: Corpus, profile: Profile, n_train: int, draw: int, number: int, copy) -> np.ndarray:
    """int16 [S]: known copy `number` of a run, of which `copy` has index, transform and strength; before codec and vocoder.

    "mix" takes a held-out clip for the other: a background clip would raise the bias of these copies alone.
    """
    rng, heldout = seeded(profile.controls.seed, "controls", n_train, draw, "alteration", number), data.rows("heldout")
    other = np.asarray(data.audio[heldout[int(rng.integers(len(heldout)))]])
    audio = np.asarray(data.audio[data.rows("train")[copy["index"]]])
    return apply_transform(copy["transform"], audio, copy["strength"], rng, other, profile.corpus.sample_rate_hz)
