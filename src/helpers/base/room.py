"""Disk space: reserved before a large array is written; a full disk is told in one line."""

import contextlib
import errno
import gc
import os
import shutil
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory

SCRATCH = "scratch_"
NO_ROOM = (errno.ENOSPC, errno.EDQUOT, errno.EFBIG)
LEAST_BYTES = 2**20  # with less free than this, a disk is full


def scratch_in(folder: Path) -> TemporaryDirectory:
    """A folder below `folder` for files that nobody keeps, removed after the block as far as can be.

    On NFS a file that is still mapped stays, under another name, until nobody maps it: `remove_scratch` has to follow.
    """
    return TemporaryDirectory(dir=folder, prefix=SCRATCH, ignore_cleanup_errors=True)


def remove_scratch(folder: Path) -> None:
    """Removes what `scratch_in` had to leave in `folder`."""
    gc.collect()  # what still maps a file
    for left in folder.glob(f"{SCRATCH}*"):
        shutil.rmtree(left, ignore_errors=True)


def reserve(path: Path) -> None:
    """Gives a file with holes all the room of its size, where system and file system can.

    Else a disk that fills up kills whoever writes into a hole of a mapped file, without a word (SIGBUS). Raises OSError,
    and leaves nothing of the file, where the room is not there.
    """
    size = path.stat().st_size
    try:
        with path.open("rb+") as file:
            os.posix_fallocate(file.fileno(), 0, size)
        return
    except AttributeError:  # macOS
        if size <= shutil.disk_usage(path).free:
            return
    except OSError as error:
        if error.errno not in NO_ROOM:  # a file system that cannot reserve
            return
    path.unlink()
    free = shutil.disk_usage(path.parent).free
    raise OSError(errno.ENOSPC, f"expected room for {size / 1e6:,.1f} MB on the disk, got {free / 1e6:,.1f}", str(path))


@contextlib.contextmanager
def telling_no_room(folder: Path) -> Iterator[None]:
    """Raises OSError that names `folder` for whatever fails in the block where its disk is full: libraries say it in many ways."""
    try:
        yield
    except Exception as error:
        told = isinstance(error, OSError) and error.filename
        full = getattr(error, "errno", None) in NO_ROOM or shutil.disk_usage(folder).free < LEAST_BYTES
        if told or not full:
            raise
        raise OSError(errno.ENOSPC, "no room left on the disk", str(folder)) from error
