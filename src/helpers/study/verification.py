"""Whether what was published, computed and frozen is still as recorded: every file's sha256, every stage's digest."""

import json
from collections.abc import Iterable
from pathlib import Path

from helpers.base.hashing import damage
from helpers.base.paths import ROOT
from helpers.study import entries, publication
from helpers.study.manifest import inspect
from helpers.study.stage import Stage


def verify(stages: Iterable[Stage], folder: Path) -> tuple[list[str], int, int]:
    """Checks the publication in `folder`, where there is one, the stages finished here, and the frozen models.

    Returns:
        A line for each problem, and how many stages and files were looked at. A damaged stage is told by its first file.
    """
    stages, problems, n_stages, n_files = {entries.key_of(stage): stage for stage in stages}, [], 0, 0
    published = entries.read_entries(folder)
    with_files = publication.wanted(stages.values(), folder)
    for key, entry in published.items():
        n_stages += 1
        n_files += len(entry["files"])
        if key not in stages:
            problems.append(f"{key}: published, but no stage of the profile")
        elif stages[key] in with_files or entry["digest"] != stages[key].digest:
            problems.append(entries.difference(stages[key], folder))
    if published:
        problems += [entries.difference(one, folder) for one in with_files if entries.key_of(one) not in published]
    for stage in stages.values():
        manifest, problem = inspect(stage, stage.folder(), every=True)
        problems.append(problem)
        n_stages += bool(manifest or problem)
        n_files += len(manifest["files"]) if manifest else 0
    for path in sorted((ROOT / "models").glob("*/config.json")):
        if not (weights := json.loads(path.read_text()).get("weights")):
            continue  # a model of others, whose layout has none
        problems.append(damage(path.parent, {weights["file"]: weights}))
        n_files += 1
    return list(filter(None, problems)), n_stages, n_files
