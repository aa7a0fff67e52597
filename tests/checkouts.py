"""Copies of the repository that stand by themselves: for commands as readers type them, which write beside the sources."""

import os
import re
import shlex
import shutil
import subprocess
import sys
import sysconfig
from importlib.metadata import entry_points
from pathlib import Path

import numpy as np
import pytest
import soundfile

RATE, SAMPLES = 16_000, 65_536
PROGRAMS = (
    "helpers",
    "jupyter-book",
    "papermill",
    "snakemake",
    "lint-imports",
)  # of the environment's, those that pages name


def files(repository: Path) -> list[Path]:
    """What is in the repository, or would be with the next `git add`. Outside a git checkout the test is skipped."""
    command = ["git", "-C", repository, "ls-files", "--cached", "--others", "--exclude-standard", "-z"]
    done = subprocess.run(command, capture_output=True, text=True)
    if done.returncode:
        pytest.skip("not a git checkout, so what belongs to the repository cannot be told")
    return [path for name in done.stdout.split("\0") if name and (path := repository / name).is_file()]


def copy(repository: Path, folder: Path) -> Path:
    """`folder`, with these files and a `.venv` of its own that has the packages of this Python, as `make` leaves it."""
    for path in files(repository):
        place = folder / path.relative_to(repository)
        place.parent.mkdir(parents=True, exist_ok=True)
        shutil.copy2(path, place)
    subprocess.run([sys.executable, "-m", "venv", "--without-pip", folder / ".venv"], check=True)
    (site,) = (folder / ".venv").glob("lib/python*/site-packages")
    (site / "checkout.pth").write_text(f"{folder / 'src'}\n{sysconfig.get_path('purelib')}\n")
    bin_ = folder / ".venv" / "bin"
    start = f"#!/bin/sh\n'''exec' {shlex.quote(str(bin_ / 'python'))} \"$0\" \"$@\"\n' '''\n"  # as pip does it
    for one in entry_points(group="console_scripts"):
        if one.name in PROGRAMS:
            call = f"import sys\nfrom {one.module} import {one.attr}\nsys.exit({one.attr}())\n"
            (bin_ / one.name).write_text(start + call)
            (bin_ / one.name).chmod(0o755)
    (bin_ / "ruff").symlink_to(Path(sys.executable).with_name("ruff"))
    for stamp in (".ready", ".ready-test"):
        (folder / ".venv" / stamp).touch()
    return folder


def call(folder: Path, command: str, **environment: str) -> subprocess.CompletedProcess:
    """A command line as a reader types it: in the folder of the checkout, inside `.venv`."""
    outside = {key: value for key, value in os.environ.items() if not re.match("MAKE|PYTHON|PYTEST_|HELPERS_", key)}
    return subprocess.run(
        ["bash", "-c", f". .venv/bin/activate\n{command}"],
        capture_output=True, text=True, cwd=folder, env={**outside, "LC_ALL": "C.UTF-8", **environment},
    )  # fmt: skip


def write_clips(folder: Path, names: list[str], first: int = 0) -> None:
    """A few tones that come and go in each, unlike those of the others; the numbers of the sounds count from `first`."""
    folder.mkdir(parents=True)
    t = np.arange(SAMPLES) / RATE
    for number, name in enumerate(names, first):
        rng = np.random.default_rng(number)
        tones = (
            np.sin(2 * np.pi * f * t) * np.exp(-((t - c) ** 2) / 0.2)
            for f, c in rng.uniform((80, 0), (7000, 4), (4, 2))
        )
        soundfile.write(folder / name, 0.1 * sum(tones) + 0.003 * rng.standard_normal(SAMPLES), RATE)
