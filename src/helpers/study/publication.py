"""The published study: the files of a profile's stages that readers need, kept in `results/<profile>/` with a manifest.

The files of a stage without a label lie flat there, those of one with a label under `<stage>/<label>/`. `manifest.json`
holds each stage's own manifest as the store wrote it, its files cut down to the published ones. A stage of which
nothing is published has its entry too: so what differs can be named, and what it took be told.
"""

import json
import os
import shutil
from collections import Counter
from collections.abc import Iterable, Iterator
from contextlib import ExitStack
from pathlib import Path, PurePosixPath
from typing import Literal

from helpers.base import hashing
from helpers.base.progress import say
from helpers.base.settings import ROOT
from helpers.study import store
from helpers.study.store import MANIFEST, NotPublished, Stage, canonical

RESULTS = ROOT / "results"
_ABSENT = "absent"


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
        entry = read_entries(folder).get(_key(stage))
        took = f" ({duration(entry['wall_s'])} for the published study)" if entry else ""
        return f"{difference(stage, folder)}; to compute it{took}: {command}"

    return store.use_policy(store.Policy(place, refusal if compute == "light" else None))


def read_entries(folder: Path) -> dict[str, dict]:
    """The stages' manifests by "<stage>" or "<stage>/<label>"; none where the folder has no manifest.

    Raises NotPublished for a manifest that cannot be read, or that names a file outside its stage's folder.
    """
    path = Path(folder) / MANIFEST
    if not path.is_file():
        return {}
    try:
        entries = json.loads(path.read_text())["stages"]
        names = [name for entry in entries.values() for name in entry["files"]]
    except (ValueError, KeyError, TypeError, AttributeError) as error:
        raise NotPublished(f"{shown(path)}: cannot be read ({type(error).__name__})") from None
    for name in names:
        pure = PurePosixPath(name)
        if pure.is_absolute() or ".." in pure.parts or str(pure) in (".", MANIFEST) or "\\" in name:
            raise NotPublished(f"{shown(path)}: expected names of files inside a stage's folder, got {name!r}")
    return entries


def publish(stages: Iterable[Stage], folder: Path, root: Path | None = None) -> list[Path]:
    """Copies the published files of finished stages into `folder` and renews its manifest; returns the copies' paths.

    Other entries stay. Files that a renewed stage no longer has are deleted, and those of a stage once the one that
    collects it has its own here. A stage that is not finished, or only restored, is passed over, which is said. All
    copies are made before the first takes its place, so a failure leaves the earlier publication as it was; killed while
    they do, the next call completes the work. Raises ValueError for two stages of one name or two files that would lie
    in one place, NotPublished for a result that was altered since.
    """
    stages = list(stages)
    if twice := [key for key, n in Counter(map(_key, stages)).items() if n > 1]:
        raise ValueError(f"{twice[0]}: expected one stage of this name and label, got two")
    folder, root = Path(folder), Path(root) if root else store.runs_root()
    folder.mkdir(parents=True, exist_ok=True)
    root.mkdir(parents=True, exist_ok=True)
    with store.locked(root / f"publish_{folder.name}.lock", f"publishing to {folder.name}"):
        earlier, sources, fresh = read_entries(folder), {}, {}
        for stage in stages:
            key = _key(stage)
            if manifest := _publishable(stage, root, earlier.get(key)):
                sources[key], fresh[key] = stage.folder(root), _entry(stage, manifest, stage.folder(root))
        merged = {**earlier, **fresh}
        for stage in stages:
            if (key := _key(stage)) in merged and _collected(stage, merged[key]["digest"], merged):
                merged[key] = {**merged[key], "files": {}}
        fresh = {key: merged[key] for key in fresh}
        _refuse_shared_places(merged)
        draft = folder / ".publishing"
        shutil.rmtree(draft, ignore_errors=True)
        draft.mkdir()
        try:
            for key, entry in fresh.items():
                _copy(sources[key], _base(draft, key), entry["files"])
            paths = _take_place(draft, folder, fresh, merged)
        finally:
            shutil.rmtree(draft, ignore_errors=True)
        _delete_stale({key: entry for key, entry in earlier.items() if entry is not merged[key]}, merged, folder)
    return paths


def wanted(stages: Iterable[Stage], folder: Path) -> list[Stage]:
    """The stages of which a whole publication in `folder` has files: not those that another one there has collected."""
    entries = read_entries(folder)
    return [stage for stage in stages if stage.published and not _collected(stage, stage.digest, entries)]


def _collected(stage: Stage, digest: str, entries: dict[str, dict]) -> bool:
    """Whether the stage that collects this one is published, with files, and made from this digest of it."""
    collecting = [entry for key, entry in entries.items() if key.split("/")[0] == stage.collected_by]
    return any(entry["files"] and digest in entry["upstream"].values() for entry in collecting)


