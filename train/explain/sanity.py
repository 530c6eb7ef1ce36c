"""Whether maps depend on what a network has learned: are they other ones with random weights?

Adebayo et al., Sanity Checks for Saliency Maps, NeurIPS 2018.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import spearmanr

DRAWS = 3
"""Networks with random weights that a map is compared with."""
ALIKE = 0.6
"""From this correlation on, a map hardly depends on what was learned."""
LEAST = 8
"""Maps of fewer values correlate by chance and are not compared."""

Maps = Mapping[str, NDArray[np.float64]]


@dataclass(frozen=True, slots=True)
class Sanity:
    """One map against those of random weights."""

    part: str
    correlation: float
    """Mean absolute rank correlation, 0 to 1."""

    @property
    def depends(self) -> bool:
        """Whether the map depends on what was learned."""
        return self.correlation < ALIKE


def compare_maps(learned: Maps, random: Sequence[Maps]) -> list[Sanity]:
    """Each map of `learned` against those of the same name in each of `random`.

    A map that is the same everywhere shows nothing, so it is not compared: it would pass with any weights.
    """
    found = []
    for part, values in learned.items():
        if values.size < LEAST or np.ptp(values) == 0:
            continue
        others = [one[part] for one in random if part in one and one[part].shape == values.shape]
        if others:
            alike = [_correlation(values, other) for other in others]
            found.append(Sanity(part, round(float(np.mean(alike)), 4)))
    return found


def _correlation(one: NDArray[np.float64], other: NDArray[np.float64]) -> float:
    """The absolute rank correlation; 0 if `other` is the same everywhere."""
    if np.ptp(other) == 0:
        return 0.0
    return abs(float(spearmanr(one.ravel(), other.ravel()).statistic))
