"""A study computed anew beside the published one: what lies outside its intervals is counted and named."""

import dataclasses
import os
import shutil
import subprocess

import pandas as pd
import pytest

from helpers.study.comparison import TABLES, compare
from helpers.study.publication import publish, restore
from helpers.study.stage import Stage
from helpers.study.store import load_or_run

pytestmark = pytest.mark.usefixtures("committed")


def table_stage(name, file, table, published_too=()):
    def compute(folder, upstream):
        table.to_csv(folder / file, index=False)

    return Stage(name, {}, compute, published=(file, *published_too))


def tables(rate, auroc, flagged=2, strengths=(0.1, 0.2), beta=0.5, near=(0.0, 0.5)):
    replication = pd.DataFrame(
        {"training_set": "main", "n_train": [100, 500], "draw": 0, "arm": "main", "detector": "mel", "null": "twins",
         "fpr": 0.05, "beta": beta, "flagged": flagged, "n_defined": flagged, "n_generated": flagged + 5,
         "flagged_rate": [rate, None], "ci_low": [0.1, None], "ci_high": [0.3, None], "near_exact_rate": near,
         "near_exact_low": [0.0, 0.4], "near_exact_high": [0.1, 0.6]}
    )  # fmt: skip
    detection = pd.DataFrame(
        {
            "detector": "mel",
            "transform": "noise",
            "strength": strengths,
            "split": "test",
            "auroc": [auroc, 0.5],
            "auroc_low": 0.4,
            "auroc_high": 0.6,
        }
    )
    return [
        table_stage("thresholds", "replication.csv", replication),
        table_stage("alterations", "alterations.csv", detection),
    ]


def test_comparison_counts_and_names_what_lies_outside(tmp_path):
    folder, first, second = tmp_path / "results", tmp_path / "first", tmp_path / "second"
    for stages, root in ((tables(0.2, 0.5), first), (tables(0.3, 0.9, flagged=4, beta=0.7), second)):  # chosen anew
        for stage in stages:
            load_or_run(stage, root)
    publish(tables(0.2, 0.5), folder, first)
    found = compare(tables(0.3, 0.9), folder, second)
    assert found.counts.to_dict("records") == [
        {"table": "replication.csv", "rate": "flagged_rate", "rows": 1, "inside": 1},
        {"table": "replication.csv", "rate": "near_exact_rate", "rows": 2, "inside": 2},
        {"table": "alterations.csv", "rate": "auroc", "rows": 2, "inside": 1},
    ]
    (outside,) = found.outside.to_dict("records")
    assert outside == {
        "table": "alterations.csv", "rate": "auroc", "row": "strength=0.1",
        "published": 0.5, "low": 0.4, "high": 0.6, "ours": 0.9,
    }  # fmt: skip
    assert found.notes == []
    lacking = [*tables(0.3, 0.9), table_stage("detection", "detection.csv", pd.DataFrame())]
    assert compare(lacking, folder, second).notes == ["detection.csv: not part of the published study"]


def test_tables_of_which_each_run_has_its_own_are_compared_together(tmp_path):
    folder, first, second = tmp_path / "results", tmp_path / "first", tmp_path / "second"

    def runs(*kids):
        rows = [{"arm": "main", "embedding": "clap", "kid": kid, "kid_low": 0.1, "kid_high": 0.2} for kid in kids]
        return [
            dataclasses.replace(
                table_stage("quality", "quality.csv", pd.DataFrame([row])), label=f"n500_d{d}", config={"draw": d}
            )
            for d, row in enumerate(rows)
        ]

    for stages, root in ((runs(0.15, 0.16), first), (runs(0.12, 0.3), second)):
        for stage in stages:
            load_or_run(stage, root)
    publish(runs(0.15, 0.16), folder, first)
    found = compare(runs(0.12, 0.3), folder, second)
    assert found.counts.to_dict("records") == [{"table": "quality.csv", "rate": "kid", "rows": 2, "inside": 1}]
    assert found.outside[["row", "ours"]].to_numpy().tolist() == [["n500_d1", 0.3]]


