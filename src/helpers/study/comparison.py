"""A study computed anew beside the published one: whether each rate lies within the interval that was published."""

from collections.abc import Iterable
from dataclasses import dataclass
from fnmatch import fnmatch
from pathlib import Path

import pandas as pd

from helpers.base.hashing import damage
from helpers.base.paths import shown
from helpers.study import store
from helpers.study.entries import difference, folder_of, key_of, read_entries
from helpers.study.manifest import MANIFEST, read_manifest
from helpers.study.stage import Stage

# The columns that tell a table's rows apart (rows of two runs of the study that agree in them are the same row), and its
# rates with the ends of their intervals.
RUN = ("training_set", "n_train", "draw")
AREA, SHARE = ("auroc", "auroc_low", "auroc_high"), ("own_near_exact_rate", "own_near_exact_low", "own_near_exact_high")
TABLES = {
    "replication.csv": ((*RUN, "arm", "detector", "null", "fpr"), ("flagged_rate", "ci_low", "ci_high"),
                        ("near_exact_rate", "near_exact_low", "near_exact_high")),
    "quality.csv": ((*RUN, "arm", "embedding"), ("kid", "kid_low", "kid_high")),
    "alterations.csv": (("detector", "transform", "strength", "split"), AREA),
    "detection.csv": (("detector", "n_train", "negatives", "bias", "transform"), AREA),
    "dose.csv": (("copies", "kind", "caption_kind"), ("rate", "ci_low", "ci_high"), ("flagged_rate", "flagged_low", "flagged_high")),
    "dose_shares.csv": (("caption_kind", "copies", "updates"), SHARE),
}  # fmt: skip


@dataclass(frozen=True)
class Comparison:
    """A study computed here beside the published one.

    `counts`: table, rate, rows (that have a published interval), inside (it). `outside`: table, rate, row (what tells
    it apart), published, low, high, ours. `notes`: what could not be compared, and stages that differ.
    """

    counts: pd.DataFrame
    outside: pd.DataFrame
    notes: list[str]


def compare(stages: Iterable[Stage], folder: Path, root: Path | None = None) -> Comparison:
    """Whether each rate of `TABLES` computed here lies in the interval that the published table gives it.

    Raises FileNotFoundError for a table that is not there, or of a stage that was restored or not computed; ValueError
    for a damaged published table, one without the columns of its key, or rows that these do not tell apart.
    """
    root, folder, entries = root or store.runs_root(), Path(folder), read_entries(folder)
    stages, counts, outside, notes = list(stages), [], [], []
    if not entries:
        raise FileNotFoundError(f"{shown(folder / MANIFEST)}: expected a published study, found none")
    for table, (_, *rates) in TABLES.items():
        having = [stage for stage in stages if table in entries.get(key_of(stage), {"files": {}})["files"]]
        if not having:
            if any(fnmatch(table, pattern) for stage in stages for pattern in stage.published):
                notes.append(f"{table}: not part of the published study")
            continue
        rows = pd.concat([_of_stage(stage, table, folder, root, entries, notes) for stage in having], ignore_index=True)
        if lost := int((rows["_merge"] != "both").sum()):
            notes.append(f"{table}: {lost} of {len(rows)} published rows have no counterpart here")
        for names in rates:
            if {*names, f"{names[0]}_ours"} <= set(rows.columns):
                about, (count, beyond, undefined) = {"table": table, "rate": names[0]}, _judge(rows, *names)
                counts.append(about | count)
                outside += [about | row for row in beyond]
                if undefined:
                    notes.append(f"{table}: {undefined} published values of {names[0]} are undefined here")
            else:
                notes.append(f"{table}: {names[0]} is not in both, with its interval")
    columns = ["table", "rate", "row", "published", "low", "high", "ours"]
    return Comparison(pd.DataFrame(counts), pd.DataFrame(outside, columns=columns), notes)


def _of_stage(stage: Stage, table: str, folder: Path, root: Path, entries: dict, notes: list[str]) -> pd.DataFrame:
    """`_match_rows` of one stage's table; `notes` gets what differs between the stages."""
    key, manifest = key_of(stage), read_manifest(stage, root)
    if not manifest or manifest.get("restored"):
        found = "restored from the published study" if manifest else "not computed"
        raise FileNotFoundError(f"{table}: expected {stage.title} to be computed here, found it {found}")
    if line := difference(stage, folder):
        notes.append(line)
    place = folder_of(folder, key)
    if line := damage(place, {table: entries[key]["files"][table]}):
        raise ValueError(line)
    keys = [name for name in TABLES[table][0] if not (stage.label and name in RUN)]
    rows = _match_rows(table, keys, *(pd.read_csv(where / table) for where in (place, stage.folder(root))))
    return rows.assign(row=(f"{stage.label} " + rows["row"]).str.strip())


def _match_rows(table: str, keys: list[str], published: pd.DataFrame, ours: pd.DataFrame) -> pd.DataFrame:
    """Each published row with ours beside it: columns of the same name end in _ours; `row` is what tells it apart."""
    for rows in (published, ours):
        if missing := [key for key in keys if key not in rows.columns]:
            raise ValueError(f"{table}: expected columns {', '.join(keys)}, got none called {missing[0]}")
        if rows.duplicated(keys).any():
            raise ValueError(f"{table}: expected rows that differ in {', '.join(keys)}, got equal ones")
    rows = published.merge(ours, on=keys, how="left", suffixes=("", "_ours"), indicator=True)
    telling = [key for key in keys if rows[key].nunique() > 1]
    return rows.assign(row=[" ".join(f"{k}={row[k]}" for k in telling) for row in rows[telling].to_dict("records")])


def _judge(rows: pd.DataFrame, rate: str, low: str, high: str) -> tuple[dict, list[dict], int]:
    """How many rows have an interval and a value here, and how many lie inside; those outside; how many have no value here."""
    rows = rows[(rows["_merge"] == "both") & rows[low].notna() & rows[high].notna()]
    undefined = rows[f"{rate}_ours"].isna()
    rows = rows[~undefined]
    inside = rows[f"{rate}_ours"].between(rows[low] - 1e-9, rows[high] + 1e-9)  # a bound itself, as text keeps it
    out = rows.loc[~inside, ["row", rate, low, high, f"{rate}_ours"]].set_axis(
        ["row", "published", "low", "high", "ours"], axis=1
    )
    return {"rows": len(rows), "inside": int(inside.sum())}, out.to_dict("records"), int(undefined.sum())
