"""What one model made of one prompt: by checkpoint, and with one thing changed at a time.

Notebook: 04_generation.
"""

import pandas as pd

from helpers.base.arms import MAIN, describe_arms, list_arms
from helpers.base.profile import Profile
from helpers.book.played_clips import PlayedClips
from helpers.book.tables import arrange
from helpers.book.words import epochs_text


def by_checkpoint(gallery: PlayedClips, profile: Profile, n_train: int, draw: int, last: int) -> pd.DataFrame:
    """The gallery's clips of one prompt from the earliest checkpoint to the main arm's, `last`: with updates and a label."""
    arms, rows = list_arms(profile, n_train, draw), gallery.rows("arm")
    main = rows["arm"] == MAIN
    rows = rows.assign(main=main, updates=rows["arm"].map(lambda arm: arms[arm].updates).where(~main, last))
    rows = rows[main | (rows["updates"] != arms[MAIN].updates)].sort_values(["main", "updates"])
    epochs = rows["updates"] * profile.training.batch_size / n_train
    labels = [f"After {n:,} updates ({epochs_text(e)} epochs)" for n, e in zip(rows["updates"], epochs)]
    return rows.assign(label=labels)


def one_thing_changed(gallery: PlayedClips, profile: Profile, n_train: int, draw: int) -> pd.DataFrame:
    """The gallery's other answers to that prompt, each with a label that says what differs; and a held-out prompt's.

    The first noise seed is left out, as it is that of the main arm. `caption` is empty where the prompt is the same.
    """
    arms, words = list_arms(profile, n_train, draw), describe_arms(profile, n_train, draw)
    main, tried = arms[MAIN], gallery.rows("arm")
    tried = tried[[arms[arm].updates == main.updates and words[arm] != words[MAIN] for arm in tried["arm"]]]
    labels = [
        "A held-out prompt" if arms[arm].prompts != main.prompts else words[arm].capitalize() for arm in tried["arm"]
    ]
    seeds = gallery.rows("seed")[1:]
    rows = pd.concat([tried.assign(label=labels), seeds.assign(label="Noise " + seeds["slot"])]).sort_index()
    return rows.assign(caption=rows["caption"].where(rows["own_id"] != gallery["arm main"]["own_id"], ""))


def made_again(check: pd.DataFrame) -> pd.DataFrame:
    """Latents made again beside those kept, from `regeneration.check_live`."""
    columns = {"caption": "caption", "cosine": "cosine", "relative difference": "relative_difference"}
    caption = "Made again just now: latents compared with those kept."
    return arrange(check, columns, caption, {"cosine": ".6f", "relative difference": ".1e"})
