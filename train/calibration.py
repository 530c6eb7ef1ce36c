"""Temperature scaling (Guo et al., 2017), and the confidence that a label needs.

One temperature is fitted for each set of modalities, on held-out samples that follow the assumed prior and
whose people count the same. All sets have the same limit: a label must be more likely right than wrong, or,
if the bundle with all modalities is rarely so sure, be among its most confident `COVERAGE`. A modality that
is added does not raise the limit.
"""

from __future__ import annotations

import math
from collections.abc import Collection, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import softmax

from affectstream.stream.fusion.conflict import divergence

TEMPERATURES = np.geomspace(0.25, 8.0, 400)
COVERAGE = 0.9
"""Share of readings with all modalities that have a label at least: the most confident ones."""
EVEN = 0.5
"""The highest limit: a label is more likely right than wrong."""
LOST = 0.03
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
    """Fit on `logits` (N, C) for a uniform prior and `labels` (N,) that follow `prior`. `limit` is the
    confidence that a label needs; None: the highest, up to `EVEN`, that `COVERAGE` reach."""
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
    covered = confidence >= threshold
    return Calibrated(
        temperature=round(temperature, 4),
        min_confidence=round(threshold, 4),
        ece=expected_calibration_error(confidence, correct),
        accuracy=float(correct.mean()),
        covered_accuracy=float(correct[covered].mean()) if covered.any() else float("nan"),
    )


def drawn_by_prior(
    labels: NDArray[np.int64],
    prior: NDArray[np.float64],
    people: Sequence[str | None] | None = None,
    count: int = 20_000,
) -> NDArray[np.int64]:
    """Numbers (about `count`,) of samples with `labels` (N,), drawn so that the labels follow `prior`.

    With `people` (N,) those who show an emotion are drawn equally often, since the next person is a new one:
    a person of many samples would otherwise decide the calibration. Samples without a person count as those
    of one.
    """
    generator = np.random.default_rng(7)
    known = ["" if person is None else person for person in people or [None] * len(labels)]
    numbers = np.unique(np.asarray(known, str), return_inverse=True)[1]
    rows = []
    for label, share in enumerate(prior):
        members = np.flatnonzero(labels == label)
        if members.size:
            weights = 1.0 / np.bincount(numbers[members])[numbers[members]]
            rows.append(generator.choice(members, round(count * share), p=weights / weights.sum()))
    return np.concatenate(rows)


def people_in(
    subset: Sequence[str], modalities: Collection[str], people: Sequence[str | None]
) -> Sequence[str | None] | None:
    """Who counts as one person in `subset` of all `modalities`, for `drawn_by_prior`; None: nobody.

    In label-paired samples `people` (N,) are those who speak. Faces and words are then of others, so without
    the voice each sample counts by itself.
    """
    return people if "voice" in subset or "voice" not in modalities else None


def contradictory(one: NDArray[np.float64], other: NDArray[np.float64]) -> NDArray[np.bool_]:
    """Rows (N,) in which two modalities name different labels, each more likely right than wrong. `one` and
    `other` are the probabilities (N, C) of each alone."""
    sure = (one.max(1) > EVEN) & (other.max(1) > EVEN)
    return np.asarray(sure & (one.argmax(1) != other.argmax(1)), np.bool_)


def conflict_limit(
    fused: NDArray[np.float64], one: NDArray[np.float64], other: NDArray[np.float64], limit: float
) -> float:
    """The divergence from which on two modalities contradict each other, for `Calibration.conflict`.

    It is the lowest that takes away no more than the share `LOST` of the labels of samples whose modalities
    show the same emotion. `fused`, `one` and `other` (N, C) are their probabilities; a label needs `limit`.
    """
    labeled = fused.max(1) >= limit
    diverging = np.sort(divergence(one, other)[labeled & contradictory(one, other)])[::-1]
    allowed = int(LOST * labeled.sum())
    if allowed >= len(diverging):
        return 0.0
    return min(1.0, math.ceil(1e4 * diverging[allowed]) / 1e4)


def expected_calibration_error(
    confidence: NDArray[np.float64], correct: NDArray[np.bool_], bins: int = 15
) -> float:
    """Mean gap between confidence and accuracy over equal-width bins, weighted by their size."""
    index = np.minimum((confidence * bins).astype(int), bins - 1)
    gaps = np.bincount(index, weights=confidence - correct)
    return float(np.abs(gaps).sum() / len(confidence))
