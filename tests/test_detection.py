"""Detection metrics against pair counts and slow loops."""

import math

import numpy as np
import pytest

from helpers.copies.detection_metrics import (
    COLUMNS,
    auroc_interval,
    detection_row,
    resampled_aurocs,
    roc_points,
    tpr_at_fpr,
)


def row(pos, neg, **options):
    groups = (np.arange(len(pos)), np.arange(len(neg)))
    return detection_row("mel", "gain", -6.0, "C3", np.asarray(pos), np.asarray(neg), *groups, **options)


def test_columns_are_those_of_the_result_file():
    names = "detector, transform, strength, split, n_pos, n_neg, auroc, auroc_low, auroc_high, average_precision"
    assert ", ".join(COLUMNS) == names + ", tpr_at_fpr_1pct"
    assert list(row([0.9, 0.8], [0.1, 0.2])) == list(COLUMNS)


@pytest.mark.parametrize("seed", range(5))
@pytest.mark.parametrize("levels", [5, 10_000])
def test_auroc_is_the_share_of_pairs_won(seed, levels):
    """With ties (few levels) and without: a tie is not a win."""
    rng = np.random.default_rng(seed)
    pos, neg = rng.integers(0, levels, size=37) + levels // 3, rng.integers(0, levels, size=53)
    won = sum(p > n for p in pos for n in neg) / (37 * 53)
    assert row(pos, neg)["auroc"] == pytest.approx(won)


def test_average_precision_by_hand_with_ties_against_the_detector():
    # Descending, negatives first among equals: + - + - + -> precision 1, 2/3, 3/5 at the positives.
    assert row([0.9, 0.5, 0.1], [0.5, 0.1])["average_precision"] == pytest.approx((1 + 2 / 3 + 3 / 5) / 3)


def test_true_positive_rate_at_one_percent():
    neg = np.arange(200) / 200  # two may pass: the bound is the third greatest
    assert tpr_at_fpr(np.array([0.985, 0.986, 0.99, 0.2]), neg) == 0.5
    assert tpr_at_fpr(np.ones(3), neg[:99]) is None
    assert tpr_at_fpr(np.ones(3), np.ones(100)) == 0.0  # ties do not pass
    assert row(np.ones(4), neg[:50])["tpr_at_fpr_1pct"] is None


def test_roc_points_hold_for_the_threshold_they_name():
    rng = np.random.default_rng(1)
    pos, neg = rng.normal(1, 1, size=40), rng.normal(0, 1, size=60)
    points = roc_points(pos, neg)
    assert points.iloc[0].tolist() == [0, 0, math.inf]
    for point in points.iloc[1:].itertuples():
        assert point.tpr == pytest.approx(np.mean(pos >= point.threshold))
        assert point.fpr == pytest.approx(np.mean(neg >= point.threshold))
    assert np.trapezoid(points.tpr, points.fpr) == pytest.approx(row(pos, neg)["auroc"])


def test_interval_equals_a_plain_bootstrap_over_groups():
    rng = np.random.default_rng(2)
    pos_groups, neg_groups = rng.integers(0, 12, size=60), rng.integers(0, 15, size=70)
    pos = rng.normal(1, 0.5, size=60) + rng.normal(size=12)[pos_groups]
    neg = rng.normal(0, 0.5, size=70) + rng.normal(size=15)[neg_groups]
    low, high = auroc_interval(pos, neg, pos_groups, neg_groups, n_bootstrap=4000, seed=0)
    slow = []
    for _ in range(1500):
        p = np.concatenate([pos[pos_groups == g] for g in rng.choice(np.unique(pos_groups), len(set(pos_groups)))])
        n = np.concatenate([neg[neg_groups == g] for g in rng.choice(np.unique(neg_groups), len(set(neg_groups)))])
        slow.append(np.mean(p[:, None] > n[None, :]))
    np.testing.assert_allclose([low, high], np.quantile(slow, [0.025, 0.975]), atol=0.02)
    single = auroc_interval(pos, neg, np.arange(60), np.arange(70))
    assert high - low > 1.3 * (single[1] - single[0])  # groups agree within, so fewer units than clips


