"""The verdicts: a claim holds or fails only where the whole interval lies on one side of the bound fixed beforehand."""

import dataclasses

import pandas as pd
import pytest

from helpers.copies import claims
from helpers.copies.claims import FAILS, HOLDS, UNTESTED, Evidence
from helpers.stages.findings import read_protocol


def evidence(small, middle, large, top1=(0.9, 0.8, 1.0), twins_high=0.2, trend=None) -> Evidence:
    """Near-exact (rate, low, high) at three sizes, two draws each: the second gives the middle of the first's interval."""
    rows = []
    for n, (rate, low, high) in zip((10, 50, 450), (small, middle, large)):
        for shrink in (1.0, 0.5):
            near = {"near_exact_rate": rate, "near_exact_low": rate - shrink * (rate - low),
                    "near_exact_high": rate + shrink * (high - rate)}  # fmt: skip
            null = dict.fromkeys(("null_near_exact_rate", "null_near_exact_low", "null_near_exact_high"), 0.01)
            own = dict(zip(("own_clip_top1_rate", "own_clip_top1_low", "own_clip_top1_high"), top1))
            rows.append(
                {
                    "n_train": n,
                    "n_generated": 20,
                    "n_defined": 20,
                    **near,
                    **null,
                    **own,
                    "twins_top1_rate": 0.1,
                    "twins_top1_low": 0.05,
                    "twins_top1_high": twins_high,
                }
            )
    rules = read_protocol()["verdicts"] | {"fpr": 0.05}
    return Evidence(pd.DataFrame(rows), pd.DataFrame(), None, trend, rules)


LOW, HIGH = (0.01, 0.0, 0.02), (0.9, 0.8, 0.95)


@pytest.mark.parametrize(("small", "expected"), [(HIGH, HOLDS), ((0.5, 0.4, 0.6), UNTESTED), ((0.3, 0.2, 0.4), FAILS)])
def test_most_at_the_smallest_size(small, expected):
    found = claims._near_exact_smallest(evidence(small, LOW, LOW))
    assert (found.value, found.low, found.high) == pytest.approx(small), "the mean, and the widest limits, over draws"
    assert found.verdict == expected
    assert ("this run cannot tell" in found.why) == (expected == UNTESTED)
    assert found.why.startswith("n = 10, 2 draws, near-exact by rule (by the same rule 1.0% of the null's clips")


@pytest.mark.parametrize(
    ("middle", "expected"), [(LOW, HOLDS), ((0.1, 0.08, 0.13), UNTESTED), ((0.3, 0.2, 0.4), FAILS)]
)
def test_few_at_the_middle_size(middle, expected):
    assert claims._near_exact_middle(evidence(HIGH, middle, LOW)).verdict == expected


def test_a_profile_of_two_sizes_has_no_middle():
    two = evidence(HIGH, LOW, LOW)
    two = Evidence(two.replication.query("n_train != 50"), two.detection, None, None, two.rules)
    assert claims._near_exact_middle(two) == claims.Measured(
        None, None, None, UNTESTED, "this profile has no middle size"
    )


@pytest.mark.parametrize(
    ("large", "expected"), [(LOW, HOLDS), ((0.85, 0.7, 0.9), UNTESTED), ((0.99, 0.97, 1.0), FAILS)]
)
def test_falling_with_size_takes_both_intervals(large, expected):
    found = claims._falls_with_size(evidence(HIGH, LOW, large))
    assert (found.low, found.high) == pytest.approx((HIGH[1] - large[2], HIGH[2] - large[1]))
    assert found.verdict == expected


@pytest.mark.parametrize(("twins_high", "expected"), [(0.2, HOLDS), (0.9, UNTESTED), (float("nan"), UNTESTED)])
def test_own_clips_are_compared_with_twins(twins_high, expected):
    assert claims._follows_own_clip(evidence(HIGH, LOW, LOW, twins_high=twins_high)).verdict == expected


@pytest.mark.parametrize(
    ("low", "high", "expected"), [(0.2, 0.6, HOLDS), (-0.1, 0.6, UNTESTED), (-0.6, -0.2, FAILS), (None, None, UNTESTED)]
)
def test_duplicates_are_judged_by_the_trend_of_exact_copies(low, high, expected):
    kinds = [("replicated", "exact"), ("flagged", "exact"), ("replicated", "altered")]
    trend = pd.DataFrame(kinds, columns=["outcome", "kind"]).assign(
        slope_per_doubling=9.0, low=8.0, high=10.0, note="few"
    )
    trend.loc[0, ["slope_per_doubling", "low", "high"]] = (0.0, low, high)
    found = claims._duplicates_matter(evidence(HIGH, LOW, LOW, trend=trend))
    assert found.verdict == expected and (low is not None or found.why.endswith("copies: few"))


