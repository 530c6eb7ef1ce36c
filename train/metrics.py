"""Figures of answers against the truth, the first of each kind being the one that picks an epoch."""

from __future__ import annotations

from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import (
    accuracy_score,
    balanced_accuracy_score,
    f1_score,
    recall_score,
    roc_auc_score,
)

Numbers = NDArray[Any]


def of_classes(probabilities: Numbers, truth: Numbers) -> dict[str, float]:
    """``accuracy``, ``macro_f1``, ``weighted_f1`` and ``uar``, the unweighted average recall.

    `probabilities` (n, C), `truth` (n,) class numbers, n at least 1. F1 is averaged over the classes that
    occur in either, recall over those that occur in `truth`.
    """
    guess, occurring = probabilities.argmax(1), np.unique(truth)

    def f1(average: str) -> float:
        return float(f1_score(truth, guess, average=average, zero_division=0))

    return {
        "accuracy": float(accuracy_score(truth, guess)),
        "macro_f1": f1("macro"),
        "weighted_f1": f1("weighted"),
        "uar": float(
            recall_score(truth, guess, labels=occurring, average="macro", zero_division=0)
        ),
    }


def of_truths(probabilities: Numbers, truth: Numbers) -> dict[str, float]:
    """``accuracy``, ``balanced_accuracy``, ``f1`` and, where both occur, ``auc``.

    `probabilities` (n,) of its being so, `truth` (n,) 0 or 1.
    """
    guess = probabilities >= 0.5
    both = 0 < truth.sum() < len(truth)
    found = {
        "accuracy": float(accuracy_score(truth, guess)),
        "f1": float(f1_score(truth, guess, zero_division=0)),
    }
    if both:
        found["balanced_accuracy"] = float(balanced_accuracy_score(truth, guess))
        found["auc"] = float(roc_auc_score(truth, probabilities))
    return found


def of_numbers(values: Numbers, truth: Numbers) -> dict[str, float]:
    """``ccc``, Lin's (1989) concordance correlation, ``pearson`` and ``mae``, the mean absolute error.

    Both are (n,). A correlation with what does not vary is 0.
    """
    values, truth = values.astype(np.float64), truth.astype(np.float64)
    together = float(((values - values.mean()) * (truth - truth.mean())).mean())
    spread = float(values.var() + truth.var() + (values.mean() - truth.mean()) ** 2)
    deviations = float(values.std() * truth.std())
    return {
        "ccc": 2.0 * together / spread if spread > 0.0 else 0.0,
        "pearson": together / deviations if deviations > 0.0 else 0.0,
        "mae": float(np.abs(values - truth).mean()),
    }


def of_amounts(values: Numbers, truth: Numbers) -> dict[str, float]:
    """Means of `of_numbers` over the labels; both (n, labels), NaN where there is no truth.

    The correlations are over the labels whose truth varies, 0 where none does.
    """
    known = ~np.isnan(truth)
    each = {
        label: of_numbers(values[known[:, label], label], truth[known[:, label], label])
        for label in np.flatnonzero(known.any(0))
    }
    varies = [label for label in each if np.ptp(truth[known[:, label], label]) > 0.0]
    found = {
        name: float(np.mean([each[label][name] for label in varies])) if varies else 0.0
        for name in ("ccc", "pearson")
    }
    return {**found, "mae": float(np.mean([one["mae"] for one in each.values()]))}
