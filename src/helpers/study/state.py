"""What there is of a profile's stages in the store: finished, restored, unfinished, stale, or not computed."""

import time
from collections.abc import Iterable
from dataclasses import dataclass

from helpers.study import entries
from helpers.study.manifest import MANIFEST, kept_manifests, read_manifest
from helpers.study.stage import Stage

KINDS = ("finished", "restored", "unfinished", "stale", "missing")


@dataclass(frozen=True)
class State:
    """`kind`: of KINDS; `text` says it in full; `size_bytes` of its own folder."""

    stage: Stage
    kind: str
    text: str
    size_bytes: int = 0


def states(stages: Iterable[Stage], current: set[str]) -> list[State]:
    """The state of each stage. Stale: not computed, but a folder of its name and label that no digest of `current` names.

    `current`: the digests of all profiles, so that another profile's results do not pass for old ones.
    """
    kept = {manifest["digest"]: manifest for manifest in kept_manifests()}
    return [_state(stage, kept, current) for stage in stages]


def _state(stage: Stage, kept: dict[str, dict], current: set[str]) -> State:
    folder = stage.folder()
    if manifest := read_manifest(stage):
        size = sum(file["size"] for file in manifest["files"].values())
        if manifest.get("restored"):
            return State(stage, "restored", "restored from the published study", size)
        day = time.strftime("%Y-%m-%d %H:%M", time.localtime((folder / MANIFEST).stat().st_mtime))
        return State(stage, "finished", f"finished {day}, {manifest['wall_s']:.1f} s", size)
    if (part := folder.with_suffix(".part")).is_dir():
        size = sum(path.stat().st_size for path in part.rglob("*") if path.is_file())
        return State(
            stage, "unfinished", "unfinished; goes on when it is run" if stage.resumable else "unfinished", size
        )
    for digest, manifest in reversed(kept.items()):  # the newest first
        if digest not in current and (manifest["stage"], manifest.get("label")) == (stage.name, stage.label):
            title, how = entries.reason(stage, manifest, _made_of(stage, manifest, kept), f"in {digest[:16]}")
            return State(stage, "stale", f"STALE: {'' if title == stage.title else f'{title}: '}{how}")
    return State(stage, "missing", "not computed")


def _made_of(stage: Stage, manifest: dict, kept: dict[str, dict]) -> dict[str, dict]:
    """The manifests of what an old result was made from, by the keys that a publication would give them."""
    manifests = {}
    for key, before in stage.upstream.items():
        if old := kept.get(manifest["upstream"].get(key)):
            manifests |= {entries.key_of(before): old, **_made_of(before, old, kept)}
    return manifests
