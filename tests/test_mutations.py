"""Do the tests of results see a changed rule? Each mutation turns one comparison, sign, index or order in the source round.

A check of `synthetic_results` is then computed with the changed module in place, and must differ from its golden values. A
mutation whose text is no longer in the source fails: it is to be written anew for the code as it is.
"""

import contextlib
import importlib
import importlib.util
import sys
import warnings
from pathlib import Path

import pytest
import synthetic_results
from golden_values import SYNTHETIC, differences, read_golden

MUTATIONS = {  # module and the check that is to see them: text, and what stands in its place
    ("copies.calibration", "decisions"): [
        ("dtype=np.float64) >= tau", "dtype=np.float64) > tau"),
        ("dtype=np.float64) >= tau", "dtype=np.float64) <= tau"),
        ("quantile = scores[len(scores) - above]", "quantile = scores[len(scores) - above - 1]"),
        ("quantile = scores[len(scores) - above]", "quantile = scores[above]"),
        ("(n + 1) * Fraction", "n * Fraction"),
        ("return math.floor((n + 1)", "return math.ceil((n + 1)"),
        ("tau if tau > quantile else", "tau if tau >= quantile else"),
        ("np.nextafter(tau, np.float32(np.inf))", "np.nextafter(tau, np.float32(-np.inf))"),
        ("np.argmax((target - filled) / target)", "np.argmin((target - filled) / target)"),
        ("np.repeat([1, 0], [len(positive)", "np.repeat([0, 1], [len(positive)"),
        ("table.auroc >= table.auroc.max() - 1e-9", "table.auroc <= table.auroc.min() + 1e-9"),
    ],
    ("copies.bias", "nearest"): [
        ("dtype=np.float64) - shift", "dtype=np.float64) + shift"),
        ("(features - mean)", "(features + mean)"),
    ],
    ("copies.bias", "decisions"): [
        ("background_scores[:, :k].mean", "background_scores[:, : k - 1].mean"),
        ("background_scores[:, :k].mean", "background_scores[:, -k:].mean"),
        ("np.diff(background_scores, axis=1) <= 0", "np.diff(background_scores, axis=1) < 0"),
    ],
    ("copies.replication", "decisions"): [
        ("BooleanArray(p >= theta", "BooleanArray(p > theta"),
        ("BooleanArray(p >= theta", "BooleanArray(p < theta"),
        ("np.isnan(p))", "np.zeros(p.shape, bool))"),  # an undefined position stays in the denominator, as no copy
        ("dtype=np.float64) - median_twin\n    above", "dtype=np.float64) + median_twin\n    above"),
        ("where=span >= min_span", "where=span < min_span"),
        ("merged.get(a, a) == merged.get(b, b)", "merged.get(a, a) != merged.get(b, b)"),
        ("merged.get(a, a) == merged.get(b, b)", "a == b"),
        ("thetas[reached[:-1] >= precision]", "thetas[reached[:-1] <= precision]"),
        ("float(good.min())", "float(good.max())"),
    ],
    ("copies.rates", "decisions"): [
        ("int(hits.sum()), len(hits)", "int(hits.sum()), len(defined)"),
        ("np.asarray(groups)[defined]", "np.asarray(groups)[: len(flagged)]"),
        ("clusters >= 2 and whole.count in (0, whole.n)", "clusters > 2 and whole.count in (0, whole.n)"),
        ("whole.count in (0, whole.n)", "whole.count in (0,)"),
        ("whole.count in (0, whole.n)", "whole.count in (whole.n,)"),
        ("clusters * whole.rate, clusters,", "whole.count, whole.n,"),
        ("if clusters < 2:\n", "if clusters <= 2:\n"),
        ("hits[drawn].sum(axis) / sizes[drawn].sum(axis)", "(hits[drawn] / sizes[drawn]).sum(axis)"),
        ("low, high = map(float, result.confidence_interval)", "high, low = map(float, result.confidence_interval)"),
    ],
    ("copies.conclusions.evidence", "verdicts"): [
        ("judge(measured, measured[1] > bound, measured[2] < bound, why)", "judge(measured, measured[1] >= bound, measured[2] < bound, why)"),
        ("judge(measured, measured[1] > bound, measured[2] < bound, why)", "judge(measured, measured[1] > bound, measured[2] <= bound, why)"),
        ("judge(measured, measured[1] > bound, measured[2] < bound, why)", "judge(measured, measured[2] > bound, measured[1] < bound, why)"),
        ("judge(measured, measured[2] < bound, measured[1] > bound, why)", "judge(measured, measured[2] <= bound, measured[1] > bound, why)"),
        ("judge(measured, measured[2] < bound, measured[1] > bound, why)", "judge(measured, measured[2] < bound, measured[1] >= bound, why)"),
        ("HOLDS if holds else FAILS", "FAILS if holds else HOLDS"),
        ("if holds or fails:", "if holds:"),
        ("any(map(math.isnan, measured))", "all(map(math.isnan, measured))"),
        ("float(rows[low].min()), float(rows[high].max())", "float(rows[low].max()), float(rows[high].min())"),
    ],
    ("copies.conclusions.claims", "verdicts"): [
        ('few["low"] - many["high"], few["high"] - many["low"]', 'few["low"] - many["low"], few["high"] - many["high"]'),
        ("sizes) < 3", "sizes) < 4"),
    ],
    ("copies.score_table", "decisions"): [
        ('query("rank == 1")', 'query("rank == 2")'),
        ('"query_id", "rank"]\n        )', '"query_id", "score"]\n        )'),
        ("fillna(ceiling.median())", "fillna(ceiling.max())"),
        ('null)["score"].median())', 'null)["score"].mean())'),
    ],
    ("copies.search", "nearest"): [
        ("np.argsort(-scores, axis=1", "np.argsort(scores, axis=1"),
        ("np.lexsort((indices, groups)", "np.lexsort((-indices, groups)"),
    ],
    ("copies.conclusions.dose", "dose"): [
        ("top1 & near_exact", "top1 | near_exact"),
        ("near_exact.isna())", "np.zeros(len(near_exact), bool))"),
        ('made["cluster_id"].to_numpy() == truth', 'made["cluster_id"].to_numpy() != truth'),
        ("np.log2(part", "-np.log2(part"),
        ("< LEAST_CLUSTERS:", "< 2 * LEAST_CLUSTERS:"),
    ],
    ("copies.strata", "thresholds"): [
        ("map(_events) <= 1", "map(_events) < 1"),
    ],
    ("stages.thresholds", "thresholds"): [
        ('self.scores[self.part == "C2"]', 'self.scores[self.part != "C2"]'),
        ('unseen = self.part == "C3"', 'unseen = self.part == "C2"'),
        ("near.to_numpy(bool, na_value=False) & own_top1", "near.to_numpy(bool, na_value=False) | own_top1"),
        ("largest = (MAIN_SET, max(profile.sizes), 0)", "largest = (MAIN_SET, min(profile.sizes), 0)"),
        ('["near_exact"][flagged], judged["group"][flagged]', '["near_exact"][~flagged], judged["group"][~flagged]'),
        ('"n_defined": int(judged["position"].count())', '"n_defined": len(judged)'),
        ('int(judged["position"][flagged].count())', 'int(flagged.sum())'),
        ("int(np.isfinite(position).sum())", "len(position)"),
    ],
    ("stages.findings", "findings"): [
        ('table["fpr"] == ', 'table["fpr"] != '),
    ],
}  # fmt: skip


