"""The entries of a published study's manifest: read, checked, and compared with the stages of this code."""

import json
from collections.abc import Iterator
from pathlib import Path, PurePosixPath

from helpers.base.hashing import damage, line_ends
from helpers.base.paths import shown
from helpers.study.manifest import MANIFEST
from helpers.study.stage import Stage, canonical, hash_inputs, input_paths
from helpers.study.store import NotPublished

DIGESTS = "digests.json"
_ABSENT = "absent"


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
        if pure.is_absolute() or ".." in pure.parts or str(pure) in (".", MANIFEST, DIGESTS) or "\\" in name:
            raise NotPublished(f"{shown(path)}: expected names of files inside a stage's folder, got {name!r}")
    return entries


def difference(stage: Stage, folder: Path) -> str:
    """One line: what differs between the stage and its publication, or what of that is damaged; "" for nothing."""
    entries, title = read_entries(folder), stage.title
    entry = entries.get(key_of(stage))
    if entry is None:
        return f"{title} is not part of the published study in {shown(folder)}"
    if entry["digest"] != stage.digest:
        culprit, how = reason(stage, entry, entries)
        return f"{culprit}: {how}" + (f" ({title} is made from it)" if culprit != title else "")
    base = folder_of(Path(folder), key_of(stage))
    return lacking(stage, entry) or damage(base, entry["files"])


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
    for name, new, old in _unlike(hash_inputs(stage), entry["inputs"]):
        changed = line_ends(input_paths(stage)[name], old) if _ABSENT not in (new, old) else ""
        return title, f"{name} has sha256 {new[:12]} here, {old[:12]} {there}{changed}"
    before = {key: upstream.digest for key, upstream in stage.upstream.items()}
    for key, new, old in _unlike(before, entry["upstream"]):
        if _ABSENT in (new, old):
            return title, f"is made from {key} {there if new is _ABSENT else 'here'} only"
        published = entries.get(key_of(stage.upstream[key]))
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


def lacking(stage: Stage, entry: dict) -> str:
    """Which files that the stage would publish are not in its entry, in one line; "" for none."""
    if not stage.published or not entry["files"]:
        return f"{stage.title}: none of its files are published"
    new = [pattern for pattern in stage.published if pattern not in entry["published"]]
    return f"{stage.title}: {new[0]} is not among its published files" if new else ""


def key_of(stage: Stage) -> str:
    """What a stage's entry is called: "<stage>", or "<stage>/<label>"."""
    return f"{stage.name}/{stage.label}" if stage.label else stage.name


def folder_of(folder: Path, key: str) -> Path:
    """Where the files of an entry lie in the publication's folder."""
    return folder / key if "/" in key else folder


def _brief(value) -> str:
    text = value if value is _ABSENT else repr(value)
    return text if len(text) <= 60 else f"{text[:57]}..."
