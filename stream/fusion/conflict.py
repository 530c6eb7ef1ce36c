"""Whether what two modalities say contradicts each other."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from itertools import combinations

import numpy as np
from numpy.typing import ArrayLike, NDArray

from affectstream.engines.labels import Modality

EVEN = 0.5
"""A label with more than this is more likely right than wrong."""


def divergence(one: ArrayLike, other: ArrayLike) -> NDArray[np.float64]:
    """Jensen-Shannon divergence of distributions (..., C), in bits: 0 for the same, 1 for disjoint ones.

    Lin, "Divergence measures based on the Shannon entropy", IEEE Trans. on Information Theory 37 (1991).
    """
    p, q = np.asarray(one, np.float64), np.asarray(other, np.float64)
    return np.asarray(_entropy((p + q) / 2) - (_entropy(p) + _entropy(q)) / 2)


def contradict(
    alone: Mapping[Modality, Sequence[float]], limits: Mapping[str, float], *, labeled: bool
) -> bool:
    """Whether two modalities contradict each other, from the probabilities that each gives alone.

    They do if each is more likely right than wrong about another label, and their divergence reaches that of
    their pair in `limits` (`Calibration.conflict`). Without a label of both together (`labeled` False) any
    divergence suffices: the contradiction is then why.
    """
    for one, other in combinations(alone, 2):
        p, q = alone[one], alone[other]
        limit = limits.get(f"{one}+{other}")
        if limit is None or min(max(p), max(q)) <= EVEN or np.argmax(p) == np.argmax(q):
            continue
        if not labeled or float(divergence(p, q)) >= limit:
            return True
    return False


def _entropy(p: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(-(p * np.log2(np.maximum(p, 1e-12))).sum(-1))
