"""Chapters: which there are, the section of settings that each takes, and the stages that it shows."""

from dataclasses import dataclass

from helpers.base.fields import Checked
from helpers.base.profile import Profile
from helpers.models import aisfx
from helpers.study import registry
from helpers.study.graph import Graph
from helpers.study.stage import Stage

# Each chapter, in order, and the profile section whose fields are its parameters beside `profile`.
CHAPTERS = {
    "01_corpus": "corpus",
    "02_codec": "codec",
    "03_training": "training",
    "04_generation": "generation",
    "05_retrieval": "retrieval",
    "06_thresholds": "thresholds",
    "07_findings": None,
    "08_onset": None,
    "09_data_free": None,
    "10_prevention": None,
}
PER_SIZE = ("03_training", "04_generation")  # one page per training size
# The stages that a chapter shows; what these are made from is computed with them.
STAGES = {
    "01_corpus": ("corpus", "planted", "duplicates"),
    "02_codec": ("corpus", "roundtrip"),
    "03_training": ("corpus", "training"),
    "04_generation": ("corpus", "generation", "clips"),
    "05_retrieval": ("corpus", "clips", "scores", "thresholds", "detection", "alterations"),
    "06_thresholds": ("corpus", "clips", "scores", "thresholds"),
    "07_findings": (
        "corpus",
        "clips",
        "scores",
        "thresholds",
        "duplicates",
        "onset",
        "dose",
        "findings",
        "training",
        "blind",
    ),
    "08_onset": ("corpus", "clips", "prompts", "scores", "thresholds", "onset", "trajectory"),
    "09_data_free": (),
    "10_prevention": (),
}


@dataclass(frozen=True)
class Chapter:
    """A chapter's checked settings: `profile` with this chapter's section replaced by `config`.

    `config` is None for a chapter without a section. `changed` holds the parameters that differ from the profile.
    """

    name: str
    profile: Profile
    config: Checked | None
    changed: dict


def chapter_stages(chapter: Chapter) -> list[Stage]:
    """The stages that a chapter shows with these settings: of its own training run, where it is of one."""
    graph, stages = Graph(chapter.profile), []
    for name in STAGES[chapter.name]:
        of_run = chapter.name in PER_SIZE and name in registry.PER_RUN
        run = {"n_train": chapter.config.n_train, "draw": chapter.config.draw} if of_run else {}
        # Of a stage for all runs, and of a page's own run, the first: that of the main training set, and the main clips.
        # Those of a run's other arms are shown through the stage `clips`.
        stages += registry.build(name, graph, **run)[: 1 if of_run or name in registry.SINGLE else None]
    if chapter.name == "05_retrieval" and aisfx.installed():
        stages.append(registry.with_second_opinion(chapter.profile))
    return stages
