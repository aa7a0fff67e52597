"""The golden test of every stage: what it computes from the tiny profile must not change unless its version is raised.

Where nothing trained lies upstream of a stage, text, booleans and whole numbers are compared exactly and other numbers to
EXACT, or to what NETWORKS says. Behind training, where rounding grows from update to update, numbers are compared to
TRAINED. There a decision may turn with the last digit of a score, so how often each value of a column of DECIDED comes is
compared; all other text stays exact. How decisions follow from scores is compared exactly, on the synthetic scores of
`synthetic_scores.py`.

`UPDATE_GOLDEN=1 make test PYTEST_ARGS=tests/test_golden.py` stores new values; do that only together with a raised
version in `study/graph.py` (or for a change of frozen weights or of the sound pack, which enter every digest).
"""

import dataclasses
import os

import pandas as pd
import pytest
import synthetic_results
import synthetic_scores
from golden_values import STAGES, SYNTHETIC, differences, read_golden, store_golden, summarise_folder, summarise_table
from pooled import load_pooled

from helpers.sound.profiles import load_profile
from helpers.study import registry, store
from helpers.study.stage import Stage

EXACT, TRAINED = 1e-6, 0.02  # relative
# Frozen networks give the same with one thread as with two, but other processors have other matrix kernels. With those for
# AVX2 or SSE4.1 in place of AVX-512 the extremes of log-mel errors after the vocoder moved by 1.5e-4, of CLAP's embeddings by
# 5e-5, of latents by 1.1e-6, the spread of other sound after the vocoder by 1.4e-6; all else without training by less than
# 4e-7. (Twins, controls and detection were tried with AVX2 only.)
NETWORKS = {"roundtrip": 1e-3, "references": 1e-3, "encoding": 1e-5, "twins": 1e-5, "controls": 1e-5}
# Behind training: columns that follow from scores, and the share of their rows that may turn with a score's last digits.
TURNING = 0.1
DECIDED = {"claims.csv:why": 1.0} | dict.fromkeys(  # the reasons print measured numbers
    (
        *("*:ref_id", "*:near_exact", "*:own_top1", "*:cluster", "*:flagged*", "*:chosen", "*:silent", "*:clipped"),
        *("*:n_generated", "*:n_silent", "*:n_compared", "*n_defined", "*:n", "*:replicated", "*:note", "*:verdict"),
        *("gallery.csv:[!s]*",),  # clips chosen by rank; the slots are fixed
    ),
    TURNING,
)


def ancestors(stage: Stage) -> set[str]:
    """The names of the stages that a stage is made from, by whatever way, and its own."""
    return {stage.name}.union(*map(ancestors, stage.upstream.values()))


@pytest.mark.parametrize("name", registry.NAMES)
def test_stage_output_is_unchanged(name):
    changed, copies = dataclasses.replace(load_pooled(), intervention="nothing"), load_pooled("copies")
    profiles = (load_profile("tiny"), load_pooled(), changed, copies)
    stages = next(filter(None, (registry.build(name, profile) for profile in profiles)))
    results = [store.load_or_run(stage) for stage in stages]
    now = {"version": results[0].manifest["version"], "values": [summarise_folder(result.path) for result in results]}
    assert all(now["values"]), "nothing to compare"
    if os.environ.get("UPDATE_GOLDEN"):
        store_golden(STAGES, name, now)
    stored = read_golden(STAGES)
    assert name in stored, f"no golden values of {name}: run with UPDATE_GOLDEN=1"
    assert now["version"] == stored[name]["version"], (
        f"{name}: version raised, so store its new values (UPDATE_GOLDEN=1)"
    )
    for stage, before, after in zip(stages, stored[name]["values"], now["values"], strict=True):
        tolerances = (TRAINED, DECIDED) if "training" in ancestors(stage) else (NETWORKS.get(name, EXACT), {})
        assert differences(before, after, *tolerances) == [], (
            f"{stage.title} changed; if that is meant, raise its version in study/graph.py and store new values"
        )


@pytest.mark.parametrize("name", synthetic_results.CHECKS)
def test_decisions_from_synthetic_scores_are_unchanged(name, decided):
    if os.environ.get("UPDATE_GOLDEN"):
        store_golden(SYNTHETIC, name, decided.summaries[name])
    stored = read_golden(SYNTHETIC)
    assert name in stored, f"no golden values of {name}: run with UPDATE_GOLDEN=1"
    assert differences(stored[name], decided.summaries[name], EXACT) == []


def test_synthetic_scores_are_what_their_script_makes(tmp_path):
    synthetic_scores.write_all(tmp_path)
    names = {path.name for path in synthetic_scores.FOLDER.iterdir()} - {"decisions.yml"}
    assert names == {path.name for path in tmp_path.iterdir()}
    for name in names:
        read = pd.read_csv if name.endswith(".csv") else pd.read_parquet
        committed, made = read(synthetic_scores.FOLDER / name), read(tmp_path / name)
        pd.testing.assert_frame_equal(committed, made, rtol=1e-6, atol=0)


@pytest.mark.parametrize(
    ("name", "column", "change"),
    [
        ("thresholds/decisions.parquet", "near_exact", lambda column: ~column),
        ("thresholds/decisions.parquet", "ref_id", lambda column: "train_00000"),
        ("thresholds/decisions.parquet", "query_id", lambda column: column.shift(fill_value="gen")),
        ("thresholds/replication.csv", "null", lambda column: "twins"),
        ("findings/claims.csv", "verdict", lambda column: "fails"),
    ],
)
def test_what_stands_in_a_table_is_seen_behind_training_too(name, column, change, decided):
    path = decided.folder / name
    table = pd.read_csv(path) if path.suffix == ".csv" else pd.read_parquet(path)
    before, after = (
        summarise_table(path.name, each) for each in (table, table.assign(**{column: change(table[column])}))
    )
    assert len(differences(before, after, TRAINED, DECIDED)) == 1
    assert differences(before, before, 0.0) == []


def test_a_decision_that_turns_behind_training_is_no_difference_but_elsewhere_it_is():
    before = summarise_table("t", pd.DataFrame({"near_exact": [True, False] * 10}))
    after = summarise_table("t", pd.DataFrame({"near_exact": [False, False] + [True, False] * 9}))
    assert differences(before, after, TRAINED, DECIDED) == []
    assert len(differences(before, after, EXACT)) == 1


def test_numbers_are_compared_to_their_tolerance_and_by_place():
    values = pd.DataFrame({"score": [0.1, 0.2, 0.3, None]})
    before = summarise_table("t", values)
    for change in (values + 2e-6, values[::-1], values.fillna(0.0), values.mul([-1, 1, 1, 1], axis=0)):
        assert len(differences(before, summarise_table("t", change), EXACT)) == 1
    assert differences(before, summarise_table("t", values + 1e-8), EXACT) == []
    assert differences(before, summarise_table("t", values.assign(more=1)), EXACT) != []
