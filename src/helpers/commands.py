"""What each command of the command line does: functions of the parsed arguments, which print to standard output."""

import contextlib
import dataclasses
import difflib
import json
import os
import sys
from collections import Counter
from pathlib import Path

import yaml

from helpers.base.fields import Checked
from helpers.base.paths import BOOK, PROFILES, shown
from helpers.base.profile import Profile
from helpers.base.progress import say
from helpers.book import chapters, execution, needs, pages, parameters
from helpers.models import aisfx
from helpers.sound.profiles import load_profile
from helpers.study import entries, frozen, input_files, plan, publication, registry, store
from helpers.study.graph import Graph
from helpers.study.manifest import MANIFEST, read_manifest
from helpers.study.stage import Stage

LARGEST_PUBLICATION_MB = 56  # it is kept in git
MOST_LABELS = 20  # in an error, of stages
DEFAULT_PROFILE = os.environ.get("PROFILE", "pocket")
MOST_SEEDS = 32  # clips of one prompt: all are in one page


class UserError(Exception):
    """Something to be told in one line: a wrong name, type or value, a missing file."""


class AuditFailed(Exception):
    """More was flagged than `--fail-above` allows, to be told by the exit code."""


@contextlib.contextmanager
def checking(*others: type[Exception]):
    """Turns what the checks raise before any work starts into a one-line message, and `others`; errors of the work stay whole."""
    try:
        yield
    except (ValueError, TypeError, FileNotFoundError, ModuleNotFoundError, *others) as error:
        raise UserError(str(error)) from error


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
            part = _part(arguments.shard)
            if not all(stage.shard for stage in stages):
                raise ValueError(
                    f"--shard: expected encoding, references or generation, whose work can be cut, got {arguments.stage}"
                )
        for stage in stages:
            store.run_shard(stage, *part)
        return
    with publication.use_publication(folder, command="the same command without --published"):
        for stage in stages:
            print(store.load_or_run(stage).path)


def _part(text: str) -> tuple[int, int]:
    k, _, n = text.partition("/")
    if not (k.isdecimal() and n.isdecimal() and 1 <= int(k) <= int(n)):
        raise ValueError(f"--shard: expected K/N, as 2/8, got {text!r}")
    return int(k), int(n)


def plan_stages(arguments):
    """`plan`: what `run` would compute, or for `all` what is missing of the profile, with an estimate of what it takes."""
    with input_files.telling_missing() as lacking:
        stages, folder, profile = _chosen_stages(arguments)
    missing = _print_plan(stages, folder)
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
        profile = _with_settings(load_profile(arguments.profile), arguments.stage, settings)
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


def _print_plan(stages: list[Stage], folder: Path | None) -> list[Stage]:
    with checking():
        missing = plan.missing(stages, folder)
        print(*plan.in_words(plan.estimate_all(missing)), sep="\n")
    return missing


def _with_settings(profile: Profile, stage: str, settings: dict) -> Profile:
    sections: dict[str, dict] = {}
    for key, value in settings.items():
        section, field = _section(profile, stage, key), key.split(".")[-1]
        if field in ("n_train", "draw") and section not in ("corpus", "planted"):
            raise ValueError(
                f"{key}: expected {field} alone, which picks a run, as {section} has one for each, got {value}"
            )
        if profile.schedules and section == "training" and field in ("updates", "checkpoints"):
            raise ValueError(f"{key}: expected no other than the schedules of profile {profile.name}, got {value}")
        sections.setdefault(section, {})[field] = value
    return profile.replace_in(sections)  # at once: updates and checkpoints must fit each other


def _section(profile: Profile, stage: str, setting: str) -> str:
    """The section that a setting belongs to: as written (`mel.n_mels`), the stage's own, or the only one that has it."""
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