def test_what_both_detectors_flag_stands_in_the_reason():
    found = evidence(HIGH, LOW, LOW)
    table = pd.DataFrame([(10, "mel", 0.9), (10, "mel", 1.0), (10, "clap", 0.2), (50, "clap", 0.7)])
    table.columns = ["n_train", "detector", "flagged_rate"]
    both = Evidence(found.replication, found.detection, None, None, found.rules, table)
    assert both.both_flag("clap").endswith(
        "training on 10, at the same wished rate and with beta and K tuned for mel, flagged are by mel 95.0% and clap 20.0%"
    )
    assert both.both_flag("aisfx") == found.both_flag("clap") == ""
    heldout = dataclasses.replace(both, by_heldout=table.assign(flagged_rate=1.0))
    assert heldout.both_flag("clap") == (
        both.both_flag("clap") + "; at a threshold set on held-out clips, not on twins, by mel 100.0% and clap 100.0%"
    )


@pytest.mark.parametrize(
    ("clap", "said"), [((0.7, 0.6), "above 0: of these copies mel"), ((1.0, 0.95), "below 0: of these copies clap")]
)
def test_which_detector_finds_more_copies_is_said_though_no_verdict_follows(clap, said):
    rows = [("mel", kind, 1.0, 0.9) for kind in ("gain", "crop")]
    rows += [("clap", kind, 1.0, value) for kind, value in zip(("gain", "crop"), clap)]
    table = pd.DataFrame(rows, columns=["detector", "transform", "strength", "auroc"])
    claim = claims._mel_against("clap")(dataclasses.replace(evidence(HIGH, LOW, LOW), detection=table))
    assert claim.verdict == UNTESTED and f"the whole interval lies {said} finds more" in claim.why


def test_what_is_undefined_is_no_share_and_its_reason_says_of_how_many():
    found = evidence(HIGH, LOW, LOW)
    some = found.replication.assign(n_defined=[19, 20, 20, 20, 20, 20])
    reason = "undefined for 1 of 40 clips, as null and ceiling cannot be told apart"
    partly = dataclasses.replace(found, replication=some)
    claim = claims._near_exact_smallest(partly)
    assert claim.verdict == HOLDS and f"of the null's clips are near-exact; {reason})" in claim.why
    assert f"; at n = 10 {reason}" in claims._falls_with_size(partly).why
    shares = [f"{null}near_exact_{end}" for null in ("", "null_") for end in ("rate", "low", "high")]
    columns = dict.fromkeys([*shares, *(f"precision{end}" for end in ("", "_low", "_high"))], float("nan"))
    none = dataclasses.replace(found, replication=found.replication.assign(**columns, n_defined=0, flagged_rate=0.5))
    judged = [
        claims._near_exact_smallest,
        claims._near_exact_middle,
        claims._near_exact_largest,
        claims._falls_with_size,
    ]
    for judge in (*judged, claims._precision(1)):
        claim = judge(none)
        assert claim.verdict == UNTESTED and pd.isna([claim.value, claim.low, claim.high]).all()
        assert "undefined for 40 of 40 clips" in claim.why and "nan" not in claim.why
    unflagged = dataclasses.replace(none, replication=none.replication.assign(flagged_rate=0.0))
    assert claims._precision(1)(unflagged).why == "nothing was flagged"


def test_duplicates_are_counted_among_recordings_or_else_among_clips():
    pairs = pd.DataFrame({"verified": [True, False, True]})
    ours = Evidence(pd.DataFrame(), pd.DataFrame(), pairs, None, {})
    claim = claims._duplicates_exist(ours)
    assert claim.value == 2 and claim.why == (
        "2 of 3 similar pairs of recordings share their waveform; this corpus is not AudioCaps"
    )
    theirs = dataclasses.replace(ours, pairs_of="clips", corpus="audiocaps")
    assert claims._duplicates_exist(theirs).why == "2 of 3 similar pairs of clips share their waveform"
    none = claims._duplicates_exist(dataclasses.replace(theirs, pairs=pairs[:0]))
    assert none.value is None and none.why == "no pair of clips sounds alike"
