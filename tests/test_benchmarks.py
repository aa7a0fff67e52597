"""Benchmarks run, at a toy size; how fast anything is, no test says."""

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
