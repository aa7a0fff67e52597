"""The published study: the files of a profile's stages that readers need, kept in `results/<profile>/` with a manifest.

The files of a stage without a label lie flat there, those of one with a label under `<stage>/<label>/`. `manifest.json`
holds each stage's own manifest as the store wrote it, its files cut down to the published ones. A stage of which
nothing is published has its entry too: so what differs can be named, and what it took be told. `digests.json` lists the
digests of all of them by title, so that a review shows at a glance which stages are another study's.
"""

import os
import shutil
from collections import Counter
from collections.abc import Iterable
from contextlib import ExitStack
from pathlib import Path
from typing import Literal

from helpers.base.hashing import damage
from helpers.base.machine import is_dirty
from helpers.base.paths import RESULTS, shown
from helpers.base.progress import say
from helpers.study import store
from helpers.study.entries import DIGESTS, difference, folder_of, key_of, lacking, read_entries
from helpers.study.manifest import MANIFEST, inspect, write_json
from helpers.study.stage import Stage
from helpers.study.store import NotPublished

MOST_NAMED = 5  # stages that are passed over for one reason, by title; of others the number


def find(profile: str) -> Path | None:
    """The folder of the profile's published study; None where there is none."""
    folder = RESULTS / profile
    return folder if (folder / MANIFEST).is_file() else None


def use_publication(
    folder: Path | None, compute: Literal["all", "light"] = "light", command: str = "make reproduce (hours)"
) -> ExitStack:
    """From now on `store.load_or_run` restores what `folder` has; in a `with` statement: until the block ends.

    With "light" it computes light stages only, and for any other raises NotPublished: one line that says what differs
    and that `command` would compute it. Without a folder everything is computed.
    """
    if folder is None:
        return store.use_policy(store.Policy())

    def place(stage: Stage, root: Path) -> bool:
        try:
            return restore(stage, folder, root)
        except NotPublished as error:
            raise NotPublished(f"{error}; to compute it: {command}") from None

    def refusal(stage: Stage) -> str:
        entry = read_entries(folder).get(key_of(stage))
        took = f" ({duration(entry['wall_s'])} for the published study)" if entry else ""
        return f"{difference(stage, folder)}; to compute it{took}: {command}"

    return store.use_policy(store.Policy(place, refusal if compute == "light" else None))


def publish(stages: Iterable[Stage], folder: Path, root: Path | None = None) -> list[Path]:
    """Copies the published files of finished stages into `folder` and renews its manifest; returns the copies' paths.

    Other entries stay. Files that a renewed stage no longer has are deleted, and those of a stage once the one that
    collects it has its own here. A stage that is not finished, only restored, or computed by code that no commit holds is
    passed over, which is said. All
    copies are made before the first takes its place, so a failure leaves the earlier publication as it was; killed while
    they do, the next call completes the work. Raises ValueError for two stages of one name or two files that would lie
    in one place, NotPublished for a result that was altered since.
    """
    stages = list(stages)
    if twice := [key for key, n in Counter(map(key_of, stages)).items() if n > 1]:
        raise ValueError(f"{twice[0]}: expected one stage of this name and label, got two")
    folder, root = Path(folder), Path(root) if root else store.runs_root()
    folder.mkdir(parents=True, exist_ok=True)
    with store.locked(root / f"publish_{folder.name}.lock", f"publishing to {folder.name}"):
        earlier, sources, fresh, passed = read_entries(folder), {}, {}, []
        for stage in stages:
            key = key_of(stage)
            if manifest := _publishable(stage, root, earlier.get(key), passed):
                sources[key], fresh[key] = stage.folder(root), _entry(stage, manifest, stage.folder(root))
        _tell(passed)
        merged = {**earlier, **fresh}
        if not merged:  # a manifest of nothing would be a published study
            if not any(folder.iterdir()):
                folder.rmdir()
            return []
        for stage in stages:
            if (key := key_of(stage)) in merged and _collected(stage, merged[key]["digest"], merged):
                merged[key] = {**merged[key], "files": {}}
        fresh = {key: merged[key] for key in fresh}
        _refuse_shared_places(merged)
        draft = folder / ".publishing"
        shutil.rmtree(draft, ignore_errors=True)
        draft.mkdir()
        try:
            for key, entry in fresh.items():
                _copy(sources[key], folder_of(draft, key), entry["files"])
            paths = _take_place(draft, folder, fresh, merged)
        finally:
            shutil.rmtree(draft, ignore_errors=True)
        _delete_stale({key: entry for key, entry in earlier.items() if entry is not merged[key]}, merged, folder)
    return paths


def wanted(stages: Iterable[Stage], folder: Path) -> list[Stage]:
    """The stages of which a whole publication in `folder` has files: not those that another one there has collected, nor an
    optional one that it lacks."""
    entries = read_entries(folder)
    asked = [stage for stage in stages if stage.published and not (stage.optional and key_of(stage) not in entries)]
    return [stage for stage in asked if not _collected(stage, stage.digest, entries)]


