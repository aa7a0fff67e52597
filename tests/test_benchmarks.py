"""Benchmarks run, at a toy size; how fast anything is, no test says."""

import importlib
import os
import subprocess
import sys

import pandas as pd
import pytest

from helpers.base.paths import ROOT

FOLDER = ROOT / "benchmarks"
COLUMNS = ["benchmark", "ours_s", "peer", "peer_s", "ratio", "n_runs", "detail", "versions", "cpu"]


@pytest.mark.parametrize(
    "command", ["search.py --n 60", "log_mel.py --n 6", "corpus.py --n 6", "mira.py --n 10 --rows 1"]
)
def test_a_benchmark_writes_its_rows(command, tmp_path):
    script, *arguments = command.split()
    command = [sys.executable, FOLDER / script, *arguments, "--runs", "1", "--out", tmp_path / "results.csv"]
    environment = {**os.environ, "HELPERS_RUNS": str(tmp_path)}
    for _ in range(2):  # the second time its rows are replaced
        subprocess.run(command, check=True, env=environment, capture_output=True)
    table = pd.read_csv(tmp_path / "results.csv")
    assert table.columns.tolist() == COLUMNS
    timed = table.dropna(subset=["peer"])
    assert len(timed) and (timed["ratio"] / (timed["peer_s"] / timed["ours_s"])).between(0.99, 1.01).all()
    assert not table.duplicated(["benchmark", "peer"]).any()
    assert "| Benchmark " in (tmp_path / "results.md").read_text()


def test_the_published_table_holds_what_was_measured():
    published = pd.read_csv(FOLDER / "results.csv")
    assert published.columns.tolist() == COLUMNS
    named = " ".join(published["benchmark"])
    for words in (
        "exact search",
        "shift-aligned",
        "log-mel",
        "training step",
        "generation",
        "corpus",
        "CLAP",
        "memory",
    ):
        assert words in named, words
    assert str(ROOT) not in (FOLDER / "results.csv").read_text()


@pytest.fixture
def audit_benchmark(monkeypatch):
    for folder in (FOLDER, ROOT / "tools"):
        monkeypatch.syspath_prepend(str(folder))
    for name in ("audit", "recordings", "timing"):
        monkeypatch.delitem(sys.modules, name, raising=False)
    return importlib.import_module("audit")


def test_right_is_flagged_beside_the_true_source_and_intervals_are_paired(audit_benchmark):
    """Of 40 exact copies ours finds all but one beside the true source, Chromaprint half; of unrelated clips, one is flagged."""
    rows = []
    for i in range(40):
        copy, source = f"00_of_{i:05d}.wav", f"{i:05d}.wav"
        rows.append(("generated", copy, "combined", source if i else "other.wav", 0.01))
        rows.append(("generated", copy, "Chromaprint", source, 0.01 if i % 2 else 0.5))
        for detector in ("combined", "Chromaprint"):
            rows.append(("generated", f"00_by_{i:05d}.wav", detector, "x.wav", 0.03 if i == 7 else 0.9))
        rows.append(("honest", f"{i}.wav", "combined", "x.wav", 0.5))
    table = pd.DataFrame(rows, columns=["kind", "clip", "detector", "nearest", "p"])
    made = (
        audit_benchmark.shares(audit_benchmark.judged(table), "short")
        .set_index(["kind", "fpr", "detector"])
        .sort_index()
    )
    assert made.loc[("exact", 0.05, "combined"), ["n", "percent"]].tolist() == [40, 97.5]
    ours = made.loc[("exact", 0.05, "combined"), ["over_chromaprint", "over_low", "over_high"]].tolist()
    assert ours[0] == 47.5 and 30 < ours[1] < 40 and 55 < ours[2] < 66
    alarms = made.loc[("unrelated", 0.05)]
    assert (alarms["percent"] == 2.5).all() and (alarms["over_high"] == 0).all()
    assert (made.loc[("unrelated", 0.01)]["percent"] == 0).all()