def test_a_rate_that_is_undefined_here_is_neither_inside_nor_outside(tmp_path):
    folder, first, second = tmp_path / "results", tmp_path / "first", tmp_path / "second"
    for stages, root in ((tables(0.2, 0.5), first), (tables(0.2, 0.5, near=(0.0, None)), second)):
        for stage in stages:
            load_or_run(stage, root)
    publish(tables(0.2, 0.5), folder, first)
    found = compare(tables(0.2, 0.5), folder, second)
    near = found.counts.set_index("rate").loc["near_exact_rate"]
    assert (near["rows"], near["inside"]) == (1, 1) and found.outside.empty
    assert "replication.csv: 1 published values of near_exact_rate are undefined here" in found.notes


def test_comparison_wants_results_that_were_computed_here(tmp_path):
    folder, root = tmp_path / "results", tmp_path / "runs"
    stages = tables(0.2, 0.5)
    with pytest.raises(FileNotFoundError, match="manifest.json: expected a published study, found none"):
        compare(stages, folder, root)
    for stage in stages:
        load_or_run(stage, root)
    publish(stages, folder, root)
    shutil.rmtree(root)
    with pytest.raises(FileNotFoundError, match="expected thresholds to be computed here, found it not computed"):
        compare(stages, folder, root)
    restore(stages[0], folder, root)
    with pytest.raises(FileNotFoundError, match="thresholds to be computed here, found it restored from the published"):
        compare(stages, folder, root)


def test_rows_without_a_counterpart_and_rows_alike_are_told(tmp_path):
    folder, first, second = tmp_path / "results", tmp_path / "first", tmp_path / "second"
    for stages, root in ((tables(0.2, 0.5), first), (tables(0.2, 0.5, strengths=(0.1, 0.3)), second)):
        for stage in stages:
            load_or_run(stage, root)
    publish(tables(0.2, 0.5), folder, first)
    notes = compare(tables(0.2, 0.5), folder, second).notes
    assert "alterations.csv: 1 of 2 published rows have no counterpart here" in notes
    alike = tables(0.2, 0.5, strengths=(0.1, 0.1))[1]
    load_or_run(alike, tmp_path / "third")
    publish([alike], folder, tmp_path / "third")
    with pytest.raises(
        ValueError,
        match="alterations.csv: expected rows that differ in detector, transform, strength, split, got equal ones",
    ):
        compare([alike], folder, tmp_path / "third")
    bare = table_stage("alterations", "alterations.csv", pd.DataFrame({"detector": ["mel"], "auroc": 0.5}))
    load_or_run(bare, tmp_path / "fourth")
    publish([bare], folder, tmp_path / "fourth")
    with pytest.raises(
        ValueError, match="alterations.csv: expected columns detector, transform, .*, got none called transform"
    ):
        compare([bare], folder, tmp_path / "fourth")


def test_a_damaged_published_table_is_compared_with_nothing(tmp_path):
    folder, root = tmp_path / "results", tmp_path / "runs"
    stages = tables(0.2, 0.5)
    for stage in stages:
        load_or_run(stage, root)
    publish(stages, folder, root)
    path = folder / "replication.csv"
    path.write_text(path.read_text().replace("0.6", "0.7"))
    with pytest.raises(ValueError, match="replication.csv: expected sha256"):
        compare(stages, folder, root)


def test_every_table_that_is_compared_has_its_keys():
    for keys, *rates in TABLES.values():
        assert not set(keys) & {name for names in rates for name in names}


@pytest.mark.skipif(not shutil.which("make"), reason="make is not installed")
def test_reproduce_computes_all_of_pocket_and_compares(repository):
    environment = {**os.environ, "PROFILE": "smoke"}  # as a shell that is used for the smoke profile has it
    done = subprocess.run(
        ["make", "--no-print-directory", "-n", "reproduce"],
        capture_output=True,
        text=True,
        cwd=repository,
        env=environment,
        check=True,
    )
    *_, run, compared = done.stdout.strip().splitlines()
    assert run.startswith("HELPERS_COMPUTE=all ") and "profile=pocket" in run and "--forceall" in run
    assert compared.endswith("-m helpers compare --profile pocket")
    planned = subprocess.run(f"{run} --dry-run", shell=True, capture_output=True, text=True, cwd=repository)
    assert planned.returncode == 0, planned.stderr
