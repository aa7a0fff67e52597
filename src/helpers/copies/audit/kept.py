"""What an audit keeps of files it has read, by their content, so that tomorrow's clips cost only themselves.

A file's entries are named by the sha256 of its bytes and of the settings: a file that changed, or was renamed, is told by
that alone. There is one for each thing that is computed of it, so another choice of detectors computes only what is new.
Entries are written beside their place and moved there when complete, and each is checked as it is read, so one that was cut
off is made anew.
"""

import hashlib
import os
import threading
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import numpy as np

from helpers.base.hashing import hash_file
from helpers.base.mapped import create, forget
from helpers.base.progress import progress
from helpers.base.room import telling_no_room
from helpers.sound.sounds import Windows
from helpers.sound.user_table import READERS_VERSION

VERSION = 2  # of what entries hold: raised where code gives other values than before
CHUNK = 512  # windows computed at a time


class Kept:
    """Arrays by file, and by what they are, in a folder; with the folder None, nothing is kept. `settings`: all that the
    arrays follow from, beside the file; `weights`: the sha256 of those of models, by the name of what they compute."""

    def __init__(self, folder: Path | None, settings: object = "", weights: Mapping[str, str] | None = None):
        self.folder, self.settings = folder, f"{VERSION} {READERS_VERSION} {settings!r}"
        self.weights = weights or {}

    def key(self, file: Path) -> str:
        """What a file's entries are named by; "" where nothing is kept."""
        if self.folder is None:
            return ""
        return hashlib.sha256(f"{hash_file(file)} {self.settings}".encode()).hexdigest()

    def load(self, key: str, name: str, parts: Sequence[str] = ("rows",)) -> dict[str, np.ndarray] | None:
        """The arrays of an entry, by the names of its parts; None where there is none, or it is damaged."""
        if not key:
            return None
        try:
            with np.load(self._path(key, name)) as entry:
                return {part: entry[part] for part in parts}
        except Exception:  # numpy tells damage in many ways, by tokenize's errors too: what cannot be read is made anew
            return None

    def store(self, key: str, name: str, **arrays) -> None:
        """Writes an entry whole or not at all. Raises OSError that names the folder where its disk is full."""
        if not key:
            return
        path = self._path(key, name)
        path.parent.mkdir(parents=True, exist_ok=True)
        draft = path.with_name(f"{path.stem}.{os.getpid()}.{threading.get_ident()}.part")
        try:
            with telling_no_room(path.parent), draft.open("wb") as stream:
                np.savez(stream, **arrays)
            draft.replace(path)
        finally:
            draft.unlink(missing_ok=True)

    def _path(self, key: str, name: str) -> Path:
        assert self.folder is not None  # an empty key is all that is asked for then
        made_by = f"-{self.weights[name][:16]}" if name in self.weights else ""
        return self.folder / key[:2] / f"{key}.{name}{made_by}.npz"

    def of_windows(
        self, name: str, windows: Windows, keys: Sequence[str], compute: Callable, file: Path, dtype=np.float32
    ) -> np.ndarray:
        """`compute` of all windows [W, ...], as a mapped file: those of the sounds that are kept are read, not computed.

        keys: of each sound that the windows are of, "" for one that is not kept.
        """
        made = None
        first = np.searchsorted(windows.owner, np.arange(len(keys) + 1))
        with progress(total=len(windows), desc=name, unit="window") as bar:
            for start, stop in _groups(first):
                found = {row: self.load(keys[row], name) for row in range(start, stop)}
                missing = [row for row, entry in found.items() if entry is None]
                if missing:
                    computed = np.asarray(compute(np.concatenate([windows[first[row] : first[row + 1]] for row in missing])), dtype)  # fmt: skip
                    ends = np.cumsum([first[row + 1] - first[row] for row in missing])
                    for row, rows in zip(missing, np.split(computed, ends[:-1])):
                        self.store(keys[row], name, rows=rows)
                        found[row] = {"rows": rows}
                rows = np.concatenate([entry["rows"] for entry in found.values() if entry])
                if made is None:  # only now is their shape known
                    made = create(file, dtype, (len(windows), *rows.shape[1:]))
                made[first[start] : first[stop]] = rows
                forget(made)
                bar.update(len(rows))
        return np.load(file, mmap_mode="r")


def _groups(first: np.ndarray) -> list[tuple[int, int]]:
    """Sounds from one to another whose windows, from first[i] to first[i + 1], are about CHUNK."""
    cuts, groups = [0], []
    for sound in range(1, len(first)):
        if first[sound] - first[cuts[-1]] >= CHUNK or sound == len(first) - 1:
            groups.append((cuts[-1], sound))
            cuts.append(sound)
    return groups
