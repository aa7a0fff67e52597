"""The command line: `python -m helpers COMMAND`. `--help` lists the commands, and says what each takes."""

import argparse
import contextlib
import dataclasses
import os
import sys
from pathlib import Path

import yaml

from helpers.base.fields import Checked
from helpers.base.paths import BOOK
from helpers.base.settings import Profile, load_profile
from helpers.book import execution, pages, parameters
from helpers.models import aisfx
from helpers.study import publication, store

DEFAULT_PROFILE = os.environ.get("PROFILE", "pocket")
LARGEST_PUBLICATION_MB = 40  # it is kept in git


class UserError(Exception):
    """Something to be told in one line: a wrong name, type or value, a missing file."""


@contextlib.contextmanager
def checking():
    """Turns what the checks raise before any work starts into a one-line message; errors of the work itself stay whole."""
    try:
        yield
    except (ValueError, TypeError, FileNotFoundError, ModuleNotFoundError) as error:
        raise UserError(str(error)) from error


def build_parser() -> argparse.ArgumentParser:
    """One sub-command per verb; each sets `action`, a function of the parsed arguments."""
    parser = argparse.ArgumentParser(prog="python -m helpers", description="Runs stages and chapters of the book.")
    commands = parser.add_subparsers(required=True, metavar="COMMAND")
    profile = argparse.ArgumentParser(add_help=False)
    profile.add_argument("--profile", default=DEFAULT_PROFILE, help="profiles/<name>.yml (default: %(default)s)")
    settings = argparse.ArgumentParser(add_help=False)
    settings.add_argument(
        "--set", nargs="*", action="extend", default=[], dest="settings", metavar="name=value", help="over the profile"
    )
    run = commands.add_parser("run", parents=[profile, settings], help="load or compute a stage and print its folder")
    run.add_argument("stage")
    run.add_argument("--label", help="only the stage of this name that `list` shows with this label, as dup4500_d0")
    run.add_argument(
        "--published", action="store_true", help="from the published study; compute what takes seconds only"
    )
    run.set_defaults(action=run_stage)
    chapter = commands.add_parser("chapter", parents=[profile, settings], help="execute a chapter's notebook")
    chapter.add_argument("name", metavar="NAME", help=", ".join(parameters.CHAPTERS))
    chapter.add_argument("--output", type=Path, help="default: runs/chapters/NAME/NAME.ipynb")
    chapter.set_defaults(action=run_chapter)
    audit = commands.add_parser(
        "audit", parents=[profile, settings], help="another model's clips, in folders of audio: which come too near?"
    )
    for name, text in (
        ("generated", "clips that the model made"),
        ("training", "the clips it was trained on"),
        ("honest", "clips of the same kind that it was not trained on; through the model's codec, if it has one"),
    ):
        audit.add_argument(f"--{name}", type=Path, required=True, metavar="FOLDER", help=text)
    audit.add_argument("--output", type=Path, default=Path("audit.csv"), help="default: %(default)s")
    audit.set_defaults(action=run_audit)
    listing = commands.add_parser("list", parents=[profile], help="list the stages of a profile and their state")
    listing.set_defaults(action=list_stages)
    folder = argparse.ArgumentParser(add_help=False)
    folder.add_argument("--folder", type=Path, help="of the published study (default: results/<profile>)")
    for name, action, text in (
        ("publish", publish_stages, "copy what readers need of the finished stages to the published study"),
        ("restore", restore_stages, "check the published study and put its stages in place"),
        ("compare", compare_tables, "compare the rates computed here with the published intervals"),
    ):
        commands.add_parser(name, parents=[profile, folder], help=text).set_defaults(action=action)
    show = commands.add_parser("profile", help="print a profile with every setting filled in")
    show.add_argument("name", nargs="?", default=DEFAULT_PROFILE, help="default: %(default)s")
    show.set_defaults(action=print_profile)
    tidy = commands.add_parser("tidy", parents=[profile], help="delete book pages that the profile does not have")
    tidy.set_defaults(action=tidy_pages)
    return parser


def run_stage(arguments):
    """`run`: n_train and draw choose one training run; other settings replace fields of the profile's section."""
    from helpers.study import registry  # the stages import torch: only where one is asked for

    with checking():
        settings = parameters.parse_settings(arguments.settings)
        chosen = {key: settings.pop(key) for key in ("n_train", "draw") if key in settings}
        profile = _with_settings(load_profile(arguments.profile), arguments.stage, settings)
        aisfx.require(profile.retrieval.detectors)
        wanted = registry.build(arguments.stage, profile, **chosen)
        if not wanted:
            raise ValueError(f"{arguments.stage}: profile {profile.name} has no such stage for {chosen or 'any run'}")
        if arguments.label:
            labels = [stage.label for stage in wanted]
            wanted = [stage for stage in wanted if stage.label == arguments.label]
            if not wanted:
                raise ValueError(
                    f"--label: expected one of {', '.join(filter(None, labels)) or 'none'}, got {arguments.label!r}"
                )
        for stage in wanted:
            stage.digest  # noqa: B018 - reads the input files: a missing one is told before any work
    with publication.use_publication(publication.find(profile.name) if arguments.published else None):
        for stage in wanted:
            print(store.load_or_run(stage).path)


