"""Moments of training at which sizes with schedules of their own are compared: at nearly equal updates, or epochs."""

import math
from collections.abc import Sequence

MOST_UNLIKE = 1.3  # moments are called equal up to this factor: schedules of checkpoints have steps of 1.25


def last_in_common(curves: Sequence[Sequence[dict]], axis: str) -> tuple[dict, ...]:
    """One checkpoint each of as many curves as possible, alike in `axis` up to MOST_UNLIKE: where one of them ends.

    Of the ends of all curves the one that most curves come near to, of these the last; then of each curve the checkpoint
    that is nearest to it. No share decides, so the moment favours no finding.

    Args:
        curves: a size's checkpoints each, with `axis` (above 0) and `rate`, the share. Where that is NaN (undefined), a
            checkpoint does not count.

    Empty where no two curves have a moment in common.
    """
    known = [points for curve in curves if (points := [point for point in curve if not math.isnan(point["rate"])])]
    best: tuple[dict, ...] = ()
    for end in sorted(max(point[axis] for point in curve) for curve in known):
        nearest = [min(curve, key=lambda point: abs(math.log(point[axis] / end))) for curve in known]
        alike = tuple(point for point in nearest if end / MOST_UNLIKE <= point[axis] <= end * MOST_UNLIKE)
        places = [point[axis] for point in alike]
        if len(alike) > 1 and max(places) <= MOST_UNLIKE * min(places) and len(alike) >= len(best):
            best = alike
    return best
