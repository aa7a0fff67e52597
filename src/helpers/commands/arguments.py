"""What arguments of several commands mean: a profile's stages, settings that replace its own, part K of N, a folder."""

import dataclasses
import os
from pathlib import Path

from helpers.base.fields import Checked
from helpers.base.profile import Profile
from helpers.sound.profiles import load_profile
from helpers.study import publication, registry
from helpers.study.stage import Stage

DEFAULT_PROFILE = os.environ.get("PROFILE", "pocket")


def all_stages(profile: str) -> list[Stage]:
    """Of the profile of this name."""
    return registry.build_all(load_profile(profile))


def published_folder(arguments) -> Path:
    """That of `--folder`, or the profile's."""
    return arguments.folder or publication.RESULTS / arguments.profile


def parse_shard(text: str) -> tuple[int, int]:
    """K and N of `K/N`; raises ValueError for anything else."""
    k, _, n = text.partition("/")
    if not (k.isdecimal() and n.isdecimal() and 1 <= int(k) <= int(n)):
        raise ValueError(f"--shard: expected K/N, as 2/8, got {text!r}")
    return int(k), int(n)


def with_settings(profile: Profile, stage: str, settings: dict) -> Profile:
    """The profile with settings of `--set` in place of its own; those of `stage` need no section before them."""
    sections: dict[str, dict] = {}
    for key, value in settings.items():
        section, field = section_of(profile, stage, key), key.split(".")[-1]
        if field in ("n_train", "draw") and section not in ("corpus", "planted"):
            raise ValueError(
                f"{key}: expected {field} alone, which picks a run, as {section} has one for each, got {value}"
            )
        if profile.schedules and section == "training" and field in ("updates", "checkpoints"):
            raise ValueError(f"{key}: expected no other than the schedules of profile {profile.name}, got {value}")
        sections.setdefault(section, {})[field] = value
    return profile.replace_in(sections)  # at once: updates and checkpoints must fit each other


def section_of(profile: Profile, stage: str, setting: str) -> str:
    """The section that a setting belongs to: as written (`mel.n_mels`), the stage's own, or the only one that has it.

    Raises ValueError where there is none, or more than one.
    """
    sections = {f.name for f in dataclasses.fields(profile) if isinstance(getattr(profile, f.name), Checked)}
    section, dot, field = setting.rpartition(".")
    if dot:
        if section not in sections:
            raise ValueError(f"{setting}: expected a section of {', '.join(sorted(sections))}, got {section!r}")
        return section
    having = [key for key in sorted(sections) if hasattr(getattr(profile, key), field)]
    if stage in having:
        return stage
    if len(having) != 1:
        places = " or ".join(f"{key}.{field}" for key in having)
        raise ValueError(
            f"{field}: expected {places}, to tell which is meant"
            if having
            else f"unknown parameter {field!r}: expected a field of {', '.join(sorted(sections))}"
        )
    return having[0]
