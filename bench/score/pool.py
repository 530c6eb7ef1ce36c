"""A log-linear pool of modalities: a gain and a bias for each class, and a temperature for each set.

It is what the recipe `evidence` and `train export` fit, without epochs, so that it can be fitted again
without the people on whom it is measured.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.optimize import minimize
from scipy.special import logsumexp

from affectstream.engines.labels import subsets
from affectstream.train.calibration import Calibrated, calibrate, drawn_by_prior, people_in

Logits = NDArray[np.float64]
Labels = NDArray[np.int64]
_SHRINK = 1e-3
"""Of the squared log gains and biases."""


@dataclass(frozen=True, slots=True, eq=False)
class Pool:
    """A fitted pool. `calibrated` has each set of modalities, such as ``video+voice``."""

    gains: dict[str, float]
    biases: dict[str, Logits]
    calibrated: dict[str, Calibrated]

    def logits(self, alone: Mapping[str, Logits], subset: Sequence[str]) -> Logits:
        """The fused logits (N, C) of the modalities of `subset`, before the temperature."""
        parts = [self.gains[m] * alone[m] + self.biases[m] for m in subset]
        return np.asarray(np.sum(parts, axis=0))


def fit_pool(
    alone: Mapping[str, Logits],
    labels: Labels,
    prior: NDArray[np.float64],
    people: Sequence[str],
) -> Pool:
    """Fit on the logits (N, C) of each modality alone and `labels` (N,); every set of modalities and every
    class counts the same.

    For the temperatures the labels follow `prior`, and the `people` who speak count the same
    (see `people_in`).
    """
    names, classes = list(alone), len(prior)
    counts = np.bincount(labels, minlength=classes)
    weights = 1.0 / np.maximum(counts[labels], 1)
    weights /= weights.sum()
    truth = np.eye(classes)[labels]
    sets = sorted(subsets(names), key=len)

    def loss(values: NDArray[np.float64]) -> tuple[float, NDArray[np.float64]]:
        gains = np.exp(values[: len(names)])
        biases = values[len(names) :].reshape(len(names), classes)
        total = _SHRINK * float(values @ values)
        gradient = 2 * _SHRINK * values
        parts = {m: gains[n] * alone[m] + biases[n] for n, m in enumerate(names)}
        for chosen in sets:
            fused = np.sum([parts[m] for m in chosen], axis=0)
            log_p = fused - logsumexp(fused, axis=1, keepdims=True)
            total -= float((weights * (log_p * truth).sum(1)).sum()) / len(sets)
            error = weights[:, None] * (np.exp(log_p) - truth) / len(sets)
            for n in map(names.index, chosen):
                gradient[n] += gains[n] * float((error * alone[names[n]]).sum())
                first = len(names) + n * classes
                gradient[first : first + classes] += error.sum(0)
        return total, gradient

    start = np.zeros(len(names) * (1 + classes))
    solution = minimize(loss, start, jac=True, method="L-BFGS-B").x
    biases = solution[len(names) :].reshape(len(names), classes)
    pool = Pool(
        dict(zip(names, np.exp(solution[: len(names)]).tolist(), strict=True)),
        dict(zip(names, biases, strict=True)),
        {},
    )
    limit: float | None = None
    for subset in subsets(names):
        drawn = drawn_by_prior(labels, prior, people_in(subset, names, people))
        fused = pool.logits(alone, subset)[drawn]
        pool.calibrated["+".join(subset)] = found = calibrate(fused, labels[drawn], prior, limit)
        limit = found.min_confidence
    return pool
