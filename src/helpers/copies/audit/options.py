"""Which options of `helpers audit` go together, and which settings it uses, checked before any work."""

import os
import tempfile
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path

from helpers.base.paths import check_place
from helpers.base.settings import MelConfig
from helpers.copies.audit import files

# Settings that an audit follows, by section; of one folder, those of what is read alone. Another would change nothing.
USED = {
    "corpus": ("channel", "clip_samples", "sample_rate_hz"),
    "mel": tuple(field.name for field in fields(MelConfig)),
    "retrieval": ("detectors", "clap_path", "clap_sha256", "max_shift_s", "n_candidates"),
    "thresholds": ("fpr", "further_fprs", "beta", "betas", "k", "ks", "confidence", "seed"),
}
USED_WITHIN = {"corpus": ("channel", "sample_rate_hz")}
# of a comparison of folders
COMPARED = ("generated", "training", "honest", "match_honest", "chromaprint", "keep", "shard")


def check(given: Mapping) -> None:
    """Raises ValueError where options, by their names, do not go together, or the table could not be written.

    `given` has `within`, `output`, `fail_above` and those of COMPARED; None and False stand for what was not given.
    """
    if given["within"] and (beside := [f"--{name.replace('_', '-')}" for name in COMPARED if given[name]]):
        raise ValueError(f"--within: expected no {' or '.join(beside)} beside it, as it looks inside one folder alone")
    if not given["within"] and not (given["generated"] and given["training"]):
        raise ValueError("expected --generated FOLDER and --training FOLDER, or --within FOLDER")
    if (limit := given["fail_above"]) is not None and (limit < 0 or given["shard"]):
        told = "no --shard beside it, as a part counts nothing" if given["shard"] else f"0 or more, got {limit}"
        raise ValueError(f"--fail-above: expected {told}")
    if given["keep"] and os.path.lexists(given["keep"]) and not Path(given["keep"]).is_dir():
        raise ValueError(f"--keep: expected a folder, got {given['keep']}")
    if given["shard"] and not given["keep"]:
        raise ValueError("--shard: expected --keep FOLDER, which a part is put into")
    if not given["shard"]:
        _check_place(given["output"])


def check_used(setting: str, section: str, field: str, within: bool = False) -> None:
    """Raises ValueError, by the name `setting`, where an audit makes no use of this field of a section."""
    used = USED_WITHIN if within else USED
    if field not in used.get(section, ()):
        names = ", ".join(name for some in used.values() for name in some)
        raise ValueError(f"{setting}: this audit makes no use of it; expected one of {names}")


def _check_place(table: Path) -> None:
    """Tries whether a table and what goes beside it could be written: else that were told after the work."""
    if table.is_dir() or not table.parent.is_dir():
        raise ValueError(f"--output: expected a file in a folder that exists, got {table}")
    check_place(table, "table", "audit.csv", (f"{path.name}.part" for path in files.beside(table)))
    if table.suffix == ".html":
        raise ValueError(f"--output: expected a name for the table, as audit.csv, got {table}, which is its page's")
    if folders := [path for path in files.beside(table) if path.is_dir()]:
        raise ValueError(f"--output: expected files or nothing where its files go, got a folder {folders[0]}")
    try:
        with tempfile.TemporaryFile(dir=table.parent):
            pass
    except OSError as error:
        raise ValueError(
            f"--output: expected a folder that can be written to, got {table.parent} ({error.strerror})"
        ) from error
