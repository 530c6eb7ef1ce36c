"""Coefficients of agreement between two coders, and between two raters.

All take two columns (n,) over the same moments. Both coders are treated alike: neither is the truth.
"""

from __future__ import annotations

import math
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

Codes = NDArray[np.int64]
Values = NDArray[np.float64]


def table(first: Codes, second: Codes, count: int) -> NDArray[np.int64]:
    """(count, count) how often the first coder's code (row) meets the second's (column)."""
    return np.bincount(first * count + second, minlength=count * count).reshape(count, count)


def cohen_kappa(counts: NDArray[np.int64]) -> float:
    """Cohen's kappa (1960) of a table; nan if both coders use one code only."""
    share = counts / max(1, counts.sum())
    by_chance = float(share.sum(1) @ share.sum(0))
    return (
        math.nan if by_chance >= 1.0 else (float(np.trace(share)) - by_chance) / (1.0 - by_chance)
    )


def krippendorff_alpha(counts: NDArray[np.int64]) -> float:
    """Krippendorff's alpha for nominal codes of two coders (2011); nan if one code only is used."""
    coincidences = counts + counts.T
    totals = coincidences.sum(1)
    n = int(totals.sum())
    by_chance = n * n - int(totals @ totals)
    if by_chance == 0:
        return math.nan
    return 1.0 - (n - 1) * (n - int(np.trace(coincidences))) / by_chance


def concordance(first: Values, second: Values) -> float:
    """Lin's concordance correlation (1989): 1 only if the values are equal; nan without any variance."""
    spread = float(first.var() + second.var() + (first.mean() - second.mean()) ** 2)
    return (
        2 * float(np.mean((first - first.mean()) * (second - second.mean()))) / spread
        if spread
        else math.nan
    )


def pearson(first: Values, second: Values) -> float:
    """Pearson's correlation; nan if either does not vary."""
    if not first.std() or not second.std():
        return math.nan
    return float(np.corrcoef(first, second)[0, 1])


def of_ratings(first: Values, second: Values) -> Mapping[str, float]:
    """What is reported of two ratings."""
    return {
        "ccc": concordance(first, second),
        "pearson": pearson(first, second),
        "mean difference": float(np.mean(second - first)),
    }


def of_codes(first: Codes, second: Codes, count: int) -> dict[str, float]:
    """What is reported of two codings, moment by moment."""
    counts = table(first, second, count)
    return {
        "agreement": float(np.trace(counts) / max(1, counts.sum())),
        "kappa": cohen_kappa(counts),
        "alpha": krippendorff_alpha(counts),
    }