def run_audit(arguments):
    """`audit`: writes tables of all clips and prints what is flagged; with --within, the duplicates inside one folder."""
    from helpers.book import audit_page
    from helpers.copies.audit import audit, files, options, within  # import torch

    folders = {kind: getattr(arguments, kind) for kind in audit.KINDS}
    how = (arguments.match_honest, arguments.keep, arguments.chromaprint)
    with checking(OSError):
        options.check(vars(arguments))
        profile = _audited_profile(arguments, audit.leave_out_missing)
        if arguments.shard:
            return audit.prepare(folders, profile, _part(arguments.shard), *how)
        if arguments.within:
            found = within.duplicates(arguments.within, profile)
        else:
            found = audit.audit(*folders.values(), profile, files.left_out_beside(arguments.output), *how)
    channel = profile.corpus.channel
    if arguments.within:
        page = audit_page.within_page(found, arguments.within, channel)
    else:
        page = audit_page.audit_page(found, folders, channel)
    print(found, *files.write(found, arguments.output, page), sep="\n")
    (count, of), limit = found.counted, arguments.fail_above
    if limit is not None and count is None:
        raise AuditFailed("--fail-above: no rate is stated, so nothing can be counted")
    if limit is not None and count > limit:
        raise AuditFailed(f"--fail-above: expected at most {limit} {of}, got {count}")


def ask_prompt(arguments):
    """`prompt`: writes a page with what a trained model makes of one prompt, and prints how near each clip comes."""
    from helpers.book import prompt_page
    from helpers.book.words import share_text
    from helpers.copies import prompted  # imports torch
    from helpers.sound.corpus import load_corpus

    with checking():
        profile = load_profile(arguments.profile)
        n_train = min(profile.sizes) if arguments.n_train is None else arguments.n_train
        _check_prompt(arguments, profile, n_train)
        folder = publication.find(profile.name)
        _check_model(profile, n_train, folder)
    with publication.use_publication(folder, command=f"helpers run scores --profile {profile.name}"):
        weights = registry.denoiser_folder(profile, n_train, 0)
        corpus, scores = (registry.finished(name, profile).path for name in ("corpus", "scores"))
    honest = prompted.honest_clips(scores / "null.parquet", profile.thresholds.theta, n_train)
    found = prompted.ask(
        arguments.text, arguments.seeds, weights, load_corpus(corpus), honest.median, profile, n_train, 0
    )
    share = share_text(honest.near_exact_rate)
    again = ["--profile", profile.name] * (profile.name != DEFAULT_PROFILE)
    again += ["--n-train", str(n_train)] * (n_train != min(profile.sizes))
    arguments.output.write_text(prompt_page.prompt_page(found, profile, n_train, share, again), encoding="utf-8")
    for row in found.table.itertuples():
        beside = "" if row.silent else f" Nearest: {row.nearest_caption!r} ({row.nearest_id})."
        print(f"seed {row.seed}: {prompt_page.in_words(row, profile.thresholds.theta)}{beside}")
    print(arguments.output)


def _check_prompt(arguments, profile: Profile, n_train: int):
    if not arguments.text.strip():
        raise ValueError("text: expected a prompt, as 'a dog barks', got nothing")
    if not 1 <= arguments.seeds <= MOST_SEEDS:
        raise ValueError(f"--seeds: expected 1 to {MOST_SEEDS}, got {arguments.seeds}")
    if not profile.pooled or "twins" not in profile.nulls:
        raise ValueError(
            "--profile: expected a study of mixtures whose runs are searched in one gallery (retrieval.gallery: pool), got "
            f"{profile.name}"
        )
    if n_train not in profile.sizes:
        raise ValueError(f"--n-train: expected one of {', '.join(map(str, profile.sizes))}, got {n_train}")
    if arguments.output.is_dir() or not arguments.output.parent.is_dir():
        raise ValueError(f"--output: expected a file in a folder that is there, got {arguments.output}")


def _check_model(profile: Profile, n_train: int, folder: Path | None):
    """Raises ValueError, before anything is computed, where the model's weights or the study's scores are not at hand."""
    graph, published = Graph(profile), entries.read_entries(folder) if folder else {}
    trained, denoiser, scores = graph.training(n_train, 0), graph.denoiser(), graph.scores()
    if not (trained.folder() / "checkpoints").is_dir():
        first = n_train == min(profile.sizes)
        if not first or entries.key_of(denoiser) not in published:
            raise ValueError(
                f"--n-train: expected a model whose weights are here, got {n_train}; to train it: HELPERS_COMPUTE=all "
                f"helpers run training --profile {profile.name} --label {trained.label}"
            )
    if entries.key_of(scores) not in published and not read_manifest(scores):
        raise ValueError(
            f"--profile: expected a study that is published or computed, got {profile.name}; to compute it: "
            f"helpers run scores --profile {profile.name}"
        )


def _audited_profile(arguments, leave_out_missing) -> Profile:
    settings = parameters.parse_settings(arguments.settings)
    profile = _with_settings(load_profile(arguments.profile), "thresholds", settings)
    return profile if {"detectors", "retrieval.detectors"} & settings.keys() else leave_out_missing(profile)


