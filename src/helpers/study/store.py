"""The stage store: every result is a folder `runs/<stage>/<digest>/`, computed once and then only loaded.

`stage` says what decides a digest. `manifest.json` is written last, the folder gets its final name after that: a folder
without a manifest, or with files that differ from it (`manifest.inspect`), is computed again.

A published study (`study.publication`) can stand in for hours of computing: `use_policy` says whether. A folder
restored from it holds only what chapters read, so it serves to load and as the source of a `light` stage; any other
stage has it computed in full first. `HELPERS_COMPUTE=all` in the environment (`make reproduce`) overrules the policy:
nothing is restored, nothing restored is used. With `HELPERS_COMPUTE=missing`, chapters restore what there is and compute
the rest.
"""

import contextlib
import errno
import os
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import filelock

from helpers.base.machine import PeakMemory, commit, refuse_several_processes
from helpers.base.parts import SHARDS, seconds_of_parts
from helpers.base.paths import runs_root
from helpers.base.progress import say
from helpers.base.room import remove_scratch, telling_no_room
from helpers.study.manifest import DRAFT, MANIFEST, read_manifest, sync, usable, write_json, write_manifest
from helpers.study.stage import Stage


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
    manifest, problem = usable(stage, folder, every)
    if problem:
        say(f"{problem}: not used")
    if policy.restore and not whole and not _serves(manifest, whole=True) and policy.restore(stage, root):
        manifest, _ = usable(stage, folder)
    if _serves(manifest, whole):
        return Result(folder, stage.digest, manifest, computed=False)
    if policy.refusal and not stage.light:
        raise NotPublished("; ".join(filter(None, [problem, policy.refusal(stage)])))
    # What a stage is made from is read whole and decides what it gives, so it is hashed whole before.
    upstream = {
        key: load_or_run(before, root, whole=not stage.light, every=True).path for key, before in stage.upstream.items()
    }
    with _locked_folder(stage, folder):
        manifest, _ = usable(stage, folder, every)
        if _serves(manifest, whole):  # finished by the run that this one waited for
            return Result(folder, stage.digest, manifest, computed=False)
        if not manifest:
            _discard(folder)
        part = folder.with_suffix(".part")
        if not usable(stage, part)[0]:  # else: a run was killed just before the folder got its name
            _compute(stage, part, upstream)
        _discard(folder)  # a restored one, which served until now
        os.rename(part, folder)
        _discard(folder.with_suffix(SHARDS))
        return Result(folder, stage.digest, usable(stage, folder)[0], computed=True)


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
                sync(draft / name)
            write_json(draft / MANIFEST, {**manifest, "label": stage.label})
        except BaseException:
            shutil.rmtree(draft, ignore_errors=True)
            raise
        _discard(folder)
        os.rename(draft, folder)


def _serves(manifest: dict | None, whole: bool) -> bool:
    return manifest is not None and not (whole and manifest.get("restored"))


def _holds(stage: Stage, folder: Path, manifest: dict) -> bool:
    there, _ = usable(stage, folder)
    return _serves(there, whole=True) or (there is not None and there["files"] == manifest["files"])


@contextlib.contextmanager
def locked(path: Path, what: str):
    """Holds the lock file `path` during the block; says that it waits where another process has it."""
    # The operating system releases the lock of a killed process, so a leftover lock file blocks nobody.
    path.parent.mkdir(parents=True, exist_ok=True)
    lock = filelock.FileLock(path, fallback_to_soft=False)
    try:
        lock.acquire(timeout=0)
    except filelock.Timeout:
        say(f"{what}: another run is at it; waiting")
        lock.acquire()
    except (NotImplementedError, OSError) as error:
        if isinstance(error, OSError) and error.errno != errno.ENOSYS:
            raise
        told = "expected a file system that locks files (flock), got one that does not; HELPERS_RUNS=/folder keeps stages elsewhere"
        raise OSError(errno.ENOLCK, told, str(path)) from error
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
    start, of_parts = time.perf_counter(), seconds_of_parts(part.with_suffix(SHARDS))
    try:
        with telling_no_room(part):
            with PeakMemory() as memory:
                earlier_too = stage.compute(part, upstream)
            seconds = of_parts + time.perf_counter() - start
            remove_scratch(part)
            write_manifest(
                stage, part, max(seconds, earlier_too or 0.0) if stage.resumable else seconds, memory.peak_mib
            )
    except BaseException:
        if not stage.resumable:
            shutil.rmtree(part, ignore_errors=True)  # give the space back: the disk may be what failed
        raise
    say(f"{stage.name} {stage.digest[:16]}: {time.perf_counter() - start:.1f} s, peak {memory.peak_mib:.0f} MiB")
