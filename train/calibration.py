"""Temperature scaling (Guo et al., 2017), and the confidence under which a reading abstains.

One temperature is fitted for each set of modalities, on held-out samples that follow the assumed prior.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import softmax

from affectstream.engines.manifest import Calibration

TEMPERATURES = np.geomspace(0.25, 8.0, 400)
COVERAGE = 0.9
"""Share of readings that do not abstain: the most confident ones."""


@dataclass(frozen=True, slots=True)
class Calibrated:
    """Result for one set of modalities."""

    temperature: float
    min_confidence: float
    ece: float
    accuracy: float
    covered_accuracy: float
    """Accuracy of the readings that do not abstain."""


def probabilities(
    logits: NDArray[np.float64], prior: NDArray[np.float64], temperature: float
) -> NDArray[np.float64]:
    """Softmax of ``logits / temperature + log prior``: (N, C) to (N, C)."""
    return np.asarray(softmax(logits / temperature + np.log(prior), axis=1))


def calibrate(
    logits: NDArray[np.float64], labels: NDArray[np.int64], prior: NDArray[np.float64]
) -> Calibrated:
    """Fit on `logits` (N, C) for a uniform prior and `labels` (N,) that follow `prior`."""
    rows = np.arange(len(labels))

    def loss(temperature: float) -> float:
        found = probabilities(logits, prior, temperature)[rows, labels]
        return -float(np.log(found + 1e-12).mean())

    temperature = float(min(TEMPERATURES, key=loss))
    found = probabilities(logits, prior, temperature)
    confidence, correct = found.max(1), found.argmax(1) == labels
    threshold = float(np.quantile(confidence, 1.0 - COVERAGE))
    return Calibrated(
        temperature=round(temperature, 4),
        min_confidence=round(threshold, 4),
        ece=expected_calibration_error(confidence, correct),
        accuracy=float(correct.mean()),
        covered_accuracy=float(correct[confidence >= threshold].mean()),
    )


def drawn_by_prior(
    labels: NDArray[np.int64], prior: NDArray[np.float64], count: int = 20_000
) -> NDArray[np.int64]:
    """Numbers (about `count`,) of samples with `labels` (N,), drawn so that the labels follow `prior`."""
    generator = np.random.default_rng(7)
    rows = [
        generator.choice(members, round(count * share))
        for label, share in enumerate(prior)
        if (members := np.flatnonzero(labels == label)).size
    ]
    return np.concatenate(rows)


def manifest_calibration(
    prior: tuple[float, ...], calibrated: Mapping[str, Calibrated]
) -> Calibration:
    """The calibration as a bundle's manifest keeps it; keys are sets of modalities such as ``video+text``."""
    return Calibration(
        prior=prior,
        temperature={name: one.temperature for name, one in calibrated.items()},
        min_confidence={name: one.min_confidence for name, one in calibrated.items()},
    )


def expected_calibration_error(
    confidence: NDArray[np.float64], correct: NDArray[np.bool_], bins: int = 15
) -> float:
    """Mean gap between confidence and accuracy over equal-width bins, weighted by their size."""
    index = np.minimum((confidence * bins).astype(int), bins - 1)
    gaps = np.bincount(index, weights=confidence - correct)
    return float(np.abs(gaps).sum() / len(confidence))
