"""The golden test of every stage: what it computes from the tiny profile must not change unless its version is raised.

`UPDATE_GOLDEN=1 make test PYTEST_ARGS=tests/test_golden.py` stores new values; do that only together with a raised
version in `graph.VERSIONS` (or for a change of frozen weights or of the sound pack, which enter every digest).
"""

import json
import os
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from safetensors.numpy import load_file

from helpers.base.settings import load_profile
from helpers.study import registry, store

GOLDEN = Path(__file__).with_name("golden.json")
SKIPPED_COLUMNS = {"seconds"}  # wall time
TOLERANCE = 0.02  # relative: CPUs differ in the last digits, and training carries them on


def summarise(folder: Path) -> dict[str, list[float]]:
    """A few numbers a file: shape, mean, spread and a weighted sum that notices order; columns one by one for tables."""
    found = {}
    for path in sorted(folder.rglob("*")):
        name = path.relative_to(folder).as_posix()
        if path.suffix == ".npy":
            found[name] = _numbers(np.load(path))
        elif path.suffix == ".npz":
            with np.load(path) as arrays:
                found |= {f"{name}:{key}": _numbers(arrays[key]) for key in sorted(arrays)}
        elif path.suffix == ".safetensors":
            weights = load_file(path)
            found[name] = [
                float(len(weights)),
                float(sum(np.square(w, dtype=np.float64).sum() for w in weights.values())),
            ]
        elif path.suffix in (".csv", ".parquet"):
            table = pd.read_csv(path) if path.suffix == ".csv" else pd.read_parquet(path)
            found[name] = [float(len(table))]
            for column in table.select_dtypes("number").columns.difference(SKIPPED_COLUMNS):
                found[f"{name}:{column}"] = _numbers(table[column].to_numpy(float))
    return found


def _numbers(values: np.ndarray) -> list[float]:
    values = values.astype(np.float64)
    values = values[np.isfinite(values)] if values.ndim == 1 else values
    if not values.size:
        return [0.0]
    flat = values.ravel()
    order = (flat * np.linspace(0.5, 1.5, flat.size)).mean()
    return [float(flat.size), float(flat.mean()), float(flat.std()), float(order)]


@pytest.mark.parametrize("name", registry.NAMES)
def test_stage_output_is_unchanged(name):
    results = [store.load_or_run(stage) for stage in registry.build(name, load_profile("tiny"))]
    now = {"version": results[0].manifest["version"], "values": [summarise(result.path) for result in results]}
    assert all(now["values"]), "nothing to compare"
    stored = json.loads(GOLDEN.read_text()) if GOLDEN.is_file() else {}
    if os.environ.get("UPDATE_GOLDEN"):
        GOLDEN.write_text(json.dumps({**stored, name: now}, indent=1, sort_keys=True) + "\n")
        return
    assert name in stored, f"no golden values of {name}: run with UPDATE_GOLDEN=1"
    assert now["version"] == stored[name]["version"], (
        f"{name}: version raised, so store its new values (UPDATE_GOLDEN=1)"
    )
    for before, after in zip(stored[name]["values"], now["values"], strict=True):
        assert before.keys() == after.keys()
        for key, numbers in before.items():
            scale = max(map(abs, numbers[1:]), default=1.0)
            assert after[key] == pytest.approx(numbers, rel=TOLERANCE, abs=TOLERANCE * scale), (
                f"{name}: {key} changed; if that is meant, raise its version in graph.VERSIONS and store new values"
            )
