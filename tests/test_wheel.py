"""An installed package, away from the repository: it carries profiles and models, and writes to the current folder."""

import os
import shutil
import subprocess
import sys
import zipfile
from pathlib import Path

import pytest

FROM_ELSEWHERE = """
import numpy as np
import helpers
from helpers.base import paths
from helpers.models.folder import read_config, read_weights
from helpers.study import store

profile = helpers.load_profile("smoke")
clip = np.random.default_rng(0).integers(-9999, 9999, profile.corpus.clip_samples, dtype=np.int16)
assert helpers.log_mel(clip, profile.mel, profile.corpus.sample_rate_hz).shape == (1, 256, 64)
for path, kind in (("models/codec", "codec"), ("models/vocoder", "vocoder"), ("models/clap", "clap")):
    folder = paths.resolve(path)
    assert folder.is_relative_to(paths.ROOT) and read_weights(folder, read_config(folder, kind))
    assert (folder / "README.md").is_file(), "the card says under which licence"
assert paths.resolve("models/mine") == paths.Path.cwd() / "models/mine"
print(helpers.__file__, store.runs_root(), sep="\\n")
"""


@pytest.fixture(scope="module")
def installed(repository, tmp_path_factory) -> Path:
    """The package as a wheel unpacks it. It is built from a copy: a build leaves folders behind."""
    root = tmp_path_factory.mktemp("wheel")
    for name in ("src", "profiles", "models"):
        unwanted = shutil.ignore_patterns("__pycache__", "*.egg-info", "vocoder_adversarial")
        shutil.copytree(repository / name, root / "copy" / name, ignore=unwanted)
    for name in ("pyproject.toml", "setup.py", "README.md", "LICENSE", "LICENSES.md"):
        shutil.copy(repository / name, root / "copy")
    command = [
        sys.executable,
        "-m",
        "pip",
        "wheel",
        "--quiet",
        "--no-deps",
        "--no-build-isolation",
        "--wheel-dir",
        root,
    ]
    subprocess.run([*command, root / "copy"], check=True, capture_output=True, text=True)
    (wheel,) = root.glob("*.whl")
    assert wheel.stat().st_size < 25e6
    with zipfile.ZipFile(wheel) as archive:
        archive.extractall(root / "site")
    return root / "site"


def python(installed: Path, folder: Path, *arguments: str) -> subprocess.CompletedProcess:
    """Runs Python in another folder, with the unpacked wheel before everything else."""
    environment = {key: value for key, value in os.environ.items() if key != "HELPERS_RUNS"}
    environment["PYTHONPATH"] = str(installed)
    return subprocess.run([sys.executable, *arguments], cwd=folder, env=environment, capture_output=True, text=True)


def test_it_works_in_another_folder(installed, tmp_path):
    done = python(installed, tmp_path, "-c", FROM_ELSEWHERE)
    assert done.returncode == 0, done.stderr
    assert done.stdout.splitlines() == [str(installed / "helpers" / "__init__.py"), str(tmp_path / "runs")]
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize(
    ("arguments", "code", "missing"),
    [
        (("run", "corpus", "--profile", "smoke"), 2, "data/sounds.parquet"),
        (("chapter", "01_corpus", "--profile", "smoke"), 2, "data/sounds.parquet"),
    ],
)
def test_what_is_not_carried_is_told_in_one_line(installed, tmp_path, arguments, code, missing):
    done = python(installed, tmp_path, "-m", "helpers", *arguments)
    (line,) = done.stderr.splitlines()
    assert done.returncode == code and line.startswith("error: ") and missing in line
    assert line.endswith(f"does not carry it: work in a checkout of the repository, or copy {missing} from there")


def test_a_checkout_carries_nothing_in_the_package(repository):
    assert not (repository / "src" / "helpers" / "resources").exists()
