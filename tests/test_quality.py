"""The kernel distance against its definition written out, and on sets that are and are not alike."""

import numpy as np
import pytest

from helpers.quality import kernel_distance


def test_it_is_the_unbiased_estimate_written_out():
    rng = np.random.default_rng(0)
    a, b = rng.standard_normal((4, 3)), rng.standard_normal((5, 3))
    a, b = (x / np.linalg.norm(x, axis=1, keepdims=True) for x in (a, b))

    def kernel(x, y):
        return (float(x @ y) + 1) ** 3

    same = [np.mean([kernel(x, y) for i, x in enumerate(s) for j, y in enumerate(s) if i != j]) for s in (a, b)]
    assert kernel_distance(a, b) == pytest.approx(sum(same) - 2 * np.mean([kernel(x, y) for x in a for y in b]))


def test_samples_of_one_distribution_are_at_zero_and_others_are_not():
    rng = np.random.default_rng(1)
    shift = np.full(8, 0.7)
    alike = [kernel_distance(rng.standard_normal((60, 8)), rng.standard_normal((60, 8))) for _ in range(60)]
    apart = [kernel_distance(rng.standard_normal((60, 8)), shift + rng.standard_normal((60, 8))) for _ in range(20)]
    assert abs(np.mean(alike)) < 3 * np.std(alike) / np.sqrt(len(alike))  # unbiased: some lie below zero
    assert min(alike) < 0 and min(apart) > max(alike)


def test_bad_embeddings_are_refused():
    good = np.ones((3, 4))
    for bad in (np.ones(4), np.ones((3, 5)), np.ones((1, 4))):
        with pytest.raises(ValueError, match="expected .N >= 2, E."):
            kernel_distance(bad, good)
    with pytest.raises(ValueError, match="got NaN"):
        kernel_distance(np.full((3, 4), np.nan), good)
