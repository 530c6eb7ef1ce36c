"""Probabilities that mean what they say: temperatures, and the confidence below which to abstain.

Temperature scaling (Guo et al., 2017), one temperature for each set of modalities, fitted on held-out
label-paired samples that follow the prior assumed in use.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

TEMPERATURES = np.geomspace(0.25, 8.0, 400)
COVERAGE = 0.9
"""Share of readings that are let through; the rest, the least sure, abstain."""


@dataclass(frozen=True, slots=True)
class Calibrated:
    """What one set of modalities came to."""

    temperature: float
    min_confidence: float
    ece: float
    accuracy: float
    covered_accuracy: float


def probabilities(
    logits: NDArray[np.float64], prior: NDArray[np.float64], temperature: float
) -> NDArray[np.float64]:
    """Softmax of ``logits / temperature + log prior``: (N, C) to (N, C)."""
    scaled = logits / temperature + np.log(prior)
    weights = np.exp(scaled - scaled.max(1, keepdims=True))
    return np.asarray(weights / weights.sum(1, keepdims=True))


def calibrate(
    logits: NDArray[np.float64], labels: NDArray[np.int64], prior: NDArray[np.float64]
) -> Calibrated:
    """Fit on `logits` (N, C) for a uniform prior and `labels` (N,) that follow `prior`."""
    rows = np.arange(len(labels))

    def loss(temperature: float) -> float:
        return -float(
            np.log(probabilities(logits, prior, temperature)[rows, labels] + 1e-12).mean()
        )

    temperature = float(min(TEMPERATURES, key=loss))
    found = probabilities(logits, prior, temperature)
    confidence, right = found.max(1), found.argmax(1) == labels
    threshold = float(np.quantile(confidence, 1.0 - COVERAGE))
    return Calibrated(
        temperature=round(temperature, 4),
        min_confidence=round(threshold, 4),
        ece=expected_calibration_error(confidence, right),
        accuracy=float(right.mean()),
        covered_accuracy=float(right[confidence >= threshold].mean()),
    )


def expected_calibration_error(
    confidence: NDArray[np.float64], right: NDArray[np.bool_], bins: int = 15
) -> float:
    """Mean gap between confidence and accuracy over equal-width bins, weighted by their size."""
    index = np.minimum((confidence * bins).astype(int), bins - 1)
    gaps = [
        abs(float(confidence[index == b].mean()) - float(right[index == b].mean()))
        * (index == b).sum()
        for b in range(bins)
        if (index == b).any()
    ]
    return float(sum(gaps) / len(confidence))