@contextlib.contextmanager
def mutated(name: str, text: str, other: str):
    """The package as it would be with `other` for every `text` in one module; afterwards it is as it was."""
    name = f"helpers.{name}"
    path = Path(importlib.util.find_spec(name).origin)
    source = path.read_text()
    assert text in source, f"{name}: expected {text!r} in the source, found none; write this mutation anew"
    before = {key: module for key, module in sys.modules.items() if key.partition(".")[0] == "helpers"}
    try:
        for key in before:
            del sys.modules[key]
        spec = importlib.util.find_spec(name)
        sys.modules[name] = importlib.util.module_from_spec(spec)
        exec(compile(source.replace(text, other), path, "exec"), sys.modules[name].__dict__)
        parent, _, last = name.rpartition(".")
        setattr(sys.modules[parent], last, sys.modules[name])
        yield
    finally:
        for key in [key for key in sys.modules if key.partition(".")[0] == "helpers"]:
            del sys.modules[key]
        sys.modules.update(before)


def seen_by(name: str, folder: Path, made: Path) -> list[str]:
    """What a check gives other than the golden values, from the results `made` of the checks before it."""
    try:
        found = synthetic_results.CHECKS[name](folder, made)
    except ValueError as error:  # of the package's own checks: it would turn a test of results red too
        return [str(error)]
    return differences(read_golden(SYNTHETIC)[name], found, tolerance=1e-6)


@pytest.mark.parametrize(
    ("name", "check", "text", "other"), [(*key, *change) for key, changes in MUTATIONS.items() for change in changes]
)
def test_a_changed_rule_is_seen(name, check, text, other, tmp_path, decided):
    with mutated(name, text, other), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of a mutant's divisions
        assert seen_by(check, tmp_path, decided.folder), f"{name}: {other!r} for {text!r} changes no golden value"


@pytest.mark.parametrize("check", synthetic_results.CHECKS)
def test_without_a_change_nothing_is_seen(check, tmp_path, decided):
    """What turns the tests above red is the mutation, not how it is put in place."""
    with mutated("copies.calibration", "quantile", "quantile"):
        assert seen_by(check, tmp_path, decided.folder) == []


def test_a_mutation_that_no_longer_fits_is_told():
    with pytest.raises(AssertionError, match="write this mutation anew"), mutated("copies.bias", "no such text", ""):
        pass
