"""A distance that listeners trained, beside the rule: its tables and sentences, and how its weights are read; none of it is run."""

import importlib
import math
import pickle
import sys

import numpy as np
import pandas as pd
import pytest

from helpers.base.paths import ROOT
from helpers.book.summaries import perceptual
from helpers.book.tables import table_html
from helpers.sound.profiles import load_profile

COMMITTED = ROOT / "benchmarks" / "perceptual.csv"


@pytest.fixture
def tools(monkeypatch):
    """judge_perceptual and perceptual_distance of tools/."""
    monkeypatch.syspath_prepend(str(ROOT / "tools"))
    names = ("judge_perceptual", "perceptual_distance")
    for name in names:
        monkeypatch.delitem(sys.modules, name, raising=False)
    return tuple(map(importlib.import_module, names))


def made_up(order: list[str], spread: float = 0.1) -> pd.DataFrame:
    """Pairs of 40 own clips, each kind farther by 1 than the one before it in `order`; half of the altered are accepted."""
    rng, rows = np.random.default_rng(0), []
    for kind in perceptual.KINDS:
        for own in range(40):
            refused = kind == "altered" and own % 2
            distance = order.index(kind) + 0.2 * refused + spread * rng.standard_normal()
            transform = ("gain", "mix")[own // 2 % 2] if kind == "altered" else ""
            rows.append(
                (kind, f"clip{own}", f"g{own // 2}", transform, distance, 1 - distance / 9, 0.5 if refused else 0.9)
            )
    columns = ["kind", "clip_id", "group", "transform", "distance", "similarity", "position"]
    return pd.DataFrame(rows, columns=columns)


def summary_of(judge, pairs: pd.DataFrame, tmp_path) -> pd.DataFrame:
    table = judge.summarise(pairs, 0.69, 200, 0)
    table.loc[len(table)] = ("bfloat16", "all", "", 9, 0, 0.012, math.nan, math.nan)
    table.to_csv(tmp_path / "summary.csv", index=False)
    return perceptual.read_summary(tmp_path / "summary.csv")


def test_kinds_in_the_rules_order_agree_with_it(tools, tmp_path):
    summary = summary_of(tools[0], made_up(["replay", "near_exact", "altered", "twins", "other"]), tmp_path)
    twins = summary.loc[("area", "twins", "near_exact")]
    assert twins["value"] == 1 and 0.8 < twins["low"] < 0.9, "all 20 groups of clips agree: the exact limit of 20 of 20"
    refused = summary.loc[("area", "altered_refused", "altered_accepted")]
    assert 0.8 < refused["value"] < 1 and refused["low"] < refused["value"] < refused["high"]
    assert summary.loc[("spearman", "all", ""), "value"] == pytest.approx(-1)
    said = " ".join(perceptual.sentences(summary))
    assert (
        "so the distance agrees with the rule" in said
        and said.count(" lie farther from their training clips than ") == 4
    )
    assert "Altered copies that the rule refuses lie farther" in said
    table = perceptual.by_kind(summary)
    assert len(table) == 5 and table["clips"].eq(40).all()
    assert table.iloc[[0, 1], -1].tolist() == ["–", "–"] and table.iloc[4, -1].startswith("1 (0.8")
    shown = perceptual.passage(summary).data
    assert (
        shown.startswith(table_html(table)) and "<p>Twins lie farther" in shown and "by more than 1.2\u00a0%." in shown
    )


def test_a_distance_that_tells_nothing_or_the_reverse_is_said_to(tools, tmp_path):
    order = ["twins", "altered", "near_exact", "replay", "other"]
    said = " ".join(perceptual.sentences(summary_of(tools[0], made_up(order), tmp_path)))
    assert "does not agree" in said and said.count(" lie nearer to their training clips than ") == 3
    blurred = made_up(order, spread=200)
    said = " ".join(perceptual.sentences(summary_of(tools[0], blurred, tmp_path)))
    assert "does not agree" in said and said.count(" are not told from ") == 4


def test_without_a_measurement_there_is_no_summary(tmp_path):
    assert perceptual.passage(perceptual.read_summary(tmp_path / "none.csv")).data == perceptual.NOT_YET


def test_the_committed_summary_is_of_the_committed_pairs(tools):
    chosen = load_profile("pocket").thresholds
    pairs = pd.read_csv(COMMITTED, keep_default_na=False)
    again = tools[0].summarise(pairs, chosen.theta, chosen.n_bootstrap, chosen.seed)
    kept = pd.read_csv(perceptual.SUMMARY).fillna({"over": ""}).query("measure != 'bfloat16'")
    pd.testing.assert_frame_equal(kept, again.round(4), check_dtype=False)
    assert COMMITTED.stat().st_size < 100_000 and set(pairs["kind"]) == set(perceptual.KINDS)


def test_without_the_package_the_tool_says_in_a_line_how_to_install_it(tools, monkeypatch, tmp_path):
    judge, distance = tools
    monkeypatch.setattr(distance.importlib.util, "find_spec", lambda name: None)
    monkeypatch.setattr(sys, "argv", ["judge_perceptual.py", "--work", str(tmp_path)])
    with pytest.raises(SystemExit, match=r"^cdpam: expected the package.*pip install --no-deps cdpam==0\.0\.6`[^\n]*$"):
        judge.main()


def test_long_integers_of_python_2_are_rewritten_and_nothing_else(tools):
    number = 139_832_181_927_520
    head = pickle.dumps(1, 2) + pickle.dumps(2, 2) + pickle.dumps({"little_endian": True}, 2)
    checkpoint = b"\x80\x02}I%d\nK\x07s." % number
    data = tools[1]._readable(head + checkpoint + b"I1\n tensors")
    assert data.startswith(head) and data.endswith(b"I1\n tensors")
    assert pickle.loads(data[len(head) :]) == {number: 7} and b"I%d" % number not in data


def test_what_holds_code_is_refused_unread(tools, tmp_path):
    (tmp_path / "weights.pth").write_bytes(b"anything else")
    with pytest.raises(ValueError, match="expected sha256 453c8b6e"):
        tools[1]._weights(tmp_path / "weights.pth")
    (tmp_path / "models.py").write_text("raise AssertionError")
    with pytest.raises(ValueError, match="expected sha256 5e7c94b4"):
        tools[1]._network(tmp_path / "models.py")
