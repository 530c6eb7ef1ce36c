"""Whether what two modalities say contradicts each other."""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import ArrayLike, NDArray

EVEN = 0.5
"""A label with more than this is more likely right than wrong."""


def divergence(one: ArrayLike, other: ArrayLike) -> NDArray[np.float64]:
    """Jensen-Shannon divergence of distributions (..., C), in bits: 0 for the same, 1 for disjoint ones.

    Lin, "Divergence measures based on the Shannon entropy", IEEE Trans. on Information Theory 37 (1991).
    """
    p, q = np.asarray(one, np.float64), np.asarray(other, np.float64)
    return np.asarray(_entropy((p + q) / 2) - (_entropy(p) + _entropy(q)) / 2)


def contradict(
    pairs: Mapping[str, tuple[ArrayLike, ArrayLike]], limits: Mapping[str, float], *, labeled: bool
) -> bool:
    """Whether two modalities contradict each other. `pairs` has the probabilities (C,) that each gives alone,
    as sure as it counts in their pair, by names such as ``video+voice``.

    They do if each is more likely right than wrong about another label, and their divergence reaches that of
    their pair in `limits` (`Calibration.conflict`). Without a label of both together (`labeled` False) any
    divergence suffices: the contradiction is then why.
    """
    for name, (p, q) in pairs.items():
        limit = limits.get(name)
        if limit is None or min(np.max(p), np.max(q)) <= EVEN or np.argmax(p) == np.argmax(q):
            continue
        if not labeled or float(divergence(p, q)) >= limit:
            return True
    return False


def _entropy(p: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.asarray(-(p * np.log2(np.maximum(p, 1e-12))).sum(-1))