def _with_settings(profile: Profile, stage: str, settings: dict) -> Profile:
    sections = {}
    for key, value in settings.items():
        sections.setdefault(_section(profile, stage, key), {})[key.split(".")[-1]] = value
    for section, values in sections.items():  # at once: updates and checkpoints must fit each other
        profile = profile.replace(section, **values)
    return profile


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
    """`audit`: writes a table of all clips and prints what each detector flags."""
    from helpers.copies import audit  # imports torch

    out, draft = arguments.output, arguments.output.with_name(f"{arguments.output.name}.part")
    with contextlib.ExitStack() as cleaning:
        with checking():
            settings = parameters.parse_settings(arguments.settings)
            profile = _with_settings(load_profile(arguments.profile), "thresholds", settings)
            if "detectors" not in settings:
                profile = audit.leave_out_missing(profile)
            if out.is_dir() or not out.parent.is_dir():
                raise ValueError(f"--output: expected a file in a folder that exists, got {out}")
            try:
                draft.touch()  # before the work: where it cannot be written is told now
                cleaning.callback(draft.unlink, missing_ok=True)
                result = audit.audit(*(getattr(arguments, kind) for kind in audit.KINDS), profile)
            except OSError as error:
                raise ValueError(str(error)) from error
        result.table.to_csv(draft, index=False)
        draft.replace(out)
    print(result, out, sep="\n")


def run_chapter(arguments):
    """`chapter`: prints the path of the executed notebook."""
    output = arguments.output or store.runs_root() / "chapters" / arguments.name / f"{arguments.name}.ipynb"
    with checking():
        settings = parameters.parse_settings(arguments.settings)
        if "profile" in settings:
            raise ValueError("profile: give it as --profile")
        parameters.check_parameters(arguments.name, {"profile": arguments.profile, **settings})
    path = execution.run_chapter(arguments.name, settings, output, arguments.profile)
    print(path)


def list_stages(arguments):
    """`list`: one line per stage: name, label, the digest that names its folder, and whether it is finished."""
    with checking():
        for stage in _all_stages(arguments.profile):
            manifest = store.read_manifest(stage)
            state = f"finished, {manifest['wall_s']:.1f} s" if manifest else "not computed"
            if manifest and manifest.get("restored"):
                state = "restored from the published study"
            print(f"{stage.title:<28} {stage.digest[:16]}  {state}")


def _all_stages(profile: str) -> list[store.Stage]:
    from helpers.study import registry

    return registry.build_all(load_profile(profile))


def publish_stages(arguments):
    """`publish`: the finished stages' files for readers; prints their number and size, and which stages are missing."""
    folder = arguments.folder or publication.RESULTS / arguments.profile
    with checking():
        every = _all_stages(arguments.profile)
        paths = publication.publish(every, folder)
    entries = publication.read_entries(folder).values()
    total_mb = sum(file["size"] for entry in entries for file in entry["files"].values()) / 1e6
    print(f"{len(paths)} files published; {folder} holds {total_mb:.1f} MB")
    for stage in publication.wanted(every, folder):
        if line := publication.difference(stage, folder):
            print(f"missing: {line}")
    if total_mb > LARGEST_PUBLICATION_MB:
        print(f"warning: expected at most {LARGEST_PUBLICATION_MB} MB, got {total_mb:.1f} MB", file=sys.stderr)


def restore_stages(arguments):
    """`restore`: every stage with published files; stops at the first that differs, in one line that says why.

    One that is here, computed by this code, needs no published files.
    """
    folder, counts = arguments.folder or publication.RESULTS / arguments.profile, {"restored": 0, "there already": 0}
    with checking():
        every = publication.wanted(_all_stages(arguments.profile), folder)
        for stage in every:
            here = store.read_manifest(stage)
            if not here and (line := publication.difference(stage, folder)):
                raise UserError(line)
            counts["there already" if here else "restored"] += 1
            publication.restore(stage, folder)
    print(f"{len(every)} stages: " + ", ".join(f"{count} {what}" for what, count in counts.items()))


def compare_tables(arguments):
    """`compare`: how many rates lie within the published intervals, and each that does not."""
    from helpers.study import comparison  # pandas: only where it is needed

    folder = arguments.folder or publication.RESULTS / arguments.profile
    with checking():
        found = comparison.compare(_all_stages(arguments.profile), folder)
    print(found.counts.to_string(index=False))
    for row in found.outside.to_dict("records"):
        print(
            "outside: {table} {rate} {ours:.4g}, published {published:.4g} ({low:.4g} to {high:.4g}): {row}".format(
                **row
            )
        )
    print(*found.notes, sep="\n", end="\n" if found.notes else "")


def print_profile(arguments):
    """`profile`: every section and field as YAML."""
    with checking():
        profile = dataclasses.asdict(load_profile(arguments.name))
    print(yaml.safe_dump(_plain(profile), sort_keys=False, default_flow_style=None, width=120), end="")


def _plain(value):
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return list(value) if isinstance(value, tuple) else value


def tidy_pages(arguments):
    """`tidy`: so that the book holds the pages of one profile only."""
    with checking():
        pages.remove_stale_pages(load_profile(arguments.profile), BOOK / "chapters")


# For this process and the kernels that it starts. Nobody who only imports the package is told what to do.
ENVIRONMENT = {
    "HF_HUB_OFFLINE": "1",  # every weight is in the repository or in a package; a hub would be asked for updates only
    "JUPYTER_PREFER_ENV_PATH": "1",  # this environment's python3 kernel, not the user's own
    "PYDEVD_DISABLE_FILE_VALIDATION": "1",  # else each kernel starts with a debugger's warning
}


def main() -> int:
    """Exit code 0; 2 for what the user can put right, told in one line; 1 for a failed chapter; 130 when interrupted."""
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    arguments = build_parser().parse_args()
    try:
        arguments.action(arguments)
    except (UserError, store.NotPublished) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except execution.ChapterError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        resumes = arguments.action is not run_audit  # stages and pages are kept as they are finished
        outcome = "the same command goes on from here" if resumes else "nothing was written"
        print(f"interrupted; {outcome}", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
