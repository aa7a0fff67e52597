"""The parameters of chapters, checked before anything runs.

Papermill 2.7 only warns of an unknown parameter, does not look at types, and its own reading of the `parameters` cell
misses `Literal[...]`, `X | None` and lines with a second `=`. So the cell is read here with `ast`, and `begin`, which
every notebook calls in its second code cell, checks again what arrived: a bare `papermill` run is refused as well.
"""

import ast
import dataclasses
import difflib
import re
import types
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path

from helpers.base import plain_yaml
from helpers.base.profile import Profile
from helpers.base.progress import say
from helpers.base.settings import CodecConfig, RetrievalConfig, TextConfig, TrainingConfig
from helpers.book import needs
from helpers.book.chapters import CHAPTERS, PER_SIZE, Chapter
from helpers.models import aisfx
from helpers.sound.profiles import load_profile
from helpers.study import plan, publication, registry, store

OTHER_PARTS = (
    "Figures, tables and the numbers in sentences are this profile's. But where a sentence describes how a part was made, or what it "
    "was trained on, it speaks of the book's own."
)
BLANKS = "; a blank ends a setting, so lists are written without, as ks=[1,3]"
# Pages that speak of the nearest training clip.
SEARCHED = ("04_generation", "05_retrieval", "06_thresholds", "07_findings")
_BEGUN = "__chapter_begun__"


def begin(name: str, namespace: dict) -> Chapter:
    """Checks a notebook's parameters: `chapter = parameters.begin("06_thresholds", globals())`.

    From here on stages of a published study are restored, and only what takes seconds is computed beside them, unless
    more is asked for. What will take minutes is announced on the terminal. Where the profile has other parts than the
    book's text describes, and which parameters a published study serves, the page says. Every data value in `namespace` must be a
    parameter of the chapter; modules, classes, functions and names with an underscore are passed over. Raises ValueError
    or TypeError that names the parameter, and NotPublished for what a published study does not serve.
    """
    values = {
        key: value
        for key, value in namespace.items()
        if not (key.startswith("_") or key in ("In", "Out") or isinstance(value, types.ModuleType) or callable(value))
    }
    if namespace.get(_BEGUN):  # cells run again by hand in one session: later cells have left their own values
        values = {key: value for key, value in values.items() if key in known_parameters(name)}
    chapter = check_parameters(name, values)
    if announced := plan.announcement(needs.check(chapter)):
        say(f"{name}: {announced}")
    folder = publication.find(chapter.profile.name)
    publication.use_publication(folder, "all" if store.asked_to_compute() else "light")
    namespace[_BEGUN] = True
    others = _other_parts(chapter.profile)
    notes = [f"**Not the book's own {' and '.join(others)}.** {OTHER_PARTS}"] if others else []
    if name in SEARCHED and chapter.profile.pooled:
        from helpers.book import sentences  # pandas, which the command line needs only where a chapter runs

        notes.append(sentences.of_pool(chapter.profile))
    if folder and chapter.config:
        served = needs.served_in_words(chapter)
        notes.append(f'<div class="served">\n\n{served}\n\n</div>')
    if notes:
        from IPython.display import Markdown, display

        display(*map(Markdown, notes))
    return chapter


def _other_parts(profile: Profile) -> list[str]:
    """What the chapters' text describes and this profile replaces: AudioCaps for the corpus, LAION's CLAP for ours."""
    used = {
        "corpus": (profile.corpus.mixed, True),
        "codec": (profile.codec.codec_path, CodecConfig().codec_path),
        "text encoder": (profile.text.encoder, TextConfig().encoder),
        "CLAP": (profile.retrieval.clap_path, RetrievalConfig().clap_path),
    }
    return [name for name, (value, own) in used.items() if value != own]


