"""The profile `tiny` with one gallery for all runs, and a schedule for each size: the study of onsets in a minute."""

import dataclasses

from helpers.base.profile import Profile
from helpers.sound.profiles import load_profile

SCHEDULES = ((2, 3, 4, 6), (2, 4))


def load_pooled() -> Profile:
    tiny = dataclasses.replace(load_profile("tiny"), draws=(2, 1), schedules=SCHEDULES)
    tiny = dataclasses.replace(tiny, planted=dataclasses.replace(tiny.planted, trained=False))
    tiny = tiny.replace("training", offsets=(0, 8), keep_raw=True)
    tiny = tiny.replace("arms", n_heldout_checkpoint=3, n_other_draw=3).replace("controls", n_empirical=0)
    return tiny.replace("retrieval", gallery="pool", detectors=("mel", "mel_aligned"))
