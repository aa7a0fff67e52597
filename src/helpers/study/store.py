"""The stage store: every result is a folder `runs/<stage>/<digest>/`, computed once and then only loaded.

A stage's digest covers all that decides its output: name, version, full configuration, seed, the digests of the stages
before it and the contents of the files it reads. `manifest.json` is written last, the folder gets its final name after
that: a folder without a manifest, or with files that differ from it, is unfinished or damaged and is computed again.
`inspect` says which, and is what looks at every folder before it is used.

A published study (`study.publication`) can stand in for hours of computing: `use_policy` says whether. A folder
restored from it holds only what chapters read, so it serves to load and as the source of a `light` stage; any other
stage has it computed in full first. `HELPERS_COMPUTE=all` in the environment (`make reproduce`) overrules the policy:
nothing is restored, nothing restored is used. With `HELPERS_COMPUTE=missing`, chapters restore what there is and compute
the rest.
"""

import contextlib
import functools
import hashlib
import json
import os
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

import filelock

from helpers.base.hashing import damage, hash_file
from helpers.base.machine import PeakMemory, commit, describe_machine, refuse_several_processes
from helpers.base.parts import SHARDS
from helpers.base.paths import runs_root, shown
from helpers.base.progress import say
from helpers.base.room import telling_no_room

MANIFEST = "manifest.json"
DRAFT = f"{MANIFEST}.draft"


@dataclass(frozen=True)
class Stage:
    """One step of the pipeline: what it is made from and how it is computed.

    `compute(folder, upstream)` writes its files into `folder`; `upstream` maps each key of `Stage.upstream` to that
    stage's finished folder. A `resumable` stage finds in `folder` what an interrupted run had left there; any other
    gets an empty folder. `config` is JSON-ready; `files` are inputs from outside the store, hashed by content.

    `shard(folder, upstream, k, n)` does the k-th of n parts of the work, from 1, ahead of `compute`, which does what is
    missing: it finds them in the folder with the suffix SHARDS beside its own. Several processes may do different parts.

    The last six are no part of the digest: `published` are the files that a published study holds (patterns relative
    to the folder); where `collected_by` names a stage made from this one, only until that has published its own.
    `label` tells apart the instances of one name ("n100_d0"), and a `light` stage takes seconds and reads only
    published files of the stages before it.
    """

    name: str
    config: dict
    compute: Callable[[Path, dict[str, Path]], None]
    upstream: dict[str, "Stage"] = field(default_factory=dict)
    files: tuple[Path, ...] = ()
    version: int = 1
    seed: int | None = None
    resumable: bool = False
    published: tuple[str, ...] = ()
    collected_by: str = ""
    label: str = ""
    light: bool = False
    shard: Callable[[Path, dict[str, Path], int, int], None] | None = None

    @property
    def title(self) -> str:
        """Name and label, for people."""
        return f"{self.name} {self.label}".strip()

    @functools.cached_property
    def digest(self) -> str:
        """64 hex digits. Raises FileNotFoundError for a missing input file, TypeError for a config JSON cannot hold."""
        identity = {
            "name": self.name,
            "version": self.version,
            "config": canonical(self.config),
            "seed": self.seed,
            "upstream": {key: stage.digest for key, stage in self.upstream.items()},
            "files": [[Path(path).name, hash_file(path)] for path in self.files],
        }
        text = json.dumps(identity, sort_keys=True, separators=(",", ":"), allow_nan=False)
        return hashlib.sha256(text.encode()).hexdigest()

    def folder(self, root: Path | None = None) -> Path:
        """Where the finished result is, or will be. Names carry 16 hex digits; the manifest carries all 64."""
        return (root or runs_root()) / self.name / self.digest[:16]


@dataclass(frozen=True)
class Result:
    """A finished stage: its folder, digest and manifest, and whether this call computed it."""

    path: Path
    digest: str
    manifest: dict
    computed: bool


class NotPublished(RuntimeError):
    """A stage that the published study cannot give and that may not be computed unasked; the message is one line."""


@dataclass(frozen=True)
class Policy:
    """What `load_or_run` does about a missing stage; as it stands, it computes.

    `restore(stage, root)` puts the stage's folder in place and says whether it could. `refusal(stage)` is the message
    of NotPublished for a stage that is not light; without it every stage may be computed.
    """

    restore: Callable[[Stage, Path], bool] | None = None
    refusal: Callable[[Stage], str] | None = None