def check_parameters(name: str, values: dict) -> Chapter:
    """The chapter's settings with `values` (`profile` and any of its section's fields) over the profile's own.

    Raises ValueError for an unknown chapter, parameter or profile and for a value out of range, TypeError for a value
    of the wrong type, ModuleNotFoundError for a detector whose package is not installed.
    """
    known = known_parameters(name)
    for key in values:
        if key not in known:
            close = difflib.get_close_matches(key, known, n=1)
            hint = f" (did you mean {close[0]!r}?)" if close else ""
            raise ValueError(f"unknown parameter {key!r}{hint}; expected one of {', '.join(known)}")
    values = dict(values)
    profile_name = values.pop("profile", None)
    if not isinstance(profile_name, str):
        raise TypeError(
            f"profile: expected the name of a profile, got {profile_name!r} ({type(profile_name).__name__})"
        )
    study, section = load_profile(profile_name), CHAPTERS[name]
    if study.corpus.kind == "planted":
        raise ValueError(
            f"profile: expected one with pages of its own, got {profile_name}: chapter 7 shows what came of its copies"
        )
    profile = study.replace(section, **values) if section else study
    if not publication.find(profile_name):  # else it is restored
        aisfx.require(profile.retrieval.detectors)  # in every chapter: the first ones are long, and come before it
    if section is None:
        return Chapter(name, profile, None, {})
    own, config = getattr(study, section), getattr(profile, section)
    if section == "training":
        own, config = _scheduled(study, config, values)
    if name == "06_thresholds":
        profile.check_detector()
        if config.labels:
            from helpers.book import listeners  # draws in the libraries that pages show things with

            listeners.check(config.labels, profile)
    if name in PER_SIZE:
        registry.check_run(profile, config.n_train, config.draw)
    changed = {f.name: new for f in fields(config) if (new := getattr(config, f.name)) != getattr(own, f.name)}
    return Chapter(name, profile, config, changed)


def _scheduled(study: Profile, config: TrainingConfig, values: Mapping) -> tuple[TrainingConfig, TrainingConfig]:
    """A training section's own values and those asked for, with the updates and checkpoints that the study has for this size.

    Raises ValueError where others are asked for: they would not be followed.
    """
    run = study.training_run(config.n_train, config.draw)
    if (run.updates, run.checkpoints) == (study.training.updates, study.training.checkpoints):  # no schedule of its own
        return study.training, config
    of_run = {name: getattr(run, name) for name in ("updates", "checkpoints")}
    for name, scheduled in of_run.items():
        asked = tuple(values[name]) if isinstance(values.get(name), list) else values.get(name, scheduled)
        if asked != scheduled:
            told = list(scheduled) if isinstance(scheduled, tuple) else scheduled
            raise ValueError(
                f"{name}: expected {told}, as profile {study.name} has a schedule for {run.n_train:,} clips, got {values[name]}"
            )
    return dataclasses.replace(study.training, **of_run), dataclasses.replace(config, **of_run)


def known_parameters(name: str) -> list[str]:
    """The names that a chapter takes: `profile` and the settings of its section. Raises ValueError for an unknown chapter."""
    if name not in CHAPTERS:
        raise ValueError(f"unknown chapter {name!r}; expected one of {', '.join(CHAPTERS)}")
    section = CHAPTERS[name]
    kind = {f.name: f.type for f in fields(Profile)}[section] if section else None
    return ["profile", *(f.name for f in fields(kind))] if kind else ["profile"]


def read_parameters(notebook: Path) -> dict:
    """Names and default values in the notebook's one `parameters` cell, in order.

    Raises ValueError where there is no such cell or more than one, or where a line is not `name: type = literal`.
    """
    import nbformat

    cells = nbformat.read(notebook, as_version=4).cells
    tagged = [cell for cell in cells if "parameters" in cell.metadata.get("tags", [])]
    if len(tagged) != 1:
        raise ValueError(f"{notebook.name}: expected one cell tagged 'parameters', got {len(tagged)}")
    defaults = {}
    for line in ast.parse(tagged[0].source).body:
        if not (isinstance(line, ast.AnnAssign) and isinstance(line.target, ast.Name) and line.value):
            raise ValueError(
                f"{notebook.name}: expected 'name: type = literal' in the parameters cell, line {line.lineno}"
            )
        try:
            defaults[line.target.id] = ast.literal_eval(line.value)
        except ValueError:
            raise ValueError(f"{notebook.name}: {line.target.id}: expected a literal default") from None
    return defaults


def parse_settings(settings: list[str]) -> dict:
    """`["beta=0.7", "ks=[1, 3]"]` as `{"beta": 0.7, "ks": [1, 3]}`; values are read as YAML. Raises ValueError."""
    parsed = {}
    for setting in settings:
        name, equals, text = setting.partition("=")
        name = name.strip()
        if not (equals and name):
            raise ValueError(f"expected name=value, got {setting!r}{BLANKS}")
        if name in parsed:
            raise ValueError(f"{name}: given twice")
        if re.search(r"\s#", text) and text.strip()[:1] not in ("'", '"'):
            raise ValueError(
                f"{name}: expected quotes about a value with ' #', else a comment begins there, got {text!r}"
            )
        try:
            parsed[name] = plain_yaml.parse(text.strip(), name)
        except ValueError:
            raise ValueError(f"{name}: cannot be read as a value: {text!r}{BLANKS}") from None
    return parsed
