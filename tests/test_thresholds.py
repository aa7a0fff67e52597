"""Calibration by simulation, intervals against known values, and rules by hand."""

import math

import numpy as np
import pandas as pd
import pytest
from scipy import stats

from helpers.copies.calibration import calibrate_threshold, choose_beta_k, flag, split_calibration, sweep
from helpers.copies.rates import cluster_bootstrap, clustered_rate, flagged_rate
from helpers.copies.replication import choose_theta, near_exact, own_clip_top1, position


@pytest.mark.parametrize("m, fpr", [(19, 0.05), (50, 0.1), (120, 0.01)])
@pytest.mark.parametrize("kind", ["continuous", "tied"])
def test_a_null_query_is_flagged_at_most_at_the_rate(m, fpr, kind):
    """Many calibration sets and one new null query each: the share flagged keeps to the finite-sample rate."""
    rng = np.random.default_rng(m)
    draws = rng.normal(size=(20_000, m + 1)) if kind == "continuous" else rng.integers(0, 12, size=(20_000, m + 1))
    flagged = np.mean([flag(row[m:], calibrate_threshold(row[:m], fpr))[0] for row in draws])
    noise = 4 * math.sqrt(fpr / len(draws))
    assert flagged <= fpr + noise
    if kind == "continuous":  # and is not needlessly strict: exactly floor((m + 1) fpr) / (m + 1)
        assert flagged == pytest.approx(math.floor((m + 1) * fpr + 1e-9) / (m + 1), abs=noise)


def test_the_threshold_lies_just_above_the_order_statistic():
    scores = np.arange(1, 100) / 100  # m = 99: the 95th smallest at 5 %
    tau = calibrate_threshold(np.random.default_rng(0).permutation(scores), 0.05)
    assert 0.95 < tau < 0.95 + 1e-6
    assert flag(scores, tau).sum() == 4
    assert calibrate_threshold(np.arange(999), 0.01) == pytest.approx(989, rel=1e-6)  # the 990th, from 0


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_a_score_tied_with_the_quantile_is_not_flagged(dtype):
    scores = np.full(40, 0.7, dtype=dtype)
    tau = calibrate_threshold(scores, 0.1)
    assert not flag(scores, tau).any()
    assert not (scores >= tau).any()  # numpy compares a float32 array with a Python float in float32


def test_unattainable_rates():
    assert calibrate_threshold(np.arange(98), 0.01) is None
    assert calibrate_threshold(np.arange(99), 0.01) is not None
    assert calibrate_threshold([], 0.5) is None
    with pytest.raises(ValueError, match="unattainable"):
        flag(np.arange(5), None)
    with pytest.raises(ValueError, match="got NaN in 1 of 3"):
        calibrate_threshold([0.1, math.nan, 0.2], 0.5)
    with pytest.raises(ValueError, match="between 0 and 1, got 5"):
        calibrate_threshold([0.1], 5)


def test_split_keeps_groups_whole_and_meets_the_shares():
    rng = np.random.default_rng(3)
    groups = np.array([f"g{i}" for i in rng.integers(0, 150, size=600)])
    parts = split_calibration(groups, seed=1)
    assert all(len(set(parts[groups == g])) == 1 for g in set(groups))
    shares = [np.mean(parts == part) for part in ("C1", "C2", "C3")]
    np.testing.assert_allclose(shares, [0.25, 0.5, 0.25], atol=0.02)
    np.testing.assert_array_equal(parts, split_calibration(groups, seed=1))
    assert (parts != split_calibration(groups, seed=2)).any()


def test_split_uses_every_part_even_with_one_giant_group():
    assert set(split_calibration([0] * 90 + [1, 2, 3], seed=0)) == {"C1", "C2", "C3"}
    with pytest.raises(ValueError, match="at least 3 distinct groups"):
        split_calibration([0, 0, 1], seed=0)


def test_exact_interval_against_the_beta_quantiles():
    rate = flagged_rate(np.arange(500) < 12)
    assert (rate.count, rate.n, rate.rate) == (12, 500, 0.024)
    assert rate.low == pytest.approx(stats.beta.ppf(0.025, 12, 489))
    assert rate.high == pytest.approx(stats.beta.ppf(0.975, 13, 488))
    assert str(rate) == "12 of 500 (2.4 %, 95 % interval 1.2 to 4.2 %)"


def test_a_count_of_zero_prints_its_upper_bound():
    rate = flagged_rate(np.zeros(100, dtype=bool))
    assert rate.low == 0 and rate.high == pytest.approx(1 - 0.025 ** (1 / 100))
    assert str(rate) == "0 of 100 (at most 3.6 %)"
    assert flagged_rate(np.ones(7)).high == 1
    with pytest.raises(ValueError, match="at least one query"):
        flagged_rate([])


def test_bootstrap_over_groups_is_wider_where_groups_agree():
    rng = np.random.default_rng(0)
    groups = np.repeat(np.arange(30), 10)
    flags = np.repeat(rng.random(30) < 0.4, 10)  # a group is flagged whole
    clustered, independent = clustered_rate(flags, groups), flagged_rate(flags)
    assert clustered.rate == independent.rate
    ratio = (clustered.high - clustered.low) / (independent.high - independent.low)
    assert ratio == pytest.approx(math.sqrt(10), rel=0.2)  # ten times fewer independent units


def test_bootstrap_of_single_items_agrees_with_the_normal_interval():
    values = np.random.default_rng(4).normal(size=400)
    low, high = cluster_bootstrap(values, np.arange(400), np.mean, n=2000, seed=1)
    half = 1.96 * values.std() / 20
    np.testing.assert_allclose([low, high], [values.mean() - half, values.mean() + half], atol=0.02)
    assert (low, high) == cluster_bootstrap(values, np.arange(400), np.mean, n=2000, seed=1)
    narrow = cluster_bootstrap(values, np.arange(400), np.mean, confidence=0.5, seed=1)
    assert low < narrow[0] < narrow[1] < high


