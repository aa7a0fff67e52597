"""A full disk and one that may not be written: one line, nothing half-made left, and never a process killed without a word."""

import errno
import os
import re
import shutil
import signal
import subprocess
import sys
from collections import namedtuple

import numpy as np
import pytest

from helpers.base import room
from helpers.base.mapped import create
from helpers.models.trainer import _write_atomically
from helpers.study.stage import Stage
from helpers.study.store import load_or_run

PRIVATE = ["unshare", "--map-root-user", "--mount"]  # a file system that is seen by one process, and goes with it
Usage = namedtuple("Usage", "total used free")


def on_small_disk(folder, options: str, *command):
    """Runs a command with `folder` as a file system of its own; skips where the system allows none."""
    script = f'mount -t tmpfs -o {options} none "$1" && shift && exec "$@"'
    if not shutil.which("unshare") or subprocess.run([*PRIVATE, "sh", "-c", script, "sh", folder, "true"]).returncode:
        pytest.skip("no file system may be mounted here")
    environment = {**os.environ, "HELPERS_RUNS": str(folder / "runs")}
    whole = [*PRIVATE, "sh", "-c", script, "sh", folder, *command]
    return subprocess.run(whole, capture_output=True, text=True, env=environment)


WRITING = """
import sys
from pathlib import Path
from numpy.lib.format import open_memmap
from helpers.base.mapped import create

path = Path(sys.argv[1]) / "rows.npy"
try:
    array = {how}, "int16", (2**21,))
    array[:] = 1
except OSError as error:
    sys.exit(f"{{error.strerror}}: {{error.filename}}; {{path.exists()}}")
"""


def test_a_full_disk_is_told_before_it_kills(tmp_path):
    plain = on_small_disk(
        tmp_path, "size=1m", sys.executable, "-c", WRITING.format(how='open_memmap(path, "w+"'), tmp_path
    )
    assert plain.returncode == -signal.SIGBUS, "what a mapped file does by itself"
    done = on_small_disk(tmp_path, "size=1m", sys.executable, "-c", WRITING.format(how="create(path"), tmp_path)
    assert done.returncode == 1
    assert done.stderr == f"expected room for 4.2 MB on the disk, got 1.0: {tmp_path / 'rows.npy'}; False\n"


@pytest.mark.parametrize(
    ("options", "said"),
    [
        ("size=1m", "runs/corpus/DIGEST.part/audio.npy: expected room for 4.7 MB on the disk, got 1.0"),
        ("size=4k", "runs/corpus/DIGEST.part: no room left on the disk"),
        ("ro", "runs: Read-only file system"),
    ],
)
def test_a_command_says_it_in_one_line(tmp_path, options, said):
    done = on_small_disk(tmp_path, options, sys.executable, "-m", "helpers", "run", "corpus", "--profile", "tiny")
    said = re.sub("DIGEST", r"\\w{16}", re.escape(f"{tmp_path}/{said}"))
    after = "; HELPERS_RUNS=FOLDER names another place for results; what is finished stays"
    assert done.returncode == 2 and re.fullmatch(f"error: {said}{after}", done.stderr.splitlines()[-1]), done.stderr
    assert "Traceback" not in done.stderr and len(done.stderr.splitlines()) <= 2


def test_without_room_nothing_is_left(tmp_path, monkeypatch):
    def full(*_):
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(room.os, "posix_fallocate", full)
    with pytest.raises(OSError, match=r"expected room for 0\.8 MB") as raised:
        create(tmp_path / "rows.npy", np.float32, (1000, 200))
    assert raised.value.errno == errno.ENOSPC and not list(tmp_path.iterdir())


@pytest.mark.parametrize("system", ["reserves", "file system cannot", "macOS"])
def test_what_was_reserved_is_an_ordinary_array(tmp_path, monkeypatch, system):
    def cannot(*_):
        raise OSError(errno.EOPNOTSUPP, "Operation not supported")

    if system == "file system cannot":
        monkeypatch.setattr(room.os, "posix_fallocate", cannot)
    elif system == "macOS":
        monkeypatch.delattr(room.os, "posix_fallocate")
    array = create(tmp_path / "rows.npy", np.float32, (10, 3))
    array[:] = np.arange(30).reshape(10, 3)
    array.flush()
    np.save(tmp_path / "plain.npy", np.arange(30, dtype=np.float32).reshape(10, 3))
    assert (tmp_path / "rows.npy").read_bytes() == (tmp_path / "plain.npy").read_bytes()
    if system == "macOS":
        monkeypatch.setattr(room.shutil, "disk_usage", lambda _: Usage(100, 100, 0))
        with pytest.raises(OSError, match="expected room for"):
            create(tmp_path / "more.npy", np.float32, (10, 3))


def test_however_a_library_says_it_a_full_disk_is_told_as_such(tmp_path, monkeypatch):
    def failing(folder, upstream):
        (folder / "half.csv").write_text("1")
        raise RuntimeError("PytorchStreamWriter failed writing file")

    for free, kind in ((10**9, RuntimeError), (4096, OSError)):
        monkeypatch.setattr(room.shutil, "disk_usage", lambda _, free=free: Usage(10**9, 0, free))
        with pytest.raises(kind) as raised:
            load_or_run(Stage("toy", {}, failing), tmp_path)
        assert not list((tmp_path / "toy").glob("*.part"))
    assert raised.value.errno == errno.ENOSPC and "toy" in raised.value.filename


def test_a_state_that_could_not_be_written_leaves_the_room_it_took(tmp_path):
    def failing(path):
        path.write_text("half")
        raise OSError(errno.ENOSPC, "No space left on device")

    (tmp_path / "state.pt").write_text("before")
    with pytest.raises(OSError, match="no room left on the disk"):
        _write_atomically(tmp_path / "state.pt", failing)
    assert [path.name for path in tmp_path.iterdir()] == ["state.pt"]