def run_chapter(arguments):
    """`chapter`: prints the path of the executed notebook."""
    with checking():
        settings = parameters.parse_settings(arguments.settings)
        if "profile" in settings:
            raise ValueError("profile: give it as --profile")
        if arguments.output:
            execution.check_output(arguments.output)
        chapter = parameters.check_parameters(arguments.name, {"profile": arguments.profile, **settings})
        if arguments.dry_run:
            _print_plan(chapters.chapter_stages(chapter), publication.find(chapter.profile.name))
        try:
            needs.check(chapter)
        except store.NotPublished as error:
            if not arguments.dry_run:
                raise
            print(f"Not computed unasked: {error}")
    if arguments.dry_run:
        return
    output = arguments.output or pages.own_page(chapter)
    print(execution.run_chapter(arguments.name, settings, output, arguments.profile))


def list_stages(arguments):
    """`list`: one line per stage: name, label, the digest that names its folder, and its state; then their number."""
    from helpers.study import state

    with checking():
        states = state.states(_all_stages(arguments.profile), _current_digests())
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
        problems, n_stages, n_files = verification.verify(_all_stages(arguments.profile), _folder(arguments))
    if problems:
        print(*problems, sep="\n")
        raise UserError(f"{len(problems)} problem{'s' * (len(problems) > 1)} in {n_stages} stages and {n_files} files")
    print(f"{n_stages} stages, {n_files} files: as recorded")


def _all_stages(profile: str) -> list[Stage]:
    return registry.build_all(load_profile(profile))


def _folder(arguments) -> Path:
    return arguments.folder or publication.RESULTS / arguments.profile


def publish_stages(arguments):
    """`publish`: the finished stages' files for readers; prints their number and size, and which stages are missing."""
    folder = _folder(arguments)
    with checking():
        stages = _all_stages(arguments.profile)
        paths = publication.publish(stages, folder)
    published = entries.read_entries(folder).values()
    total_mb = sum(file["size"] for entry in published for file in entry["files"].values()) / 1e6
    print(f"{len(paths)} files published; {folder} holds {total_mb:.1f} MB")
    for stage in publication.wanted(stages, folder):
        if line := entries.difference(stage, folder):
            print(f"missing: {line}")
    if total_mb > LARGEST_PUBLICATION_MB:
        print(f"warning: expected at most {LARGEST_PUBLICATION_MB} MB, got {total_mb:.1f} MB", file=sys.stderr)


def restore_stages(arguments):
    """`restore`: every stage with published files; stops at the first that differs, in one line that says why.

    One that is here, computed by this code, needs no published files.
    """
    folder, counts = _folder(arguments), {"restored": 0, "there already": 0}
    with checking():
        stages = publication.wanted(_all_stages(arguments.profile), folder)
        for stage in stages:
            here = read_manifest(stage)
            if (not here or here.get("restored")) and (line := entries.difference(stage, folder)):
                raise UserError(line)
            counts["there already" if here else "restored"] += 1
            publication.restore(stage, folder)
    print(f"{len(stages)} stages: " + ", ".join(f"{count} {what}" for what, count in counts.items()))


def compare_tables(arguments):
    """`compare`: how many rates lie within the published intervals, and each that does not."""
    from helpers.study import comparison  # pandas: only where it is needed

    folder = _folder(arguments)
    with checking():
        outcome = comparison.compare(_all_stages(arguments.profile), folder)
    print(outcome.counts.to_string(index=False))
    for row in outcome.outside.to_dict("records"):
        print(
            "outside: {table} {rate} {ours:.4g}, published {published:.4g} ({low:.4g} to {high:.4g}): {row}".format(
                **row
            )
        )
    print(*outcome.notes, sep="\n", end="\n" if outcome.notes else "")


def print_profile(arguments):
    """`profile`: every section and field as YAML."""
    with checking():
        profile = dataclasses.asdict(load_profile(arguments.name))
    plain = json.loads(json.dumps(profile))  # lists, as YAML has no tuples
    print(yaml.safe_dump(plain, sort_keys=False, default_flow_style=None, width=120), end="")


def tidy_pages(arguments):
    """`tidy`: so that the book holds the pages of one profile only."""
    with checking():
        pages.remove_stale_pages(load_profile(arguments.profile), BOOK / "chapters")
