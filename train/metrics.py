"""Metrics by name: predictions against the truth. By default the first metric of each function picks the best
epoch."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from affectstream.stream.errors import OptionError

Array = NDArray[Any]
LOWER_IS_BETTER = ("mae", "valid_loss")
_ABBREVIATIONS = frozenset({"auc", "ccc", "ece", "f1", "mae", "rmse", "uar"})


def metric_title(name: str) -> str:
    """The name of a metric as people write it: ``macro_f1`` is macro F1, ``uar`` UAR."""
    words = name.replace("_", " ").split(" ")
    return " ".join(word.upper() if word in _ABBREVIATIONS else word for word in words)


def score(metrics: Mapping[str, float], monitor: str | None) -> float:
    """What picks the best epoch, higher is better: the metric `monitor`, negated if lower is better. None
    takes the first metric as it is. Raises `OptionError` for a metric that is not there."""
    if monitor is None:
        return next(iter(metrics.values()))
    if monitor not in metrics:
        raise OptionError(f"--monitor {monitor}: expected one of {', '.join(metrics)}")
    lower_is_better = monitor.rpartition("/")[2] in LOWER_IS_BETTER
    return -metrics[monitor] if lower_is_better else metrics[monitor]


def classification(truth: Array, guess: Array) -> dict[str, float]:
    """``accuracy``, ``macro_f1``, ``weighted_f1`` and ``uar`` (unweighted average recall).

    Both are class numbers (n,), n at least 1. F1 is averaged over the classes that occur in either, recall
    over those in `truth`. Equal to scikit-learn's, but fast enough for thousands of bootstrap draws.
    """
    classes = int(max(truth.max(), guess.max())) + 1
    confusion = np.bincount(truth * classes + guess, minlength=classes * classes)
    table = confusion.reshape(classes, classes).astype(np.float64)
    correct, actual, predicted = table.diagonal(), table.sum(1), table.sum(0)
    f1 = 2.0 * correct / np.maximum(actual + predicted, 1.0)
    return {
        "accuracy": float(correct.sum() / actual.sum()),
        "macro_f1": float(f1[actual + predicted > 0].mean()),
        "weighted_f1": float((f1 * actual).sum() / actual.sum()),
        "uar": float((correct[actual > 0] / actual[actual > 0]).mean()),
    }


def binary(truth: Array, probabilities: Array) -> dict[str, float]:
    """``accuracy``, ``f1`` and, where both classes occur, ``balanced_accuracy`` and ``auc``. `truth` (n,) is
    0 or 1, `probabilities` (n,) are those of 1."""
    from sklearn import metrics

    guess = probabilities >= 0.5
    found = {
        "accuracy": float(metrics.accuracy_score(truth, guess)),
        "f1": float(metrics.f1_score(truth, guess, zero_division=0)),
    }
    if 0 < truth.sum() < len(truth):
        found["balanced_accuracy"] = float(metrics.balanced_accuracy_score(truth, guess))
        found["auc"] = float(metrics.roc_auc_score(truth, probabilities))
    return found


def regression(truth: Array, values: Array) -> dict[str, float]:
    """``ccc`` (Lin's concordance correlation, 1989), ``pearson`` and ``mae`` (mean absolute error). Both are
    (n,). The correlation with a constant is 0."""
    values, truth = values.astype(np.float64), truth.astype(np.float64)
    covariance = float(((values - values.mean()) * (truth - truth.mean())).mean())
    spread = float(values.var() + truth.var() + (values.mean() - truth.mean()) ** 2)
    deviations = float(values.std() * truth.std())
    return {
        "ccc": 2.0 * covariance / spread if spread > 0.0 else 0.0,
        "pearson": covariance / deviations if deviations > 0.0 else 0.0,
        "mae": float(np.abs(values - truth).mean()),
    }


def multilabel_regression(truth: Array, values: Array) -> dict[str, float]:
    """Means of `regression` over the labels; both (n, labels), `truth` NaN where unlabeled. The correlations
    are over the labels whose truth varies, 0 if none does."""
    known = ~np.isnan(truth)
    by_label = {
        label: regression(truth[known[:, label], label], values[known[:, label], label])
        for label in np.flatnonzero(known.any(0))
    }
    varying = [label for label in by_label if np.ptp(truth[known[:, label], label]) > 0.0]
    correlations = {
        name: float(np.mean([by_label[label][name] for label in varying])) if varying else 0.0
        for name in ("ccc", "pearson")
    }
    return {**correlations, "mae": float(np.mean([one["mae"] for one in by_label.values()]))}


def line(truth: Array, found: Array) -> tuple[float, float, float]:
    """Correlation of `found` (n,) with `truth` (n,), and slope and offset of the line through them."""
    across, up = truth - truth.mean(), found - found.mean()
    shared, squares = float(across @ up), float(across @ across)
    slope = shared / max(1e-9, squares)
    correlation = shared / max(1e-9, math.sqrt(squares * float(up @ up)))
    return correlation, slope, float(found.mean()) - slope * float(truth.mean())
