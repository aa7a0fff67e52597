"""The table of what is kept of a model that was trained.

Notebook: 03_training.
"""

from collections.abc import Sequence

import pandas as pd

from helpers.base.arms import MAIN, list_arms
from helpers.base.profile import Profile
from helpers.book.tables import captioned
from helpers.book.words import epochs_text


def kept_checkpoints(profile: Profile, lengths: Sequence[int]) -> pd.DataFrame:
    """The checkpoints of the profile's training section after `lengths` updates, and what each is asked to generate."""
    run = profile.training_run(profile.training.n_train, profile.training.draw)
    clips = {
        arm.updates or run.updates: min(arm.n_prompts, run.n_train) * arm.seeds_per_prompt
        for name, arm in list_arms(profile, run.n_train, run.draw).items()
        if name == MAIN or (arm.updates and arm.prompts != "heldout")
    }
    updates = pd.Series(lengths)
    table = pd.DataFrame({
        "updates": updates,
        "epochs of this set": (updates * run.batch_size / run.n_train).map(epochs_text),
        "clips generated in chapter 4": updates.map(clips).fillna(0).astype(int),
    })  # fmt: skip
    return captioned(table, f"Checkpoints of the model of {run.n_train:,} clips.")
