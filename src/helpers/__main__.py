"""The command line: `python -m helpers run|chapter|list|profile|tidy`. `--help` says what each takes."""

import argparse
import contextlib
import dataclasses
import os
import sys
from pathlib import Path

import yaml

from . import aisfx_encoder, chapters, config, store

DEFAULT_PROFILE = os.environ.get("PROFILE", "smoke")


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
    run.set_defaults(action=run_stage)
    chapter = commands.add_parser("chapter", parents=[profile, settings], help="execute a chapter's notebook")
    chapter.add_argument("name", metavar="NAME", help=", ".join(chapters.CHAPTERS))
    chapter.add_argument("--output", type=Path, help="default: runs/chapters/NAME/NAME.ipynb")
    chapter.set_defaults(action=run_chapter)
    listing = commands.add_parser("list", parents=[profile], help="list the stages of a profile and their state")
    listing.set_defaults(action=list_stages)
    show = commands.add_parser("profile", help="print a profile with every setting filled in")
    show.add_argument("name", nargs="?", default=DEFAULT_PROFILE, help="default: %(default)s")
    show.set_defaults(action=print_profile)
    tidy = commands.add_parser("tidy", parents=[profile], help="delete book pages that the profile does not have")
    tidy.set_defaults(action=tidy_pages)
    return parser


def run_stage(arguments):
    """`run`: n_train and draw choose one training run; other settings replace fields of the profile's section."""
    from . import stages  # the stages import torch: only where one is asked for

    with checking():
        profile, settings = config.load_profile(arguments.profile), chapters.parse_settings(arguments.settings)
        chosen = {key: settings.pop(key) for key in ("n_train", "draw") if key in settings}
        for key, value in settings.items():
            profile = profile.replace(_section(profile, arguments.stage, key), **{key.split(".")[-1]: value})
        aisfx_encoder.require(profile.retrieval.detectors)
        wanted = stages.build(arguments.stage, profile, **chosen)
        for stage in wanted:
            stage.digest  # noqa: B018 - reads the input files: a missing one is told before any work
    for stage in wanted:
        print(store.load_or_run(stage).path)


def _section(profile: config.Profile, stage: str, setting: str) -> str:
    """The section that a setting belongs to: as written (`mel.n_mels`), the stage's own, or the only one that has it."""
    sections = {f.name for f in dataclasses.fields(profile) if isinstance(getattr(profile, f.name), config.Checked)}
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
        raise ValueError(f"{field}: expected {places}" if having else f"unknown parameter {field!r} for stage {stage}")
    return having[0]


def run_chapter(arguments):
    """`chapter`: prints the path of the executed notebook."""
    output = arguments.output or store.runs_root() / "chapters" / arguments.name / f"{arguments.name}.ipynb"
    with checking():
        settings = chapters.parse_settings(arguments.settings)
        if "profile" in settings:
            raise ValueError("profile: give it as --profile")
        chapters.check_parameters(arguments.name, {"profile": arguments.profile, **settings})
    path = chapters.run_chapter(arguments.name, settings, output, arguments.profile)
    print(path)


def list_stages(arguments):
    """`list`: one line per stage: name, the digest that names its folder, and whether it is finished."""
    from . import stages

    with checking():
        profile = config.load_profile(arguments.profile)
        for name in stages.NAMES:
            for stage in stages.build(name, profile):
                manifest = store.read_manifest(stage)
                state = f"finished, {manifest['wall_s']:.1f} s" if manifest else "not computed"
                print(f"{name:<12} {stage.digest[:16]}  {state}")


def print_profile(arguments):
    """`profile`: every section and field as YAML."""
    with checking():
        profile = dataclasses.asdict(config.load_profile(arguments.name))
    print(yaml.safe_dump(_plain(profile), sort_keys=False, default_flow_style=None, width=120), end="")


def _plain(value):
    if isinstance(value, dict):
        return {key: _plain(item) for key, item in value.items()}
    return list(value) if isinstance(value, tuple) else value


def tidy_pages(arguments):
    """`tidy`: so that the book holds the pages of one profile only."""
    with checking():
        chapters.remove_stale_pages(config.load_profile(arguments.profile), config.ROOT / "book" / "chapters")


def main() -> int:
    """Exit code 0; 2 for what the user can put right, told in one line; 1 for a failed chapter; 130 when interrupted."""
    arguments = build_parser().parse_args()
    try:
        arguments.action(arguments)
    except UserError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except chapters.ChapterError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print("interrupted; the same command goes on from here", file=sys.stderr)
        return 130
    return 0


if __name__ == "__main__":
    sys.exit(main())
