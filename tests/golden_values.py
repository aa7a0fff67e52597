"""What a golden test stores of a result, and how what is stored is compared with what is computed now.

A column of text, booleans or whole numbers is stored as a digest of all its values, so it is compared exactly. One of other
numbers, and an array, is stored as a few sums that notice a changed value, a changed order and a missing one.
"""

import hashlib
import json
import re
from collections import Counter
from fnmatch import fnmatch
from pathlib import Path

import numpy as np
import pandas as pd
from safetensors.numpy import load_file

STAGES, SYNTHETIC = (Path(__file__).with_name(f"{name}.json") for name in ("golden", "golden_synthetic"))
SKIPPED_FILES = {"manifest.json", "summary.json"}  # both tell of the machine and the commit
SKIPPED_COLUMNS = {"seconds", "seconds_a_clip"}  # wall time
MOST_COUNTED = 40  # different values up to which their counts are stored beside the digest
INNERMOST = re.compile(r"[\[{]\n[^\[\]{}]*\n *[\]}]")  # written on one line
FLOAT = re.compile(r"-?\d+\.\d+(?:e[-+]?\d+)?")


def read_golden(path: Path) -> dict:
    """The stored values: of STAGES by stage, of SYNTHETIC by check."""
    return json.loads(path.read_text()) if path.is_file() else {}


def store_golden(path: Path, name: str, values: dict) -> None:
    """Stores the values of one stage or check beside those of the others."""
    text = json.dumps(read_golden(path) | {name: values}, indent=1, sort_keys=True, ensure_ascii=False)
    path.write_text(INNERMOST.sub(lambda match: re.sub(r"\n *", " ", match[0]), text) + "\n")


def summarise_folder(folder: Path) -> dict[str, dict]:
    """The summary of every file of a finished stage, by the file's name, with the column's in tables."""
    found = {}
    for path in sorted(path for path in folder.rglob("*") if path.is_file() and path.name not in SKIPPED_FILES):
        name = path.relative_to(folder).as_posix()
        if path.suffix == ".npy":
            found[name] = summarise(np.load(path))
        elif path.suffix == ".npz":
            with np.load(path) as arrays:
                found |= {f"{name}:{key}": summarise(arrays[key]) for key in sorted(arrays)}
        elif path.suffix == ".safetensors":
            squares = [np.square(weights, dtype=np.float64).sum() for weights in load_file(path).values()]
            found[name] = summarise(np.array([len(squares), sum(squares)]))
        elif path.suffix in (".csv", ".parquet"):
            found |= summarise_table(name, pd.read_csv(path) if path.suffix == ".csv" else pd.read_parquet(path))
        else:
            found[name] = {}  # that it is there
    return found


def summarise_table(name: str, table: pd.DataFrame) -> dict[str, dict]:
    """The number of rows and the names of the columns, and the summary of each column.

    A table in falling order of score is taken in the order of its other columns: which of two equal scores comes first is
    rounding, and other processors round otherwise (pairs of recordings that are one another's copies).
    """
    if "score" in table and len(table) and table["score"].is_monotonic_decreasing:
        table = table.sort_values([name for name in table if table[name].dtype.kind != "f"], kind="stable")
    kept = [column for column in table if column not in SKIPPED_COLUMNS]
    found = {name: {"rows": len(table), "columns": kept}}
    for column in kept:
        values = table[column].to_numpy()
        found[f"{name}:{column}"] = summarise(values.astype(object) if values.dtype.kind in "iu" else values)
    return found


def summarise(values: np.ndarray) -> dict:
    """An array's summary: `sums` of numbers (whole ones too: samples of audio), else `sha256` and perhaps `counts`."""
    if values.dtype.kind in "fiu":
        return _sums(values.astype(np.float64).ravel(), extremes=values.dtype.kind == "f")
    texts = [_text(value) for value in values.ravel().tolist()]
    counts = dict(sorted(Counter(texts).items()))
    found = {"rows": len(texts), "sha256": hashlib.sha256(json.dumps(texts).encode()).hexdigest()[:16]}
    return found | ({"counts": counts} if len(counts) <= MOST_COUNTED else {})


def _sums(values: np.ndarray, extremes: bool) -> dict:
    """How many numbers, how many are finite, and of these mean, spread, a mean that notices their order, and extremes.

    Sound in 16 bits goes without extremes: where one is rounded otherwise, it moves by a whole step, which is 4e-5 of it.
    """
    finite = np.isfinite(values)
    weights, kept = np.linspace(0.5, 1.5, values.size)[finite], values[finite]
    sums = [kept.mean(), kept.std(), (kept * weights).mean()] if kept.size else []
    if extremes and kept.size:
        sums += [kept.min(), kept.max()]
    return {"n": values.size, "finite": int(finite.sum()), "sums": [float(value) for value in sums]}


def _text(value) -> str:
    """A value as text. Numbers with a point in it, as in a recipe, to six digits: the last ones are the libraries'."""
    if isinstance(value, (list, tuple, np.ndarray)):
        return json.dumps([_text(item) for item in value])
    if value is None or value is pd.NA or isinstance(value, float) and np.isnan(value):
        return "missing"
    return FLOAT.sub(lambda match: f"{float(match[0]):.6g}", str(value))


def differences(before: dict, after: dict, tolerance: float, decided: dict[str, float] | None = None) -> list[str]:
    """What changed between two summaries, one line each; none where they agree.

    Numbers may differ by `tolerance`, relative to the greatest of their sums. `decided` gives, by patterns of names, the
    share of rows (and one row) whose value may be another than before; the first pattern that fits counts.
    """
    lines = [f"{name}: {'gone' if name in before else 'new'}" for name in sorted(before.keys() ^ after.keys())]
    for name in sorted(before.keys() & after.keys()):
        old, new = before[name], after[name]
        share = next((share for pattern, share in (decided or {}).items() if fnmatch(name, pattern)), 0.0)
        if not (_close(old, new, tolerance) or share and _turned(old, new) <= share):
            lines.append(f"{name}: expected {_brief(old)}, got {_brief(new)}")
    return lines


def _close(old: dict, new: dict, tolerance: float) -> bool:
    if old == new or "sums" not in old or "sums" not in new:
        return old == new
    room = tolerance * max(map(abs, old["sums"]), default=0.0)
    return (old["n"], old["finite"]) == (new["n"], new["finite"]) and np.allclose(
        new["sums"], old["sums"], rtol=0, atol=room
    )


def _turned(old: dict, new: dict) -> float:
    """The share of rows, beyond a single one, that must have another value; infinite where that cannot be told."""
    if "counts" not in old or "counts" not in new or old["rows"] != new["rows"]:
        return np.inf
    moved = Counter(new["counts"]) - Counter(old["counts"])
    return (moved.total() - 1) / old["rows"]


def _brief(summary: dict) -> str:
    text = json.dumps(summary)
    return text if len(text) < 300 else f"{text[:300]} ..."
