"""The command line: `helpers COMMAND` or `python -m helpers COMMAND`. `--help` lists the commands, and each has its own.

Here is what they are called and take; what they do is in the modules of `commands`. It is argparse, as `--set a=1 b=2` takes several
values, which the options of click and typer cannot.
"""

import argparse
import errno
import os
import signal
import sys
import threading
from pathlib import Path

from helpers.base.machine import refuse_several_processes
from helpers.base.room import NO_ROOM
from helpers.book import execution, parameters
from helpers.commands import audit, book, prompt, publication, stages
from helpers.commands.arguments import DEFAULT_PROFILE
from helpers.commands.errors import AuditFailed, UserError, checking
from helpers.sound.user_table import UserDataError
from helpers.study import store

# For this process and the kernels that it starts. Nobody who only imports the package is told what to do.
ENVIRONMENT = {
    "HF_HUB_OFFLINE": "1",  # every weight is in the repository or in a package; a hub would be asked for updates only
    "JUPYTER_PREFER_ENV_PATH": "1",  # this environment's python3 kernel, not the user's own
    "PYDEVD_DISABLE_FILE_VALIDATION": "1",  # else each kernel starts with a debugger's warning
}
NO_PLACE = (*NO_ROOM, errno.EROFS, errno.EACCES, errno.EPERM)  # a full disk, and one that may not be written
# Each command: what runs it, what it does in one line, an example, and which of OPTIONS it takes.
COMMANDS = {
    "Another model": {
        "audit": (
            audit.run_audit,
            "which of a model's clips come too near to its training clips, from folders of audio",
            "audit --generated made --training learned --honest others",
            "generated training honest within match-honest chromaprint keep keep-shard fail-above table profile set",
        ),
    },
    "The book's own models": {
        "prompt": (
            prompt.ask_prompt,
            "what a model that copies makes of a prompt of yours, beside the training clips it comes nearest to",
            'prompt "a dog barks" --seeds 6',
            "text seeds n-train page profile",
        ),
    },
    "Stages": {
        "run": (
            stages.run_stage,
            "load or compute a stage and print its folder",
            "run quality --profile smoke --set n_train=16 draw=0",
            "stage label shard published dry-run profile set",
        ),
        "list": (
            stages.list_stages,
            "what there is of a profile's stages, and what is stale",
            "list --profile smoke --stale",
            "stale profile",
        ),
        "plan": (
            stages.plan_stages,
            "what would be computed, with an estimate of its time, memory and disk",
            "plan --profile smoke",
            "stage-or-all label published profile set",
        ),
        "verify": (
            stages.verify_stages,
            "check files and digests, published and computed, and the frozen models",
            "verify --profile pocket",
            "profile folder",
        ),
    },
    "Book": {
        "chapter": (
            book.run_chapter,
            "execute a chapter's notebook and print its path",
            "chapter 06_thresholds --profile smoke --set beta=0.7",
            "chapter output dry-run profile set",
        ),
        "profile": (
            book.print_profile,
            "print a profile with every setting filled in",
            "profile smoke",
            "profile-name",
        ),
        "tidy": (
            book.tidy_pages,
            "delete book pages that the profile does not have",
            "tidy --profile smoke",
            "profile",
        ),
    },
    "Published study": {
        "publish": (
            publication.publish_stages,
            "copy what readers need of the finished stages to the published study",
            "publish --profile pocket",
            "profile folder",
        ),
        "restore": (
            publication.restore_stages,
            "check the published study and put its stages in place",
            "restore --profile pocket",
            "profile folder",
        ),
        "compare": (
            publication.compare_tables,
            "compare the rates computed here with the published intervals",
            "compare --profile pocket",
            "profile folder",
        ),
    },
}


def _option(flag: str, text: str, **details) -> tuple[str, dict]:
    return flag, {"help": text, **details}


