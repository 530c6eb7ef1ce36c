"""When the sessions of a measurement begin, which decides how their hops meet at the engines."""

from __future__ import annotations

import random
from itertools import accumulate
from typing import Literal

Arrivals = Literal["paced", "poisson"]
HOP_S = 0.5
"""Within this time all sessions begin, on average: their hops then come in the same order again and again."""
_SEED = 1


def begin_times(count: int, arrivals: Arrivals) -> list[float]:
    """Seconds at which each of `count` sessions begins.

    Paced: evenly over a hop, so that no two hops meet. Poisson: at random with the same mean distance, so
    that some meet by chance, as in MLPerf's scenario Server; the same ones in every run.
    """
    if arrivals == "paced":
        return [HOP_S * number / count for number in range(count)]
    draw = random.Random(_SEED)
    return list(accumulate(draw.expovariate(count / HOP_S) for _ in range(count)))
