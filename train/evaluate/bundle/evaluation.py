"""What the predictions of one bundle are worth: metrics with intervals, by class, calibration, baselines."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import precision_recall_fscore_support, roc_auc_score

from affectstream.train.calibration import expected_calibration_error
from affectstream.train.metrics import classification
from affectstream.train.predict.predictions import Predictions
from affectstream.train.statistics import Interval, bootstrap
from affectstream.train.tasks import Task

BINS = 10
COVERAGES = np.arange(1, 21) / 20


@dataclass(frozen=True, slots=True)
class ClassRow:
    """One class against the rest."""

    label: str
    samples: int
    precision: float
    recall: float
    f1: float
    auc: float | None
    """Area under the ROC curve; None if all samples, or none, are of this class."""


@dataclass(frozen=True, slots=True)
class ReliabilityBin:
    """Predictions whose confidence is in one tenth of [0, 1]."""

    confidence: float
    accuracy: float
    count: int


@dataclass(frozen=True, slots=True, eq=False)
class Classes:
    """What only predictions of classes have."""

    rows: tuple[ClassRow, ...]
    confusion: NDArray[np.int64]
    """(C, C) truth in rows."""
    reliability: tuple[ReliabilityBin, ...]
    coverage: tuple[tuple[float, float], ...]
    """Accuracy of the most confident share of the predictions, for each share."""
    majority: Mapping[str, float]
    """Metrics of always predicting the most frequent class."""


@dataclass(frozen=True, slots=True, eq=False)
class Evaluation:
    """One task on one split."""

    task: str
    samples: int
    by: str
    """What the intervals draw: ``participant`` or ``sample``."""
    metrics: Mapping[str, Interval]
    classes: Classes | None


def evaluate_predictions(predictions: Predictions) -> list[Evaluation]:
    """Evaluate each task that has two labeled samples or more."""
    found = []
    for task in predictions.tasks:
        truth, predicted = predictions.truth[task.name], predictions.predicted[task.name]
        known = task.labeled(truth)
        if known.sum() < 2:
            continue
        truth, predicted = truth[known], predicted[known]
        groups = predictions.groups(known)
        is_class = task.target == "class"
        metrics = _class_metrics if is_class else task.metrics
        found.append(
            Evaluation(
                task.name,
                len(truth),
                groups.by,
                bootstrap(metrics, truth, predicted, groups=groups),
                _classes(task, truth, predicted) if is_class else None,
            )
        )
    return found


def _class_metrics(truth: NDArray[Any], chances: NDArray[Any]) -> dict[str, float]:
    guess = chances.argmax(1)
    ece = expected_calibration_error(chances.max(1), guess == truth)
    return {**classification(truth, guess), "ece": ece}


def class_rows(task: Task, truth: NDArray[Any], chances: NDArray[Any]) -> tuple[ClassRow, ...]:
    """Each class of `task` against the rest, of labels (n,) and probabilities (n, C)."""
    numbers = range(len(task.labels))
    columns = precision_recall_fscore_support(
        truth, chances.argmax(1), labels=numbers, zero_division=0
    )
    return tuple(
        ClassRow(label, int(n), float(p), float(r), float(f), _auc(truth == i, chances[:, i]))
        for i, (label, p, r, f, n) in enumerate(zip(task.labels, *columns, strict=True))
    )


def _classes(task: Task, truth: NDArray[Any], chances: NDArray[Any]) -> Classes:
    guess, count = chances.argmax(1), len(task.labels)
    most = int(np.bincount(truth, minlength=count).argmax())
    return Classes(
        rows=class_rows(task, truth, chances),
        confusion=np.bincount(truth * count + guess, minlength=count * count).reshape(count, count),
        reliability=_reliability(chances.max(1), guess == truth),
        coverage=_coverage(chances.max(1), guess == truth),
        majority=classification(truth, np.full(len(truth), most)),
    )


def _auc(is_class: NDArray[np.bool_], chance: NDArray[Any]) -> float | None:
    return float(roc_auc_score(is_class, chance)) if 0 < is_class.sum() < len(is_class) else None


def _reliability(
    confidence: NDArray[Any], correct: NDArray[np.bool_]
) -> tuple[ReliabilityBin, ...]:
    index = np.minimum((confidence * BINS).astype(int), BINS - 1)
    return tuple(
        ReliabilityBin(
            float(confidence[index == i].mean()), float(correct[index == i].mean()), int(n)
        )
        for i, n in enumerate(np.bincount(index, minlength=BINS))
        if n
    )


def _coverage(
    confidence: NDArray[Any], correct: NDArray[np.bool_]
) -> tuple[tuple[float, float], ...]:
    ordered = correct[np.argsort(-confidence, kind="stable")]
    counts = np.maximum(1, np.round(COVERAGES * len(ordered)).astype(int))
    return tuple(
        (float(share), float(ordered[:n].mean()))
        for share, n in zip(COVERAGES, counts, strict=True)
    )
