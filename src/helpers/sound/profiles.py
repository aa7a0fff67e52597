"""Profiles with the clips that there are: `all` of a user's corpus becomes their number."""

from pathlib import Path

from helpers.base import settings
from helpers.base.paths import PROFILES
from helpers.base.settings import CorpusConfig, Profile


def load_profile(name: str, folder: Path = PROFILES) -> Profile:
    """`settings.load_profile`, where `n_train: all` is the number of official training clips that can be used.

    Where the data are not here it is as many as TANGO had, so that what it would take can be told. Raises what that and
    `user_audio.count_training` raise.
    """
    return settings.load_profile(name, folder, count_all=_usable)


def _usable(config: CorpusConfig) -> int:
    from helpers.sound.user_audio import count_training  # where it is needed: it loads what reads audio

    try:
        return count_training(config)
    except FileNotFoundError:  # told where the corpus is asked for
        return settings.AUDIOCAPS_TRAINING
