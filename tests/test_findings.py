"""The verdicts: a claim holds or fails only where the whole interval lies on one side of the bound fixed beforehand."""

import dataclasses
import math

import pandas as pd
import pytest

from helpers.base.protocol import read_protocol
from helpers.copies.conclusions import claims
from helpers.copies.conclusions.equal_moments import last_in_common
from helpers.copies.conclusions.evidence import CANNOT_TELL, FAILS, HOLDS, NOT_COMPARABLE, Evidence, Measured

ENDS = ("rate", "low", "high")


def evidence(small, middle, large, top1=(0.9, 0.8, 1.0), twins_high=0.2, trend=None) -> Evidence:
    """Near-exact (rate, low, high) at three sizes, two draws each: the second gives the middle of the first's interval."""
    rows = []
    for n, (rate, low, high) in zip((10, 50, 450), (small, middle, large)):
        for shrink in (1.0, 0.5):
            near = {"own_near_exact_rate": rate, "own_near_exact_low": rate - shrink * (rate - low),
                    "own_near_exact_high": rate + shrink * (high - rate)}  # fmt: skip
            null = dict.fromkeys((f"{null}_near_exact_{end}" for null in ("null", "twins_own") for end in ENDS), 0.01)
            own = dict(zip(("own_clip_top1_rate", "own_clip_top1_low", "own_clip_top1_high"), top1))
            rows.append(
                {
                    "n_train": n,
                    "updates": 1000,
                    "epochs": 32000 / n,
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
    return Evidence(pd.DataFrame(rows), pd.DataFrame(rows), pd.DataFrame(), pd.DataFrame(), None, trend, rules)


LOW, HIGH = (0.01, 0.0, 0.02), (0.9, 0.8, 0.95)


@pytest.mark.parametrize(
    ("small", "expected"), [(HIGH, HOLDS), ((0.5, 0.4, 0.6), CANNOT_TELL), ((0.3, 0.2, 0.4), FAILS)]
)
def test_most_at_the_smallest_size(small, expected):
    found = claims._near_exact_smallest(evidence(small, LOW, LOW))
    assert (found.value, found.low, found.high) == pytest.approx(small), "the mean, and the widest limits, over draws"
    assert found.verdict == expected
    assert ("this run cannot tell" in found.why) == (expected == CANNOT_TELL)
    assert found.why.startswith(
        "n = 10, 2 draws, near-exact of the own clip, by rule (of honest clips 1.00% (at most 1.00%) are"
    )


@pytest.mark.parametrize(
    ("middle", "expected"), [(LOW, HOLDS), ((0.1, 0.08, 0.13), CANNOT_TELL), ((0.3, 0.2, 0.4), FAILS)]
)
def test_few_at_the_middle_size(middle, expected):
    assert claims._near_exact_middle(evidence(HIGH, middle, LOW)).verdict == expected


def test_a_profile_of_two_sizes_has_no_middle():
    two = evidence(HIGH, LOW, LOW)
    two = dataclasses.replace(two, replication=two.replication.query("n_train != 50"))
    assert claims._near_exact_middle(two) == Measured(None, None, None, CANNOT_TELL, "this profile has no middle size")


@pytest.mark.parametrize(
    ("large", "expected"), [(LOW, HOLDS), ((0.85, 0.7, 0.9), CANNOT_TELL), ((0.99, 0.97, 1.0), FAILS)]
)
def test_falling_with_size_takes_both_intervals(large, expected):
    found = claims._falls_with_size("updates")(evidence(HIGH, LOW, large))
    assert (found.low, found.high) == pytest.approx((HIGH[1] - large[2], HIGH[2] - large[1]))
    assert found.verdict == expected


def test_sizes_are_compared_at_equal_updates_and_at_equal_epochs():
    """A size effect at equal updates can be a budget effect: at equal epochs there may be none."""
    found = evidence(HIGH, LOW, LOW)
    early = found.checkpoints.assign(updates=22, epochs=22 * 32 / found.checkpoints["n_train"])
    early = early.assign(own_near_exact_rate=0.01, own_near_exact_low=0.0, own_near_exact_high=0.02)
    both = dataclasses.replace(found, checkpoints=pd.concat([found.checkpoints, early]))
    updates, epochs = (claims._falls_with_size(axis)(both) for axis in ("updates", "epochs"))
    assert updates.verdict == HOLDS and "n = 10 (1,000 updates" in updates.why and "n = 450 (1,000" in updates.why
    assert epochs.verdict == CANNOT_TELL and "n = 10 (22 updates, 70 epochs" in epochs.why
    assert "n = 450 (1,000 updates, 71 epochs" in epochs.why


def of_many_sizes() -> Evidence:
    """Five sizes, each trained for a length of its own, as in the study of onsets: copies at the end of each."""
    rows = evidence(HIGH, HIGH, HIGH).replication.drop_duplicates("n_train").head(1)
    ends = {100: 2800, 200: 5600, 500: 15000, 1000: 16000, 2000: 32000}
    last = pd.concat([rows.assign(n_train=n, updates=u, epochs=32 * u / n) for n, u in ends.items()])
    first = last.assign(updates=last["updates"] // 4, epochs=last["epochs"] / 4)
    none = first.assign(own_near_exact_rate=0.0, own_near_exact_low=0.0, own_near_exact_high=0.01)
    found = evidence(HIGH, HIGH, HIGH)
    return dataclasses.replace(found, replication=last, checkpoints=pd.concat([last, none]))


def test_of_many_sizes_the_third_is_the_middle_and_what_its_own_length_made_is_not_judged():
    found = of_many_sizes()
    for judge, n in ((claims._near_exact_middle, "n = 500"), (claims._near_exact_largest, "n = 2,000")):
        judged = judge(found)
        assert judged.verdict == NOT_COMPARABLE and judged.why.startswith(n) and "a length of its own" in judged.why
    assert claims._near_exact_smallest(found).verdict == HOLDS
    nowhere = dataclasses.replace(found, replication=found.replication.assign(own_near_exact_rate=float("nan")))
    assert claims._near_exact_middle(nowhere).verdict == CANNOT_TELL


def test_with_a_schedule_for_each_size_the_pair_is_the_last_that_is_alike():
    found = of_many_sizes()
    ends = found.checkpoints[found.checkpoints["n_train"].isin([100, 2000])].drop_duplicates("n_train")
    moments = {100: [(700, 0.9), (900, 0.99), (2000, 1.0)], 2000: [(640, 0.02), (898, 0.5), (1001, 0.6)]}
    curves = [
        ends[ends["n_train"] == n].assign(epochs=epochs, updates=n * epochs // 32, own_near_exact_rate=rate, own_near_exact_low=rate, own_near_exact_high=rate)
        for n, points in moments.items()
        for epochs, rate in points
    ]  # fmt: skip
    judged = claims._falls_with_size("epochs")(dataclasses.replace(found, checkpoints=pd.concat(curves)))
    assert judged.verdict == HOLDS and "900 epochs: 99.0%" in judged.why and "1001 epochs: 60.0%" in judged.why


def test_sizes_that_share_no_number_of_updates_are_compared_only_where_that_can_decide():
    found = of_many_sizes()  # 2,800 updates of 100 clips, all copied, against 8,000 of 2,000 clips, none
    judged = claims._falls_with_size("updates")(found)
    assert judged.verdict == HOLDS and "n = 100 (2,800 updates" in judged.why and "n = 2,000 (8,000" in judged.why
    assert "share no moment of equal updates, but the small set has fewer" in judged.why
    same = found.checkpoints.assign(own_near_exact_rate=0.9, own_near_exact_low=0.8, own_near_exact_high=0.95)
    same = claims._falls_with_size("updates")(dataclasses.replace(found, checkpoints=same))
    assert same.verdict == CANNOT_TELL and same.why.endswith("so this run cannot tell")


@pytest.mark.parametrize(("large", "expected"), [(LOW, CANNOT_TELL), ((0.1, 0.05, 0.2), FAILS)])
def test_a_share_that_honest_clips_reach_too_is_no_evidence(large, expected):
    assert claims._near_exact_largest(evidence(HIGH, LOW, large)).verdict == expected


@pytest.mark.parametrize(("twins_high", "expected"), [(0.2, HOLDS), (0.9, CANNOT_TELL), (float("nan"), CANNOT_TELL)])
def test_own_clips_are_compared_with_twins(twins_high, expected):
    assert claims._follows_own_clip(evidence(HIGH, LOW, LOW, twins_high=twins_high)).verdict == expected


@pytest.mark.parametrize(
    ("low", "high", "expected"),
    [(0.2, 0.6, HOLDS), (-0.1, 0.6, CANNOT_TELL), (-0.6, -0.2, FAILS), (None, None, CANNOT_TELL)],
)
def test_duplicates_are_judged_by_the_trend_of_exact_copies(low, high, expected):
    kinds = [("replicated", "exact"), ("flagged", "exact"), ("replicated", "altered")]
    trend = pd.DataFrame(kinds, columns=["outcome", "kind"]).assign(
        slope_per_doubling=9.0, low=8.0, high=10.0, note="few"
    )
    trend.loc[0, ["slope_per_doubling", "low", "high"]] = (0.0, low, high)
    found = claims._duplicates_matter(evidence(HIGH, LOW, LOW, trend=trend))
    assert found.verdict == expected and (low is not None or found.why.endswith("copies: few"))


@pytest.mark.parametrize(
    ("lows", "highs", "expected"),
    [((0.1, 0.02), (0.3, 0.2), HOLDS), ((0.1, -0.02), (0.3, 0.2), CANNOT_TELL), ((-0.4, -0.3), (-0.1, -0.01), FAILS)],
)
def test_mel_leads_where_it_does_at_every_size(lows, highs, expected):
    rows = [
        ("clap", n, "twins", "own", "all", (low + high) / 2, low, high) for n, low, high in zip((10, 50), lows, highs)
    ]
    rows += [("clap", 10, "heldout", "own", "all", -0.5, -0.6, -0.4), ("clap", 10, "twins", "none", "all", 9, 9, 9)]
    columns = ["detector", "n_train", "negatives", "bias", "transform", "below_mel", "below_mel_low", "below_mel_high"]
    altered = [("mel", kind, 1.0, 0.9) for kind in ("gain", "crop")] + [
        ("clap", kind, 1.0, 0.7) for kind in ("gain", "crop")
    ]
    alterations = pd.DataFrame(altered, columns=["detector", "transform", "strength", "auroc"])
    found = evidence(HIGH, LOW, LOW)
    found = dataclasses.replace(found, detection=pd.DataFrame(rows, columns=columns), alterations=alterations)
    claim = claims._mel_against("clap")(found)
    assert claim.verdict == expected and (claim.low, claim.high) == (min(lows), max(highs))
    assert "against held-out clips -0.50 to -0.50" in claim.why and "altered alike +0.20" in claim.why
    assert claims._mel_against("aisfx")(found).verdict == CANNOT_TELL


def test_what_is_undefined_is_no_share_and_its_reason_says_of_how_many():
    found = evidence(HIGH, LOW, LOW)
    some = found.replication.assign(n_defined=[19, 20, 20, 20, 20, 20])
    reason = "undefined for 1 of 40 clips, as null and ceiling cannot be told apart"
    partly = dataclasses.replace(found, replication=some)
    claim = claims._near_exact_smallest(partly)
    assert claim.verdict == HOLDS and f"by the same rule; {reason})" in claim.why
    assert f"; at n = 10 {reason}" in claims._falls_with_size("updates")(partly).why
    shares = [f"{whose}near_exact_{end}" for whose in ("own_", "null_", "twins_own_") for end in ENDS]
    columns = dict.fromkeys([*shares, *(f"precision{end}" for end in ("", "_low", "_high"))], float("nan"))
    none = dataclasses.replace(
        found,
        **{
            name: found.replication.assign(**columns, n_defined=0, flagged_rate=0.5)
            for name in ("replication", "checkpoints")
        },
    )
    judged = [
        claims._near_exact_smallest,
        claims._near_exact_middle,
        claims._near_exact_largest,
        claims._falls_with_size("updates"),
    ]
    for judge in (*judged, claims._precision(1)):
        claim = judge(none)
        assert claim.verdict == CANNOT_TELL and pd.isna([claim.value, claim.low, claim.high]).all()
        assert "undefined for 40 of 40 clips" in claim.why and "nan" not in claim.why
    unflagged = dataclasses.replace(none, replication=none.replication.assign(flagged_rate=0.0))
    assert claims._precision(1)(unflagged).why == "nothing was flagged"


def test_duplicates_are_counted_among_recordings_or_else_among_clips():
    pairs = pd.DataFrame({"verified": [True, False, True]})
    ours = Evidence(*[pd.DataFrame()] * 4, pairs, None, {})
    claim = claims._duplicates_exist(ours)
    assert claim.value == 2 and claim.why == (
        "2 of 3 similar pairs of recordings share their waveform; this corpus is not AudioCaps"
    )
    theirs = dataclasses.replace(ours, pairs_of="clips", corpus="audiocaps")
    assert claims._duplicates_exist(theirs).why == "2 of 3 similar pairs of clips share their waveform"
    none = claims._duplicates_exist(dataclasses.replace(theirs, pairs=pairs[:0]))
    assert none.value is None and none.why == "no pair of clips sounds alike"


def test_equal_moments_are_where_a_curve_ends_that_most_curves_come_near_to():
    curves = [[{"epochs": e, "rate": rate} for e, rate in points.items()] for points in (
        {10.0: 0.0, 20.0: 0.5, 40.0: 1.0},
        {12.0: 0.1, 25.0: 0.6, 50.0: math.nan},
        {6.0: 0.0, 21.0: 0.3},
    )]  # fmt: skip
    assert [point["epochs"] for point in last_in_common(curves, "epochs")] == [20.0, 25.0, 21.0]
    pair = [curves[0], [*curves[2], {"epochs": 44.0, "rate": 0.9}]]
    assert [point["epochs"] for point in last_in_common(pair, "epochs")] == [40.0, 44.0]
    assert last_in_common([curves[0], [{"epochs": 53.0, "rate": 0.5}]], "epochs") == ()  # 1.325 times as many
    assert last_in_common([curves[0], [{"epochs": 26.0, "rate": math.nan}]], "epochs") == ()


def test_no_share_decides_at_which_moment_sizes_are_compared():
    points = {10.0: 0.0, 20.0: 0.5, 40.0: 1.0}
    curves = [[{"epochs": e, "rate": rate} for e, rate in points.items()] for _ in range(2)]
    turned = [[point | {"rate": 1 - point["rate"]} for point in curve] for curve in curves]
    moments = [[point["epochs"] for point in last_in_common(of, "epochs")] for of in (curves, turned)]
    assert moments == [[40.0, 40.0]] * 2