def _publishable(stage: Stage, root: Path, entry: dict | None) -> dict | None:
    manifest = store.read_manifest(stage, root)
    if manifest is None:
        say(f"{stage.title}: not computed, so not published")
    elif manifest.get("restored"):
        if not (entry and entry["digest"] == stage.digest):
            say(f"{stage.title}: restored from a published study, not computed here, so not published")
        return None
    return manifest


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
            place = _base(Path(), key) / name
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
            path = _base(folder, key) / name
            path.parent.mkdir(parents=True, exist_ok=True)
            os.replace(_base(draft, key) / name, path)
            paths.append(path)
    store.write_manifest(folder, {"stages": merged})
    return paths


def _delete_stale(replaced: dict, merged: dict, folder: Path):
    kept = {_base(folder, key) / name for key, entry in merged.items() for name in entry["files"]}
    for key, entry in replaced.items():
        for name in entry["files"]:
            path = _base(folder, key) / name
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
    entry, source = read_entries(folder).get(_key(stage)), _base(Path(folder), _key(stage))
    if not entry or entry["digest"] != stage.digest or _lacking(stage, entry):
        return False
    store.place(stage, {**entry, "restored": True}, lambda draft: _copy(source, draft, entry["files"]), root)
    return True


def difference(stage: Stage, folder: Path) -> str:
    """One line: what differs between the stage and its publication, or what of that is damaged; "" for nothing."""
    entries, title = read_entries(folder), stage.title
    entry = entries.get(_key(stage))
    if entry is None:
        return f"{title} is not part of the published study in {shown(folder)}"
    if entry["digest"] != stage.digest:
        culprit, how = reason(stage, entry, entries)
        return f"{culprit}: {how}" + (f" ({title} is made from it)" if culprit != title else "")
    base = _base(Path(folder), _key(stage))
    return _lacking(stage, entry) or damage(base, entry["files"])


def reason(
    stage: Stage, entry: dict, entries: dict[str, dict], there: str = "in the published study"
) -> tuple[str, str]:
    """The stage that differs first, of this one and those before it, and how. `entry`: the manifest of the one `there`."""
    title = stage.title
    unlike = [*_unlike(canonical(stage.config), canonical(entry["config"]))]
    if unlike := unlike or [*_unlike(stage.seed, entry["seed"], "seed")]:
        name, new, old = unlike[0]
        more = f" (and {len(unlike) - 1} more)" if len(unlike) > 1 else ""
        return title, f"{name} is {_brief(new)} in the profile, {_brief(old)} {there}{more}"
    if stage.version != entry["version"]:
        return title, f"version is {stage.version} in the code, {entry['version']} {there}"
    for name, new, old in _unlike(store.hash_inputs(stage), entry["inputs"]):
        return title, f"{name} has sha256 {new[:12]} here, {old[:12]} {there}"
    before = {key: upstream.digest for key, upstream in stage.upstream.items()}
    for key, new, old in _unlike(before, entry["upstream"]):
        if _ABSENT in (new, old):
            return title, f"is made from {key} {there if new is _ABSENT else 'here'} only"
        published = entries.get(_key(stage.upstream[key]))
        if published and published["digest"] == old:
            return reason(stage.upstream[key], published, entries, there)
        return stage.upstream[key].title, f"digest is {new[:12]} here, {old[:12]} {there}"
    return title, f"digest is {stage.digest[:12]} here, {entry['digest'][:12]} {there}"


def _unlike(ours, theirs, name: str = "") -> Iterator[tuple[str, object, object]]:
    """Every setting that differs: its dotted name and both values."""
    if isinstance(ours, dict) and isinstance(theirs, dict):
        for key in dict.fromkeys((*ours, *theirs)):
            yield from _unlike(ours.get(key, _ABSENT), theirs.get(key, _ABSENT), f"{name}.{key}" if name else key)
    elif ours != theirs:
        yield name, ours, theirs


def _lacking(stage: Stage, entry: dict) -> str:
    if not stage.published or not entry["files"]:
        return f"{stage.title}: none of its files are published"
    new = [pattern for pattern in stage.published if pattern not in entry["published"]]
    return f"{stage.title}: {new[0]} is not among its published files" if new else ""


def damage(folder: Path, files: dict[str, dict], named: Path | None = None) -> str:
    """The first of `files` in `folder` that is missing or has another sha256, named as if it lay in `named`; "" for none."""
    named = named or folder
    for name, expected in files.items():
        got = hashing.hash_file(folder / name) if (folder / name).is_file() else None
        if got != expected["sha256"]:
            found = f"got {got[:12]}" if got else "the file is missing"
            return f"{shown(named / name)}: expected sha256 {expected['sha256'][:12]}, {found}"
    return ""


def _key(stage: Stage) -> str:
    return f"{stage.name}/{stage.label}" if stage.label else stage.name


def _base(folder: Path, key: str) -> Path:
    return folder / key if "/" in key else folder


def shown(path: Path) -> str:
    """A path as messages give it: within the repository from its root."""
    path = Path(path).absolute()
    return str(path.relative_to(ROOT) if path.is_relative_to(ROOT) else path)


def _brief(value) -> str:
    text = value if value is _ABSENT else repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."


def duration(seconds: float) -> str:
    """Seconds with the unit that suits them, for people."""
    for unit, length in (("h", 3600), ("min", 60)):
        if seconds >= length:
            return f"{seconds / length:.1f} {unit}"
    return f"{seconds:.0f} s"
