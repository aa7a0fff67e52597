"""Stages: computed, planned, listed, verified."""

import contextlib
import difflib
from collections import Counter
from pathlib import Path

from helpers.base.paths import PROFILES, shown
from helpers.base.profile import Profile
from helpers.base.progress import say
from helpers.book import needs, parameters
from helpers.commands.arguments import all_stages, parse_shard, published_folder, with_settings
from helpers.commands.errors import UserError, checking
from helpers.models import aisfx
from helpers.sound.profiles import load_profile
from helpers.study import entries, frozen, input_files, plan, publication, registry, store
from helpers.study.graph import Graph
from helpers.study.manifest import MANIFEST
from helpers.study.stage import Stage

MOST_LABELS = 20  # in an error, of stages


def run_stage(arguments):
    """`run`: n_train and draw choose one training run; other settings replace fields of the profile's section."""
    if arguments.shard and arguments.published:
        raise UserError("--shard: expected no --published beside it, as what is published is not computed")
    if arguments.dry_run:
        return plan_stages(arguments)
    stages, folder, _ = _chosen_stages(arguments, aisfx.require)
    with checking():
        if announced := plan.announcement(plan.missing(stages, folder)):
            say(f"{arguments.stage}: {announced}")
    if arguments.shard:
        with checking():
            part = parse_shard(arguments.shard)
            if not all(stage.shard for stage in stages):
                raise ValueError(
                    f"--shard: expected encoding, references or generation, whose work can be cut, got {arguments.stage}"
                )
        share, n = part
        for number, stage in enumerate(stages):  # an arm of one file is another shard's work for each arm
            store.run_shard(stage, (share - 1 + number) % n + 1, n)
        return
    with publication.use_publication(folder, command="the same command without --published"):
        for stage in stages:
            print(store.load_or_run(stage).path)


def plan_stages(arguments):
    """`plan`: what `run` would compute, or for `all` what is missing of the profile, with an estimate of what it takes."""
    with input_files.telling_missing() as lacking:
        stages, folder, profile = _chosen_stages(arguments)
    missing = print_plan(stages, folder)
    lines = [f"missing: {line}" for line in lacking]
    if any(one.unknown for one in plan.estimate_all(missing)):
        from helpers.study import operations  # imports torch

        lines = operations.in_words(missing, profile) + lines
    for line in lines:
        print(line)
    if folder and not store.computes_all() and (why := needs.difference(missing, folder)):
        print(f"Not computed unasked beside a published study: {why}")


def _chosen_stages(arguments, require=None) -> tuple[list[Stage], Path | None, Profile]:
    """The stages that the arguments name, the folder of the published study where they ask for it, and the profile."""
    with checking():
        settings = parameters.parse_settings(arguments.settings)
        chosen = {key: settings.pop(key) for key in ("n_train", "draw") if key in settings}
        if arguments.stage == "all" and chosen:
            raise ValueError(f"all: expected no n_train or draw, as all are every run's, got {chosen}")
        profile = with_settings(load_profile(arguments.profile), arguments.stage, settings)
        if require:
            require(profile.retrieval.detectors)
        stages = (
            registry.build_all(profile)
            if arguments.stage == "all"
            else registry.build(arguments.stage, profile, **chosen)
        )
        if not stages:
            raise ValueError(f"{arguments.stage}: profile {profile.name} has no such stage for {chosen or 'any run'}")
        if arguments.label:
            labels = [stage.label for stage in stages]
            stages = [stage for stage in stages if stage.label == arguments.label]
            if not stages:
                raise ValueError(f"--label: expected one of {_near(arguments.label, labels)}, got {arguments.label!r}")
        for stage in stages:
            stage.digest  # noqa: B018 - reads the input files: a missing one is told before any work
        folder = publication.find(profile.name) if arguments.published else None
        if arguments.published and not folder:
            raise ValueError(
                f"--published: expected a published study of profile {profile.name} in {shown(publication.RESULTS)}, found "
                f"none; the same command without it computes"
            )
        if folder and arguments.stage == "all":
            # what a reader needs; the rest is nowhere but where it was computed
            stages = publication.wanted(stages, folder)
        frozen.check(profile, plan.missing(stages, folder))
    return stages, folder, profile


def _near(label: str, labels: list[str]) -> str:
    """All labels, or of very many those that are most like `label`."""
    known = [name for name in labels if name]
    if len(known) <= MOST_LABELS:
        return ", ".join(known) or "none"
    near = difflib.get_close_matches(label, known, 5, 0.0)
    return f"{', '.join(near)} and {len(known) - len(near)} more (helpers list shows all)"


def print_plan(stages: list[Stage], folder: Path | None) -> list[Stage]:
    with checking():
        missing = plan.missing(stages, folder)
        print(*plan.in_words(plan.estimate_all(missing)), sep="\n")
    return missing


def list_stages(arguments):
    """`list`: one line per stage: name, label, the digest that names its folder, and its state; then their number."""
    from helpers.study import state

    with checking():
        states = state.states(all_stages(arguments.profile), _current_digests())
    for one in states:
        if one.kind == "stale" or not arguments.stale:
            print(f"{one.stage.title:<28} {one.stage.digest[:16]}  {one.text}")
    counts = Counter(one.kind for one in states)
    told = ", ".join(f"{counts[kind]} {kind}" for kind in state.KINDS if counts[kind])
    print(f"{len(states)} stages: {told}; {plan.in_bytes(sum(one.size_bytes for one in states))}")
    folder = publication.find(arguments.profile)
    missing = [one.stage for one in states if one.kind == "missing"]
    if folder and publication.wanted(missing, folder):
        print(f"helpers restore --profile {arguments.profile} puts in place what the published study has of these")


def _current_digests() -> set[str]:
    """Of the stages of every profile, as far as they can be built here: some need files that are not there."""
    digests = set()
    for path in PROFILES.glob("*.yml"):
        with contextlib.suppress(ValueError, TypeError):  # not a profile
            graph = Graph(load_profile(path.stem))
            for name in registry.NAMES:
                with contextlib.suppress(FileNotFoundError):
                    digests |= {stage.digest for stage in registry.build(name, graph)}
    return digests


def verify_stages(arguments):
    """`verify`: a line for each stage or file that is not as recorded."""
    from helpers.study import verification

    with checking():
        if arguments.folder and not entries.read_entries(arguments.folder):
            raise ValueError(f"--folder: expected a published study, found no {MANIFEST} in {arguments.folder}")
        problems, n_stages, n_files = verification.verify(all_stages(arguments.profile), published_folder(arguments))
    if problems:
        print(*problems, sep="\n")
        raise UserError(f"{len(problems)} problem{'s' * (len(problems) > 1)} in {n_stages} stages and {n_files} files")
    print(f"{n_stages} stages, {n_files} files: as recorded")
