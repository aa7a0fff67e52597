"""Where things lie on disk: in a checkout of the repository, or carried by the installed package.

A checkout holds everything. A wheel holds the profiles and the small frozen models, in `helpers/resources/` (`setup.py`
puts them there); the notebooks, the published study and the sound pack stay in the repository. What a program writes
goes to the checkout, or, with an installed package, to the current folder: never beside installed code.
"""

import os
from collections.abc import Iterable
from pathlib import Path

_PACKAGE = Path(__file__).resolve().parents[1]
_CARRIED = _PACKAGE / "resources"
INSTALLED = _CARRIED.is_dir()  # no checkout has that folder

ROOT = _CARRIED if INSTALLED else _PACKAGE.parents[1]  # what profiles/ and models/ are in
WORK = Path() if INSTALLED else ROOT  # what results go into: relative, so it is the current folder at any time
PROFILES = ROOT / "profiles"
SOUND_PACK = WORK / "data" / "sounds.parquet"
RESULTS = WORK / "results"  # published studies, a folder for each profile
NOTEBOOKS = WORK / "notebooks"
BOOK = WORK / "book"
LONGEST_NAME = 255  # bytes of a file's name, on nearly all file systems


def runs_root() -> Path:
    """Where results are kept, absolute: `HELPERS_RUNS`, else `runs/`.

    A relative path counts from the root of the checkout; with an installed package, from the current folder.
    """
    return (WORK / (os.environ.get("HELPERS_RUNS") or "runs")).absolute()


def resolve(path: str | Path) -> Path:
    """The place that a path in the settings names, e.g. `models/codec`, as an absolute path.

    A relative path counts from the root of the checkout, wherever Python was started. With an installed package it is
    looked up among what the package carries, then counts from the current folder.
    """
    carried = ROOT / path
    return carried if carried.exists() or not INSTALLED else (WORK / path).absolute()


def not_carried(path: str | Path) -> str:
    """What a message adds where `path`, which is not there, is a part of the repository that no wheel carries; else ""."""
    if not INSTALLED or not any(Path(path).is_relative_to(place) for place in (SOUND_PACK, NOTEBOOKS, RESULTS)):
        return ""
    return f"; the installed package does not carry it: work in a checkout of the repository, or copy {path} from there"


def shown(path: str | Path) -> str:
    """A path as messages give it: within the repository from its root."""
    path, root = Path(path).absolute(), WORK.absolute()
    return str(path.relative_to(root) if path.is_relative_to(root) else path)


def check_place(path: Path, what: str, example: str, made: Iterable[str]) -> None:
    """Raises ValueError, before any work, where `--output` names what a file that is moved there must not take the place of: anything
    but a file, as a device, or a file of another kind. `made` are the names of all files that are written on the way; one that is too
    long is told too. `what` it is, and an `example` of a name, are for the message."""
    if os.path.lexists(path) and not (path.is_file() and path.suffix.lower() in (Path(example).suffix, "")):
        raise ValueError(
            f"--output: expected a name for the {what}, as {example}, got {path}, which is there and no {what}"
        )
    if len(longest := max(map(os.fsencode, made), key=len)) > LONGEST_NAME:
        raise ValueError(
            f"--output: expected a shorter name, as no file's may have more than {LONGEST_NAME} bytes, got {len(longest)} of "
            f"{os.fsdecode(longest)}"
        )
