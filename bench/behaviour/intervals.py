"""95 % intervals: of a share, and by resampling groups (recordings, portraits, people)."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from typing import Any

import numpy as np

_Z = 1.96
_DRAWS = 1000


def share(hits: int, n: int) -> tuple[float, float] | None:
    """Wilson's interval of a share, in percent; None where nothing was counted."""
    if not n:
        return None
    p, z2 = hits / n, _Z**2
    middle = (p + z2 / (2 * n)) / (1 + z2 / n)
    half = _Z * math.sqrt(p * (1 - p) / n + z2 / (4 * n * n)) / (1 + z2 / n)
    return 100 * max(0.0, middle - half), 100 * min(1.0, middle + half)


def bootstrap(
    statistic: Callable[[Sequence[Any]], float], groups: Sequence[Any]
) -> tuple[float, float] | None:
    """The interval of `statistic` when whole `groups` are drawn anew; None with fewer than 3 groups.

    Draws for which the statistic is not finite are left out. The seed is fixed.
    """
    if len(groups) < 3:
        return None
    random = np.random.default_rng(0)
    values = []
    for _ in range(_DRAWS):
        drawn = [groups[i] for i in random.integers(0, len(groups), len(groups))]
        value = statistic(drawn)
        if math.isfinite(value):
            values.append(value)
    if not values:
        return None
    low, high = np.percentile(values, [2.5, 97.5])
    return float(low), float(high)
