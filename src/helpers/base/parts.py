"""Long work in files of some rows each: several processes may make different ones, and a killed one goes on after its last."""

import os
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

SHARDS = ".shards"  # beside a stage's folder: parts of its work, kept until it is finished
SECONDS = ".seconds"  # beside a part: how long it took to make


def shards_beside(out: Path) -> Path:
    """The folder for parts of the work of the stage that is computed in `out`, made where it is not there."""
    shards = out.with_suffix(SHARDS)
    shards.mkdir(exist_ok=True)
    return shards


def make_parts(
    folder: Path, n_rows: int, step: int, make: Callable[[slice], np.ndarray], k: int = 1, n: int = 1, name: str = ""
) -> list[Path]:
    """Writes the k-th of n shares, from 1, of the files of `step` rows each; one that is there is not made again.

    `make(rows)` computes what a file (.npy) holds; its name begins with `name`. All files, those of other shares too, in the
    order of their rows.
    """
    starts = range(0, n_rows, step)
    files = [folder / f"{name}{start:06d}-{min(start + step, n_rows):06d}.npy" for start in starts]
    for start, file in list(zip(starts, files))[k - 1 :: n]:
        if not _is_whole(file):
            part, started = file.with_suffix(f".{os.getpid()}"), time.perf_counter()
            try:
                with part.open("wb") as stream:
                    np.save(stream, make(slice(start, min(start + step, n_rows))))
                    stream.flush()
                    os.fsync(stream.fileno())  # else a power cut may leave an empty file under the final name
                file.with_suffix(SECONDS).write_text(f"{time.perf_counter() - started:.1f}")
                part.replace(file)
            finally:
                part.unlink(missing_ok=True)
    return files


def seconds_of_parts(folder: Path) -> float:
    """How long the parts in `folder` took to make, of all shares and of runs before; 0 where there are none."""
    return sum(float(file.read_text() or 0) for file in folder.glob(f"*{SECONDS}"))


def _is_whole(file: Path) -> bool:
    """Whether a part is there, as long as its header says."""
    try:
        np.load(file, mmap_mode="r")
    except (OSError, ValueError, EOFError):
        return False
    return True
