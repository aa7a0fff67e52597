"""Moments of training at which sizes with schedules of their own are compared: at nearly equal updates, or epochs."""

import math
from collections.abc import Sequence
from itertools import product

MOST_UNLIKE = 1.3  # moments are called equal up to this factor: schedules of checkpoints have steps of 1.25


def nearest_to_half(curves: Sequence[Sequence[dict]], axis: str) -> tuple[dict, ...]:
    """One checkpoint of each curve, alike in `axis` up to MOST_UNLIKE: of these, where the mean share lies nearest to one half.

    Where none or all clips are copied, sizes cannot be told apart. `curves`: a size's checkpoints each, with `axis` (above 0)
    and `rate`, the share, which is NaN where it is undefined. Empty where no checkpoints are alike and have a share.
    """
    best: tuple[float, tuple[dict, ...]] = (math.inf, ())
    for points in product(*([point for point in curve if not math.isnan(point["rate"])] for curve in curves)):
        places = [point[axis] for point in points]
        from_half = abs(sum(point["rate"] for point in points) / len(points) - 0.5)
        if max(places) <= MOST_UNLIKE * min(places) and from_half < best[0]:
            best = from_half, points
    return best[1]