_active = {"policy": Policy()}


def use_policy(policy: Policy) -> contextlib.ExitStack:
    """`load_or_run` follows `policy` from now on; as a `with` statement: until the block ends."""
    back = contextlib.ExitStack()
    back.callback(_active.update, policy=_active["policy"])
    _active["policy"] = policy
    return back


def asked_to_compute() -> str:
    """What HELPERS_COMPUTE asks for: "all"; "missing", what a published study does not have; or "". Raises ValueError."""
    if (value := os.environ.get("HELPERS_COMPUTE", "")) not in ("", "missing", "all"):
        raise ValueError(f"HELPERS_COMPUTE: expected all, missing or nothing, got {value!r}")
    return value


def computes_all() -> bool:
    """Whether to compute everything, as if there were no published study."""
    return asked_to_compute() == "all"


def load_or_run(stage: Stage, root: Path | None = None, whole: bool = False, every: bool = False) -> Result:
    """The finished result of `stage`; restores or computes it, and whatever it needs before it, where missing or damaged.

    `whole`: a restored folder, which may lack files, is not enough; `every`: as `inspect` takes it. Two runs of one stage
    do not collide: the second waits, then loads. Interrupted or killed at any moment, the next call completes the work.
    Errors of `compute` pass through, and leave no finished folder behind. Raises NotPublished where the policy forbids
    to compute, OSError where the disk is full.
    """
    refuse_several_processes()  # before the lock, at which all but one would wait for ever
    root = Path(root) if root else runs_root()
    policy, whole = (Policy(), True) if computes_all() else (_active["policy"], whole)
    folder = stage.folder(root)
    manifest, problem = _usable(stage, folder, every)
    if problem:
        say(f"{problem}: not used")
    if policy.restore and not whole and not _serves(manifest, whole=True) and policy.restore(stage, root):
        manifest, _ = _usable(stage, folder)
    if _serves(manifest, whole):
        return Result(folder, stage.digest, manifest, computed=False)
    if policy.refusal and not stage.light:
        raise NotPublished("; ".join(filter(None, [problem, policy.refusal(stage)])))
    # What a stage is made from is read whole and decides what it gives, so it is hashed whole before.
    upstream = {
        key: load_or_run(before, root, whole=not stage.light, every=True).path for key, before in stage.upstream.items()
    }
    with _locked_folder(stage, folder):
        manifest, _ = _usable(stage, folder, every)
        if _serves(manifest, whole):  # finished by the run that this one waited for
            return Result(folder, stage.digest, manifest, computed=False)
        if not manifest:
            _discard(folder)
        part = folder.with_suffix(".part")
        if not _usable(stage, part)[0]:  # else: a run was killed just before the folder got its name
            _compute(stage, part, upstream)
        _discard(folder)  # a restored one, which served until now
        os.rename(part, folder)
        _discard(folder.with_suffix(SHARDS))
        return Result(folder, stage.digest, _usable(stage, folder)[0], computed=True)


def run_shard(stage: Stage, k: int, n: int) -> None:
    """Does the k-th of n parts of a stage's work, from 1, unless the stage is finished. Errors as `load_or_run`."""
    refuse_several_processes()
    if stage.shard and not _serves(read_manifest(stage), whole=True):
        upstream = {key: load_or_run(before, whole=True, every=True).path for key, before in stage.upstream.items()}
        folder = stage.folder().with_suffix(SHARDS)
        folder.mkdir(parents=True, exist_ok=True)
        with telling_no_room(folder):
            stage.shard(folder, upstream, k, n)


def place(stage: Stage, manifest: dict, fill: Callable[[Path], None], root: Path):
    """Makes a finished folder that was not computed here: `fill(folder)` writes the files that `manifest` names.

    A folder that was computed, or that has these files, stays. What an interrupted run of the stage left stays too.
    Errors of `fill` pass through, and leave the folder as it was.
    """
    folder = stage.folder(root)
    if _holds(stage, folder, manifest):  # asked before the lock, which a run that computes the stage has for hours
        return
    with _locked_folder(stage, folder):
        if _holds(stage, folder, manifest):
            return
        draft = folder.with_suffix(".restoring")
        _discard(draft)
        draft.mkdir()
        try:
            fill(draft)
            for name in manifest["files"]:
                _sync(draft / name)
            write_json(draft / MANIFEST, {**manifest, "label": stage.label})
        except BaseException:
            shutil.rmtree(draft, ignore_errors=True)
            raise
        _discard(folder)
        os.rename(draft, folder)


