"""Temperature scaling (Guo et al., 2017), and the confidence that a label needs.

One temperature is fitted for each set of modalities, on held-out samples that follow the assumed prior. All
sets have the same limit: a label must be more likely right than wrong, or, if the bundle with all modalities
is rarely so sure, be among its most confident `COVERAGE`. A modality that is added does not raise the limit.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import softmax

from affectstream.engines.manifest import Calibration

TEMPERATURES = np.geomspace(0.25, 8.0, 400)
COVERAGE = 0.9
"""Share of readings with all modalities that have a label at least: the most confident ones."""
EVEN = 0.5
"""The highest limit: a label is more likely right than wrong."""
LOST = 0.02
"""Share of the labels that may be lost to contradictions where every modality shows the same emotion."""


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
    logits: NDArray[np.float64],
    labels: NDArray[np.int64],
    prior: NDArray[np.float64],
    limit: float | None = None,
) -> Calibrated:
    """Fit on `logits` (N, C) for a uniform prior and `labels` (N,) that follow `prior`.

    `limit` is the confidence that a label needs; None: the highest, up to `EVEN`, that `COVERAGE` reach.
    """
    rows = np.arange(len(labels))

    def loss(temperature: float) -> float:
        found = probabilities(logits, prior, temperature)[rows, labels]
        return -float(np.log(found + 1e-12).mean())

    temperature = float(min(TEMPERATURES, key=loss))
    found = probabilities(logits, prior, temperature)
    confidence, correct = found.max(1), found.argmax(1) == labels
    threshold = (
        min(EVEN, float(np.quantile(confidence, 1.0 - COVERAGE))) if limit is None else limit
    )
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


def contradictory(alone: Sequence[NDArray[np.float64]]) -> NDArray[np.bool_]:
    """Rows (N,) in which two modalities name different labels, each more likely right than wrong.

    `alone` are the probabilities (N, C) of each modality alone.
    """
    named = np.stack([np.where(p.max(1) > EVEN, p.argmax(1), -1) for p in alone], 1)
    highest = named.max(1)
    return np.asarray(((named >= 0) & (named != highest[:, None])).any(1), np.bool_)


def conflict_limit(
    fused: NDArray[np.float64], alone: Sequence[NDArray[np.float64]], limit: float
) -> float:
    """The confidence that a label needs where modalities contradict each other (`contradictory`).

    It is the highest that takes away no more than the share `LOST` of the labels of samples whose modalities
    all show the same emotion; `fused` (N, C) and `alone` are their probabilities.
    """
    confidence = fused.max(1)
    labeled = confidence >= limit
    against = np.sort(confidence[labeled & contradictory(alone)])
    allowed = int(LOST * labeled.sum())
    return round(float(against[allowed]) if allowed < len(against) else 1.0, 4)


def manifest_calibration(
    prior: tuple[float, ...],
    calibrated: Mapping[str, Calibrated],
    conflict: float | None = None,
    neutral: Mapping[str, tuple[float, ...]] | None = None,
) -> Calibration:
    """The calibration as a bundle's manifest keeps it; keys are sets of modalities such as ``video+text``."""
    return Calibration(
        prior=prior,
        temperature={name: one.temperature for name, one in calibrated.items()},
        min_confidence={name: one.min_confidence for name, one in calibrated.items()},
        conflict=conflict,
        neutral=dict(neutral or {}),
    )


def expected_calibration_error(
    confidence: NDArray[np.float64], correct: NDArray[np.bool_], bins: int = 15
) -> float:
    """Mean gap between confidence and accuracy over equal-width bins, weighted by their size."""
    index = np.minimum((confidence * bins).astype(int), bins - 1)
    gaps = np.bincount(index, weights=confidence - correct)
    return float(np.abs(gaps).sum() / len(confidence))