FOLDER = {"type": Path, "metavar": "FOLDER"}
FLAG = {"action": "store_true"}
OPTIONS = {
    "stage": _option("stage", "as `list` shows them", metavar="STAGE"),
    "stage-or-all": _option("stage", "as `list` shows them (default: all)", nargs="?", default="all", metavar="STAGE"),
    "chapter": _option("name", ", ".join(parameters.CHAPTERS), metavar="NAME"),
    "profile-name": _option("name", "default: %(default)s", nargs="?", default=DEFAULT_PROFILE),
    "generated": _option("--generated", "clips that the model made", **FOLDER),
    "training": _option("--training", "the clips it was trained on", **FOLDER),
    "honest": _option("--honest", "clips of the same kind that it was not trained on; through the model's codec, if it has "
                      "one (default: training clips without a duplicate stand in)", **FOLDER),
    "within": _option("--within", "instead of these: duplicates inside this folder, as clusters, with the files to drop", **FOLDER),
    "match-honest": _option("--match-honest", "cut, pad and filter honest clips to be like the generated ones", **FLAG),
    "keep": _option("--keep", "keep here what is computed of training and honest files, for the next audit", **FOLDER),
    "keep-shard": _option("--shard", "do only part K of N of the work that --keep keeps, so that N machines can share it", metavar="K/N"),
    "chromaprint": _option("--chromaprint", "one more detector, by the program fpcalc, which must be installed", **FLAG),
    "fail-above": _option("--fail-above", "exit with code 1 if more than N clips are flagged, or no rate can be stated", type=int, metavar="N"),
    "table": _option("--output", "the table; the page and the rest are written beside it (default: %(default)s)", type=Path, default=Path("audit.csv")),
    "text": _option("text", "the prompt, in quotes", metavar="TEXT"),
    "seeds": _option("--seeds", "clips to make (default: %(default)s)", type=int, default=4, metavar="N"),
    "n-train": _option("--n-train", "the model that was trained on N clips (default: the smallest set; that of pocket comes "
                       "with the book)", type=int, metavar="N"),
    "page": _option("--output", "default: %(default)s", type=Path, default=Path("prompt.html")),
    "output": _option("--output", "default: a folder for each setting, under runs/chapters/NAME/", type=Path),
    "label": _option("--label", "if there are several stages of this name: the one with this label (see `list`), as n100_d0"),
    "shard": _option("--shard", "of encoding, references or generation: do only part K of N, so that N machines can share the work", metavar="K/N"),
    "published": _option("--published", "use the published study, and compute only what takes seconds", **FLAG),
    "dry-run": _option("--dry-run", "only tell what would be computed, as `plan` does", **FLAG),
    "stale": _option("--stale", "show only stages that were made with other settings or other code", **FLAG),
    "folder": _option("--folder", "folder of the published study (default: results/<profile>)", type=Path),
    "profile": _option("--profile", "profiles/<name>.yml (default: %(default)s)", default=DEFAULT_PROFILE),
    "set": _option("--set", "settings that replace those of the profile, as fpr=0.02", nargs="*", action="extend", default=[],
                   dest="settings", metavar="name=value"),
}  # fmt: skip


class _Parser(argparse.ArgumentParser):
    def error(self, message: str):
        """One line, as for every other mistake."""
        self.exit(2, f"error: {message}; {self.prog} --help tells more\n")


def build_parser() -> argparse.ArgumentParser:
    """One sub-command per verb; each sets `action`, a function of the parsed arguments."""
    prog = "helpers" if Path(sys.argv[0]).stem == "helpers" else "python -m helpers"
    listing = [
        "\n".join([f"{title}:", *(f"  {name:<9} {text}" for name, (_, text, *_) in group.items())])
        for title, group in COMMANDS.items()
    ]
    parser = _Parser(
        prog=prog,
        usage="%(prog)s COMMAND ...",
        description="Do text-to-audio models copy their training data? The study behind the book, and its instrument.",
        epilog="\n\n".join([*listing, f"{prog} COMMAND --help says what a command takes, with an example."]),
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    subparsers = parser.add_subparsers(prog=prog, required=True, metavar="COMMAND", help=argparse.SUPPRESS)
    for group in COMMANDS.values():
        for name, (action, text, example, options) in group.items():
            one = subparsers.add_parser(
                name, description=f"{text[0].upper()}{text[1:]}.", epilog=f"Example: {prog} {example}"
            )
            for option in options.split():
                flag, details = OPTIONS[option]
                one.add_argument(flag, **details)
            one.set_defaults(action=action)
    return parser


def main() -> int:
    """Exit code 0; 2 for what the user can put right, told in one line; 1 for a failed chapter or what --fail-above counts; 130 when interrupted."""
    for name, value in ENVIRONMENT.items():
        os.environ.setdefault(name, value)
    if threads := os.environ.get("OMP_NUM_THREADS"):  # numba's first loop would give torch all cores again
        os.environ.setdefault("NUMBA_NUM_THREADS", threads)
    arguments = build_parser().parse_args()
    if threading.current_thread() is threading.main_thread():
        # a batch system ends a job by SIGTERM: what a command would leave half done is put away as after Ctrl-C
        signal.signal(signal.SIGTERM, signal.default_int_handler)
    try:
        with checking():
            refuse_several_processes()
        arguments.action(arguments)
    except (UserError, store.NotPublished, UserDataError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except (execution.ChapterError, AuditFailed) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    except BrokenPipeError:  # whoever read our output has had enough, as `head`
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())  # else Python complains as it flushes
        return 0
    except OSError as error:
        if error.errno not in NO_PLACE:
            raise
        place, root = str(error.filename or ""), store.runs_root()
        elsewhere = "; HELPERS_RUNS=FOLDER names another place for results" if Path(place).is_relative_to(root) else ""
        what = ": ".join(filter(None, (place, error.strerror)))
        print(f"error: {what}{elsewhere}; {_left_by(arguments, 'what is finished stays')}", file=sys.stderr)
        return 2
    except KeyboardInterrupt:
        print(f"interrupted; {_left_by(arguments, 'the same command goes on from here')}", file=sys.stderr)
        return 130
    return 0


def _left_by(arguments, finished: str) -> str:
    """What a command that was broken off leaves: stages and pages are kept as they are `finished`, an audit writes all or nothing."""
    if arguments.action is prompt.ask_prompt:
        return "no page was written"
    if arguments.action is audit.run_audit:
        if arguments.keep:
            return f"no table was written, but what is in {arguments.keep} is not computed again"
        return "no table was written; with --keep FOLDER the next audit would not compute all of it again"
    return finished


if __name__ == "__main__":
    sys.exit(main())