def test_bootstrap_edges():
    assert all(math.isnan(limit) for limit in cluster_bootstrap(np.ones(4), ["a"] * 4, np.mean))
    with pytest.raises(ValueError, match="expected 4 labels"):
        cluster_bootstrap(np.ones(4), [1, 2], np.mean)
    none = clustered_rate(np.zeros(100), np.repeat(np.arange(10), 10))
    assert none.low == 0 and none.high == pytest.approx(1 - 0.025 ** (1 / 10))  # ten groups, not a hundred clips
    assert math.isnan(clustered_rate(np.zeros(10), [0] * 10).high)


def example_scores(rng, n, lift):
    """Queries whose similarity to everything varies; a copy is `lift` above that level."""
    level = rng.normal(0.5, 0.2, size=n)
    background = -np.sort(-(level[:, None] + rng.normal(0, 0.02, size=(n, 8))), axis=1)
    return level + lift + rng.normal(0, 0.03, size=n), background


def test_normalisation_is_chosen_where_it_helps_and_not_otherwise():
    rng = np.random.default_rng(6)
    copies, null = example_scores(rng, 300, 0.2), example_scores(rng, 300, 0.0)
    beta, k, table = choose_beta_k(*copies, *null, betas=(1.0, 0.0, 0.5), ks=(1, 8))
    cells = table.set_index(["beta", "k"]).auroc
    assert beta == 1.0 and len(cells) == 6 and cells[beta, k] == cells.max()
    assert table.auroc.max() > table.auroc[table.beta == 0].max() + 0.1
    flat = np.full((3, 2), 0.1)
    assert choose_beta_k(np.ones(3), flat, np.zeros(3), flat, (0.5, 0.0), (2, 1))[:2] == (0.0, 1)  # all equal


def test_sweep_calibrates_each_cell_and_checks_it():
    rng = np.random.default_rng(7)
    queries, null, check = example_scores(rng, 200, 0.2), example_scores(rng, 400, 0), example_scores(rng, 400, 0)
    table = sweep(*queries, *null, (0.0, 1.0), (1, 8), 0.05, check).set_index(["beta", "k"])
    assert list(table.reset_index().columns)[:4] == ["beta", "k", "tau", "flagged"] and len(table) == 4
    assert table.flagged[1.0, 8] > 150 > table.flagged[0.0, 8]
    assert table.tau[0.0, 1] == table.tau[0.0, 8] == calibrate_threshold(null[0], 0.05)
    assert ((table.fpr_check_low < 0.05) & (table.fpr_check_high > 0.05)).all()
    assert (table.ci_low < table.flagged_rate).all() and (table.flagged_rate <= table.ci_high).all()
    unattainable = sweep(*queries, null[0][:9], null[1][:9], (0.5,), (2,), 0.05).iloc[0]
    assert math.isnan(unattainable.tau) and math.isnan(unattainable.flagged_rate) and unattainable.n == 200


def test_position_between_null_and_ceiling():
    p = position([0.8, 0.9, 1.0, 0.9], [1.0, 1.0, 1.0, 0.805], 0.8)
    np.testing.assert_allclose(p, [0, 0.5, 1, np.nan])
    assert near_exact(p, 0.5 - 1e-9).tolist() == [False, True, True, pd.NA]


@pytest.mark.parametrize("missing", [pd.NA, None, math.nan])
def test_what_is_undefined_leaves_the_denominator_and_its_group(missing):
    """Four known flags in three groups; a fourth group has none and must not widen the interval."""
    flags, groups = [True, missing, False, False, False, missing], [0, 0, 1, 1, 2, 3]
    for rate, known in (
        (flagged_rate(flags), flagged_rate([True, False, False, False])),
        (clustered_rate(flags, groups), clustered_rate([True, False, False, False], [0, 1, 1, 2])),
        (clustered_rate([False, missing], [0, 1]), clustered_rate([False], [0])),
    ):
        np.testing.assert_equal(vars(rate), vars(known))
    for nothing in (flagged_rate([missing] * 3), clustered_rate([missing] * 3, [0, 0, 1])):
        assert (nothing.count, nothing.n, str(nothing)) == (0, 0, "undefined")
        assert np.isnan([nothing.rate, nothing.low, nothing.high]).all(), "never a rate"
    with pytest.raises(ValueError, match="groups: expected 3 labels"):
        clustered_rate([missing] * 3, [0, 1])


def test_theta_is_the_lowest_that_is_precise_enough():
    positives, negatives = np.linspace(0.3, 1, 50), np.linspace(-0.5, 0.5, 50)
    theta = choose_theta(positives, np.append(negatives, np.nan), 0.95)
    candidates = np.concatenate([positives, negatives])
    precise = [c for c in candidates if (positives >= c).sum() >= 0.95 * (candidates >= c).sum()]
    assert theta == min(precise)
    assert choose_theta(np.zeros(5), np.ones(5)) is None


def test_own_clip_counts_the_own_cluster():
    top1, own = ["a", "b", "c", "d"], ["a", "c", "b", "a"]
    assert own_clip_top1(top1, own).tolist() == [True, False, False, False]
    assert own_clip_top1(top1, own, {"b": 1, "c": 1, "d": 2}).tolist() == [True, True, True, False]
    with pytest.raises(ValueError, match="expected 4"):
        own_clip_top1(top1, own[:2])
