"""Statistics of repeated runs, as trtexec prints them; only the percentiles that their number carries."""

from __future__ import annotations

import math
from collections.abc import Sequence
from statistics import fmean, median, pstdev
from typing import Any

CONFIDENCE = 0.99
PERCENTILES = (90.0, 95.0, 99.0, 99.9)
SPREAD = 0.10
"""Largest relative spread of the medians of the windows of a stable result."""


def runs_needed(percentile: float) -> int:
    """The number of runs of which the largest lies above `percentile` with 99 % confidence: 459 for 99."""
    return math.ceil(math.log(1 - CONFIDENCE) / math.log(percentile / 100))


def percentile_of(ordered: Sequence[float], percentile: float) -> float:
    """The value that trtexec takes: of n sorted values the one at n - 1 - floor((1 - p / 100) n)."""
    beyond = math.floor((1 - percentile / 100) * len(ordered) + 1e-9)
    return ordered[max(len(ordered) - 1 - beyond, 0)]


def summarize(seconds: Sequence[float]) -> dict[str, Any]:
    """Count, extremes, mean, median, coefficient of variation and percentiles, in milliseconds."""
    ordered = sorted(seconds)
    mean = fmean(ordered)
    found = {
        "n": len(ordered),
        "min": _ms(ordered[0]),
        "max": _ms(ordered[-1]),
        "mean": _ms(mean),
        "median": _ms(median(ordered)),
        "variation": round(pstdev(ordered) / mean, 4) if mean else 0.0,
    }
    carried = [p for p in PERCENTILES if len(ordered) >= runs_needed(p)]
    return found | {f"p{p:g}": _ms(percentile_of(ordered, p)) for p in carried}


def spread(windows: Sequence[Sequence[float]]) -> float:
    """(largest - smallest) / middle of the medians of `windows`."""
    medians = sorted(median(window) for window in windows)
    middle = median(medians)
    return (medians[-1] - medians[0]) / middle if middle else 0.0


def is_stable(windows: Sequence[Sequence[float]]) -> bool:
    """Whether there are three windows or more, and their medians agree within `SPREAD`."""
    return len(windows) >= 3 and spread(windows) <= SPREAD


def _ms(seconds: float) -> float:
    return float(f"{1e3 * seconds:.4g}")