def _collected(stage: Stage, digest: str, entries: dict[str, dict]) -> bool:
    """Whether the stage that collects this one is published, with files, and made from this digest of it."""
    collecting = [entry for entry in entries.values() if entry["stage"] == stage.collected_by]
    return any(entry["files"] and digest in entry["upstream"].values() for entry in collecting)


def _publishable(stage: Stage, root: Path, entry: dict | None, passed: list[tuple[str, str, str]]) -> dict | None:
    """The manifest of a result that may be published; else None. `passed` gets the reason, its title and what helps, if it is
    not published already.

    Raises NotPublished for a result that was altered since it was computed.
    """
    (manifest, problem), reason, remedy = inspect(stage, stage.folder(root)), "", ""
    if problem:
        raise NotPublished(problem)
    if manifest is None:
        reason = "not computed"
    elif manifest.get("restored"):
        if not entry or entry["digest"] != stage.digest:
            reason = "restored from a published study, not computed here"
    elif not is_dirty(manifest["commit"]):
        return manifest
    elif not entry or any(entry[name] != manifest[name] for name in ("digest", "commit", "wall_s")):
        tree = "a tree with uncommitted changes" if manifest["commit"] else "a tree without a known commit"
        reason = f"computed from {tree}"
        remedy = f"; commit, delete {shown(stage.folder(root))} and compute it again"
    if reason:
        passed.append((reason, stage.title, remedy))
    return None


def _tell(passed: list[tuple[str, str, str]]) -> None:
    """A line for each stage that is passed over, by its reason and title; of many with one reason the first few, and how many."""
    for reason in dict.fromkeys(reason for reason, *_ in passed):
        alike = [one for one in passed if one[0] == reason]
        for _, title, remedy in alike[:MOST_NAMED]:
            say(f"{title}: {reason}, so not published{remedy}")
        if (more := len(alike) - MOST_NAMED) > 0:
            helps = "; the same helps" if alike[0][2] else ""
            say(f"{more} more stage{'s' * (more > 1)}: {reason}, so not published{helps}")


def _entry(stage: Stage, manifest: dict, folder: Path) -> dict:
    names = []
    for pattern in stage.published:
        found = sorted(path.relative_to(folder).as_posix() for path in folder.glob(pattern))
        found = [name for name in found if name in manifest["files"]]
        if not found:
            say(f"{stage.title}: no file matches {pattern}")
        names += found
    return {**manifest, "published": list(stage.published), "files": {name: manifest["files"][name] for name in names}}


def _refuse_shared_places(entries: dict[str, dict]):
    owner = {}
    for key, entry in entries.items():
        for name in entry["files"]:
            place = folder_of(Path(), key) / name
            if place in owner:
                raise ValueError(f"{place}: expected one stage to publish it, got {owner[place]} and {key}")
            owner[place] = key


def _copy(source: Path, target: Path, files: dict[str, dict]):
    """Copies the files that there are, and raises NotPublished for the first that is not as `files` says."""
    for name in files:
        (target / name).parent.mkdir(parents=True, exist_ok=True)
        if (source / name).is_file():
            shutil.copyfile(source / name, target / name)
    if line := damage(target, files, source):
        raise NotPublished(line)


def _take_place(draft: Path, folder: Path, fresh: dict, merged: dict) -> list[Path]:
    paths = []
    for key, entry in fresh.items():
        for name in entry["files"]:
            path = folder_of(folder, key) / name
            path.parent.mkdir(parents=True, exist_ok=True)
            os.replace(folder_of(draft, key) / name, path)
            paths.append(path)
    write_json(folder / DIGESTS, {key.replace("/", " ", 1): entry["digest"] for key, entry in merged.items()})
    write_json(folder / MANIFEST, {"stages": merged})  # last: what it names is there
    return paths


def _delete_stale(replaced: dict, merged: dict, folder: Path):
    kept = {folder_of(folder, key) / name for key, entry in merged.items() for name in entry["files"]}
    for key, entry in replaced.items():
        for name in entry["files"]:
            path = folder_of(folder, key) / name
            if path not in kept:
                path.unlink(missing_ok=True)
                for parent in path.relative_to(folder).parents[:-1]:
                    if (folder / parent).is_dir() and not any((folder / parent).iterdir()):
                        (folder / parent).rmdir()


def restore(stage: Stage, folder: Path, root: Path | None = None) -> bool:
    """Places the stage's published files as its finished folder; False where the publication has none for this digest.

    A folder that was computed stays. Raises NotPublished, in one line, for a file that is missing or damaged.
    """
    root = Path(root) if root else store.runs_root()
    entry, source = read_entries(folder).get(key_of(stage)), folder_of(Path(folder), key_of(stage))
    if not entry or entry["digest"] != stage.digest or lacking(stage, entry):
        return False
    store.place(stage, {**entry, "restored": True}, lambda draft: _copy(source, draft, entry["files"]), root)
    return True


def duration(seconds: float) -> str:
    """Seconds with the unit that suits them, for people."""
    for unit, length in (("h", 3600), ("min", 60)):
        if seconds >= length:
            return f"{seconds / length:.1f} {unit}"
    return f"{seconds:.0f} s"