def _serves(manifest: dict | None, whole: bool) -> bool:
    return manifest is not None and not (whole and manifest.get("restored"))


def _holds(stage: Stage, folder: Path, manifest: dict) -> bool:
    there, _ = _usable(stage, folder)
    return _serves(there, whole=True) or (there is not None and there["files"] == manifest["files"])


def read_manifest(stage: Stage, root: Path | None = None) -> dict | None:
    """The manifest of the finished stage, or None where it is missing, unfinished or damaged (which is said)."""
    manifest, problem = _usable(stage, stage.folder(root))
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


def _usable(stage: Stage, folder: Path, every: bool = False) -> tuple[dict | None, str]:
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


def hash_inputs(stage: Stage) -> dict[str, str]:
    """The sha256 of each of the stage's input files by its name in `input_paths`."""
    return {name: hash_file(path) for name, path in input_paths(stage).items()}


def input_paths(stage: Stage) -> dict[str, Path]:
    """The stage's input files by name; with the folder's name where two have one name."""
    paths = [Path(path) for path in stage.files]
    names = [path.name for path in paths]
    return {p.name if names.count(p.name) == 1 else f"{p.parent.name}/{p.name}": p for p in paths}


def canonical(value):
    """`value` with 1.0 as 1: a profile that writes `beta: 1` means the same as one that writes `beta: 1.0`."""
    if isinstance(value, dict):
        return {key: canonical(item) for key, item in value.items()}
    if isinstance(value, (list, tuple)):
        return [canonical(item) for item in value]
    return int(value) if isinstance(value, float) and value.is_integer() else value


@contextlib.contextmanager
def locked(path: Path, what: str):
    """Holds the lock file `path` during the block; says that it waits where another process has it."""
    # The operating system releases the lock of a killed process, so a leftover lock file blocks nobody.
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = filelock.FileLock(path)
    try:
        lock.acquire(timeout=0)
    except filelock.Timeout:
        say(f"{what}: another run is at it; waiting")
        lock.acquire()
    try:
        yield
    finally:
        lock.release()


def _locked_folder(stage: Stage, folder: Path):
    return locked(folder.with_suffix(".lock"), f"{stage.name} {folder.name}")


def _discard(folder: Path):
    (folder / MANIFEST).unlink(missing_ok=True)  # first, so that a deletion cut short leaves no finished folder
    if folder.exists():
        shutil.rmtree(folder)


def _compute(stage: Stage, part: Path, upstream: dict[str, Path]):
    if stage.resumable:
        for name in (MANIFEST, DRAFT):  # of a run that was killed as it finished: no part of the result
            (part / name).unlink(missing_ok=True)
    else:
        _discard(part)
    part.mkdir(exist_ok=True)
    say(f"{stage.name} {stage.digest[:16]}: {'resuming' if any(part.iterdir()) else 'computing'}")
    commit()  # asked before the work: at the end of a run of hours the tree can be another
    start = time.perf_counter()
    try:
        with telling_no_room(part):
            with PeakMemory() as memory:
                stage.compute(part, upstream)
            _write_manifest(stage, part, time.perf_counter() - start, memory.peak_mib)
    except BaseException:
        if not stage.resumable:
            shutil.rmtree(part, ignore_errors=True)  # give the space back: the disk may be what failed
        raise
    say(f"{stage.name} {stage.digest[:16]}: {time.perf_counter() - start:.1f} s, peak {memory.peak_mib:.0f} MiB")


def _write_manifest(stage: Stage, part: Path, wall_s: float, peak_mib: float):
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
        "files": {p.relative_to(part).as_posix(): {"size": p.stat().st_size, "sha256": _sync(p)} for p in paths},
    }
    write_json(part / MANIFEST, manifest)


def write_json(path: Path, content: dict):
    """Writes a JSON file with sorted keys, a value a line, which is there whole or not at all."""
    draft = path.with_name(f"{path.name}.draft")
    draft.write_text(json.dumps(content, indent=1, sort_keys=True) + "\n")
    _sync(draft)
    os.replace(draft, path)


def _sync(path: Path) -> str:
    """Brings a file to the disk before the manifest vouches for it; returns its sha256."""
    with path.open("rb+") as stream:
        os.fsync(stream.fileno())
        return hashlib.file_digest(stream, "sha256").hexdigest()
