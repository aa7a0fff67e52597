"""The sha256 of files: what stages are named by, and what published weights are checked against."""

import functools
import hashlib
import string
from pathlib import Path

from helpers.base.paths import RESULTS, ROOT, not_carried, shown


def hash_file(path: Path) -> str:
    """The sha256 of a file's contents in hex; kept in memory for as long as its size and time of change stay the same."""
    path = Path(path)
    if not path.is_file():
        raise FileNotFoundError(
            f"{path}: expected a file, found {'a folder' if path.is_dir() else 'nothing'}{not_carried(path)}"
        )
    stat = path.stat()
    return _hash_contents(path, stat.st_mtime_ns, stat.st_size)


@functools.cache
def _hash_contents(path: Path, mtime_ns: int, size: int) -> str:
    with path.open("rb") as stream:
        return hashlib.file_digest(stream, "sha256").hexdigest()


def damage(folder: Path, files: dict[str, dict], named: Path | None = None) -> str:
    """The first of `files` in `folder` that is missing or has another sha256, named as if it lay in `named`; "" for none."""
    for name, expected in files.items():
        path, known = folder / name, (named or folder) / name
        got = hash_file(path) if path.is_file() else None
        if got != expected["sha256"]:
            found = f"got {got[:12]}{line_ends(path, expected['sha256'])}" if got else "the file is missing"
            in_git = any(known.is_relative_to(place) for place in (RESULTS, ROOT / "models"))
            back = "; to bring it back: rm -f {0}; git checkout -- {0}".format(shown(known)) if in_git else ""
            return f"{shown(known)}: expected sha256 {expected['sha256'][:12]}, {found}{back}"
    return ""


def line_ends(path: Path, expected: str) -> str:
    """What a message adds where only a file's line ends make its sha256 another than `expected`; else ""."""
    text = path.read_bytes()
    same = hashlib.sha256(text.replace(b"\r\n", b"\n")).hexdigest() == expected
    return ", as its line ends were changed to CRLF (git's core.autocrlf, or an editor)" if same else ""


def check_sha256(path: Path, expected: str) -> None:
    """Raises ValueError unless the file's sha256 begins with `expected` (8 to 64 hex digits; empty: not checked)."""
    if not expected:
        return
    if not 8 <= len(expected) <= 64 or not set(expected) <= set(string.hexdigits):
        raise ValueError(f"sha256: expected 8 to 64 hex digits, got {expected!r}")
    got = hash_file(path)
    if not got.startswith(expected.lower()):
        raise ValueError(f"{path}: expected sha256 {expected}, got {got[: max(len(expected), 16)]}")


def read_checked(path: Path, expected: str, kind: str, source: str) -> bytes:
    """The bytes of a weights file, if their sha256 is `expected`: hashed as read, so what is parsed is what was checked.

    Raises FileNotFoundError naming `kind` where the file is missing, ValueError naming the `source` of another sha256.
    """
    if not path.is_file():
        raise FileNotFoundError(f"{kind}: expected weights with sha256 {expected}, found no file at {path}")
    data = path.read_bytes()
    got = hashlib.sha256(data).hexdigest()
    if got != expected:
        raise ValueError(f"{path}: expected sha256 {expected} ({source}), got {got}")
    return data