def test_a_perfect_score_keeps_a_lower_limit():
    found = row(np.linspace(2, 3, 50), np.linspace(0, 1, 40))
    assert found["auroc"] == found["auroc_high"] == 1
    assert found["auroc_low"] == pytest.approx(0.025 ** (1 / 40))
    low, high = auroc_interval(np.zeros(50), np.ones(40), np.arange(50), np.arange(40))
    assert low == 0 and high == pytest.approx(1 - 0.025 ** (1 / 40))


def test_one_group_has_no_interval_and_bad_scores_are_refused():
    assert math.isnan(auroc_interval(np.ones(3), np.zeros(3), [0, 0, 0], [0, 1, 2])[0])
    with pytest.raises(ValueError, match="pos_groups: expected 3 labels, one a score, got 2"):
        auroc_interval(np.ones(3), np.zeros(3), [0, 0], [0, 1, 2])
    with pytest.raises(ValueError, match="with 1 NaN"):
        row([0.5, math.nan], [0.1])
    with pytest.raises(ValueError, match="got 0 and 1"):
        row([], [0.1])


def test_the_two_way_bootstrap_draws_alterations_and_groups_anew():
    rng = np.random.default_rng(0)
    kinds, groups = np.repeat(["easy", "hard", "odd"], 40), np.tile(np.arange(20), 6)
    level = {"easy": 2.0, "hard": 0.0, "odd": 1.0}
    pos = np.array([level[kind] for kind in kinds]) + rng.normal(0, 0.3, 120)
    neg, neg_groups = rng.normal(0.5, 0.5, 60), np.tile(np.arange(20), 3)
    area = (pos[:, None] > neg).mean()
    both = resampled_aurocs(pos, neg, kinds, groups, neg_groups, 2000)
    of_groups = resampled_aurocs(pos, neg, np.zeros(120), groups, neg_groups, 2000)
    assert abs(np.nanmean(both) - area) < 0.02 and abs(of_groups.mean() - area) < 0.02
    assert np.nanstd(both) > 3 * of_groups.std(), "of three unlike alterations another set would tell otherwise"
    again = resampled_aurocs(pos - 0.1, neg, kinds, groups, neg_groups, 2000)
    assert np.nanstd(both - again) < 0.5 * np.nanstd(both), "two detectors get the same draws"
    np.testing.assert_array_equal(resampled_aurocs(pos, neg, kinds, groups, neg_groups, 2000), both)
    with pytest.raises(ValueError, match="neg_groups: expected 60 labels, one a score, got 2"):
        resampled_aurocs(pos, neg, kinds, groups, [1, 2])


def test_weights_of_the_two_way_bootstrap_are_those_of_its_draws():
    """One draw by hand: a kind drawn twice counts twice, a group not drawn not at all, on both sides."""
    rng = np.random.default_rng(7)
    of_kind, of_group = rng.multinomial(2, [0.5, 0.5], 1)[0], rng.multinomial(3, [1 / 3] * 3, 1)[0]
    pos, neg = np.array([1.0, 0.2, 0.6, 0.4]), np.array([0.5, 0.3, 0.1])
    kinds, pos_groups, neg_groups = [0, 0, 1, 1], [0, 1, 2, 0], [0, 1, 2]
    pos_weight, neg_weight = of_kind[kinds] * of_group[pos_groups], of_group[neg_groups]
    won = sum(pos_weight[i] * neg_weight[j] for i in range(4) for j in range(3) if pos[i] > neg[j])
    found = resampled_aurocs(pos, neg, kinds, pos_groups, neg_groups, 1, seed=7)[0]
    assert found == pytest.approx(won / (pos_weight.sum() * neg_weight.sum()))
