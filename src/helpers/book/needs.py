"""What a chapter needs before it can run: what is there, what a published study gives, and what is to be computed first."""

import dataclasses
from collections.abc import Callable, Iterator
from pathlib import Path

from helpers.book.chapters import CHAPTERS, PER_SIZE, Chapter, chapter_stages
from helpers.models import aisfx
from helpers.study import entries, frozen, plan, publication, store
from helpers.study.stage import Stage
from helpers.study.store import NotPublished

OF_STUDY = dict.fromkeys(("n_train", "draw"), " (of the study)")  # other values than those of its runs are not tried
NONE = "none"  # of the parameters


def check(chapter: Chapter) -> list[Stage]:
    """The stages that are computed before the chapter can be shown with these settings, in that order.

    Raises NotPublished, with the command that computes them and about how long it takes, where these are not asked for
    beside a published study; ModuleNotFoundError for an optional package that one of them needs; ValueError for settings
    that a frozen model does not take.
    """
    folder = publication.find(chapter.profile.name)
    missing = plan.missing(chapter_stages(chapter), folder)
    heavy = [stage for stage in missing if not stage.light]
    frozen.check(chapter.profile, heavy)
    if folder and heavy and not store.asked_to_compute():
        raise NotPublished(_refusal(chapter, missing, folder))
    if any(aisfx.NAME in stage.config for stage in heavy):
        aisfx.require([aisfx.NAME])
    return missing


def command(chapter: Chapter) -> str:
    """What shows the chapter with these settings, and computes what is missing for it."""
    parts = ["HELPERS_COMPUTE=missing make chapter", f"NAME={chapter.name}"]
    if chapter.changed:
        parts.append(f'SET="{" ".join(f"{name}={_as_given(value)}" for name, value in chapter.changed.items())}"')
    return " ".join(parts if chapter.profile.name == "pocket" else [*parts, f"PROFILE={chapter.profile.name}"])


def _as_given(value) -> str:
    if isinstance(value, tuple):
        return f"[{','.join(map(_as_given, value))}]"
    return str(value).lower() if isinstance(value, bool) else str(value)


def difference(missing: list[Stage], folder: Path) -> str:
    """What the last of the stages that do not take seconds alone differs in from its publication; "" for none."""
    return next(filter(None, (entries.difference(stage, folder) for stage in reversed(missing) if not stage.light)), "")


def _refusal(chapter: Chapter, missing: list[Stage], folder: Path) -> str:
    published = {entry["digest"] for entry in entries.read_entries(folder).values()}
    if all(stage.digest in published for stage in missing):  # no setting differs: what is there is damaged
        return f"{difference(missing, folder)}; to compute it: make reproduce (hours)"
    first = "make aisfx && " if any(aisfx.NAME in s.config for s in missing) and not aisfx.installed() else ""
    took = plan.total_in_words(plan.estimate_all(missing))
    return f"{difference(missing, folder)}; to compute it ({took}): {first}{command(chapter)}"


def served(chapter: Chapter) -> dict[str, float]:
    """Of each parameter, how long the published study took for what another value needs anew, in seconds; 0: it has all.

    Other values are those next to the chapter's own; of names, all; of training runs and checkpoints, the profile's. What
    is kept on this machine does not count. Passed over are paths, and what no result depends on. Empty without a published
    study.
    """
    folder = publication.find(chapter.profile.name)
    if not folder or chapter.config is None:
        return {}
    recorded, found = entries.read_entries(folder), {}
    for name in (field.name for field in dataclasses.fields(chapter.config) if field.metadata["digest"]):
        for value in _other_values(chapter, name):
            try:
                profile = chapter.profile.replace(CHAPTERS[chapter.name], **{name: value})
                other = dataclasses.replace(chapter, profile=profile, config=getattr(profile, CHAPTERS[chapter.name]))
                missing = plan.missing(chapter_stages(other), folder, folder / "nowhere", everything=False)
            except (ValueError, FileNotFoundError):  # beside the others' values it means nothing, or needs files
                continue
            keys = [entries.key_of(stage) for stage in missing if any(not stage.light for stage in missing)]
            seconds = sum(recorded[key]["wall_s"] for key in keys if key in recorded)
            found[name] = max(found.get(name, 0.0), seconds)
    return found


def _other_values(chapter: Chapter, name: str) -> Iterator:
    value, profile = getattr(chapter.config, name), chapter.profile
    known = {}
    if profile.schedules and name in ("updates", "checkpoints") and chapter.name == "03_training":
        return  # each size has its own, and no other is taken
    if chapter.name in PER_SIZE:
        draws = dict(zip(profile.sizes, profile.draws)).get(chapter.config.n_train, 0)
        known = {"n_train": profile.sizes, "draw": range(draws)}
    if chapter.name == "04_generation":
        known["updates"] = profile.training_run(chapter.config.n_train, chapter.config.draw).checkpoints
    if name in known:
        yield from (other for other in known[name] if other != value)
    elif isinstance(value, bool):
        yield not value
    elif isinstance(value, str):
        choices = chapter.config.__dataclass_fields__[name].metadata["choices"] or ()
        choices = profile.retrieval.detectors if name == "detector" else choices
        yield from (other for other in choices if other != value)
    elif isinstance(value, tuple):
        yield from [value[:-1]] if value else []
    else:
        step = 1 if isinstance(value, int) else value / 10 or 0.1
        yield from (value + step, value - step)


def served_in_words(chapter: Chapter) -> str:
    """For the chapter's page: which parameters the published study serves, and what the others take."""
    at_once, anew = _told(served(chapter))
    other = dataclasses.replace(chapter, changed=chapter.changed | {"name": "value"})
    ready = "Any change" if at_once == NONE else f"Ready at once: {at_once}. What else is changed"
    return (
        f"**Other settings.** {ready} is computed first, which took {anew} for the published study: `{command(other)}`."
    )


def overview(read: Callable[[str], Chapter]) -> str:
    """A Markdown table of what the published study serves of each chapter that has parameters; `read` gives a chapter."""
    rows = ["| Chapter | Ready at once | Computed first, for any other |", "|---|---|--:|"]
    for name in CHAPTERS:
        if found := served(read(name)):
            rows.append(f"| {' | '.join((name, *_told(found)))} |")
    return "\n".join(rows)


def _told(seconds: dict[str, float]) -> tuple[str, str]:
    names = ", ".join(f"`{name}`{OF_STUDY.get(name, '')}" for name, took in seconds.items() if not took)
    times = sorted(took for took in seconds.values() if took)
    ends = dict.fromkeys(map(publication.duration, times[:1] + times[-1:]))
    return names or NONE, " to ".join(ends)
