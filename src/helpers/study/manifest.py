"""What a folder of the store says of itself: `manifest.json`, written last, with the size and sha256 of each file.

A folder without it, or with files that differ from it, is unfinished or damaged. `inspect` says which, and is what looks at
every folder before it is used.
"""

import contextlib
import hashlib
import json
import os
from pathlib import Path

from helpers.base.hashing import damage
from helpers.base.machine import describe_machine
from helpers.base.paths import runs_root, shown
from helpers.base.progress import say
from helpers.study.stage import Stage, hash_inputs

MANIFEST = "manifest.json"
DRAFT = f"{MANIFEST}.draft"


def read_manifest(stage: Stage, root: Path | None = None) -> dict | None:
    """The manifest of the finished stage, or None where it is missing, unfinished or damaged (which is said)."""
    manifest, problem = usable(stage, stage.folder(root))
    if problem:
        say(f"{problem}: not used")
    return manifest


def inspect(stage: Stage, folder: Path, every: bool = False) -> tuple[dict | None, str]:
    """A folder's manifest, and one line that names a file that is not as it says; "" where all is well or nothing there.

    Files of another size, and those written since the manifest was, are hashed; with `every`, and in a restored folder
    always, all are, once a process. Without a manifest that can be read, there is none and the line says so.
    """
    path = folder / MANIFEST
    try:
        vouched, manifest = path.stat().st_mtime_ns, json.loads(path.read_text())
        if manifest["digest"] != stage.digest:
            return None, f"{shown(path)}: of another digest"
        every = every or manifest.get("restored", False)
        doubtful = {
            n: file for n, file in manifest["files"].items() if every or _altered(folder / n, file["size"], vouched)
        }
        return manifest, damage(folder, doubtful)
    except (FileNotFoundError, NotADirectoryError):
        return None, f"{shown(folder)}: unfinished" if folder.exists() else ""
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        return None, f"{shown(path)}: cannot be read ({type(error).__name__})"


def usable(stage: Stage, folder: Path, every: bool = False) -> tuple[dict | None, str]:
    """As `inspect`, without the manifest of a folder that is not as it says."""
    manifest, problem = inspect(stage, folder, every)
    return None if problem else manifest, problem


def _altered(path: Path, size: int, vouched: int) -> bool:
    """Whether a file may have another content than when its manifest was written, at the time `vouched` in ns."""
    try:
        stat = path.stat()
    except FileNotFoundError:
        return True
    return stat.st_size != size or stat.st_mtime_ns >= vouched


def kept_manifests() -> list[dict]:
    """The manifests of all that is kept in `runs_root`, oldest first; what cannot be read is no result and passed over."""
    kept = []
    for path in runs_root().glob(f"*/*/{MANIFEST}"):
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
            manifest = json.loads(path.read_text())
            kept.append((path.stat().st_mtime, manifest["digest"], manifest))
    return [manifest for *_, manifest in sorted(kept, key=lambda one: one[:2])]


def write_manifest(stage: Stage, part: Path, wall_s: float, peak_mib: float):
    """What is known of a folder that was computed just now, with the sha256 of each of its files. Raises RuntimeError for none."""
    paths = sorted(path for path in part.rglob("*") if path.is_file())
    if not paths:
        raise RuntimeError(f"{stage.name}: expected compute to write at least one file, got none")
    manifest = {
        "stage": stage.name,
        "label": stage.label,
        "version": stage.version,
        "digest": stage.digest,
        "config": stage.config,
        "seed": stage.seed,
        "upstream": {key: before.digest for key, before in stage.upstream.items()},
        "inputs": hash_inputs(stage),
        "wall_s": round(wall_s, 3),
        "peak_memory_mib": round(peak_mib, 1),
        **describe_machine(),
        "files": {p.relative_to(part).as_posix(): {"size": p.stat().st_size, "sha256": sync(p)} for p in paths},
    }
    write_json(part / MANIFEST, manifest)


def write_json(path: Path, content: dict):
    """Writes a JSON file with sorted keys, a value a line, which is there whole or not at all."""
    draft = path.with_name(f"{path.name}.draft")
    draft.write_text(json.dumps(content, indent=1, sort_keys=True) + "\n")
    sync(draft)
    os.replace(draft, path)


def sync(path: Path) -> str:
    """Brings a file to the disk before the manifest vouches for it; returns its sha256."""
    with path.open("rb+") as stream:
        os.fsync(stream.fileno())
        return hashlib.file_digest(stream, "sha256").hexdigest()
