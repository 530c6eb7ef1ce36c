"""What the predictions of one bundle are worth: metrics with intervals, by class, calibration, baselines."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray
from sklearn.metrics import precision_recall_fscore_support, roc_auc_score

from affectstream.train.calibration import expected_calibration_error
from affectstream.train.metrics import binary, classification
from affectstream.train.predict.predictions import Predictions
from affectstream.train.statistics import Groups, Interval, bootstrap, group_means
from affectstream.train.tasks import Task

BINS = 10
COVERAGES = np.arange(1, 21) / 20
_YES = {"attention": "attentive"}
"""What a yes of a binary task means."""
NO_INTERVAL = Interval(math.nan, math.nan, math.nan)


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
    intervals: Mapping[str, Interval] = field(default_factory=dict)
    """Of these four by name, as far as they are defined."""


@dataclass(frozen=True, slots=True)
class ReliabilityBin:
    """Predictions whose confidence is in one tenth of [0, 1]."""

    confidence: float
    accuracy: float
    count: int
    interval: Interval
    """Of the accuracy."""


@dataclass(frozen=True, slots=True)
class OverPeople:
    """The accuracy of each person, over people: what to expect of the next one."""

    people: int
    mean: Interval
    deviation: float
    """Standard deviation (n - 1)."""
    lowest: float
    highest: float


@dataclass(frozen=True, slots=True, eq=False)
class Classes:
    """What only predictions of classes have."""

    rows: tuple[ClassRow, ...]
    confusion: NDArray[np.int64]
    """(C, C) truth in rows."""
    reliability: tuple[ReliabilityBin, ...]
    coverage: tuple[tuple[float, float], ...]
    """Accuracy of the most confident share of the predictions, for each share."""
    coverage_intervals: tuple[Interval, ...]
    """Of these accuracies."""
    majority: Mapping[str, Interval]
    """Metrics of always predicting the most frequent class."""
    over_people: OverPeople | None
    """None where people are not known."""


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
    for task, truth, predicted, groups in _tasks(predictions):
        metrics = _intervals(task, truth, predicted, groups)
        chosen = as_classes(task, truth, predicted)
        classes = None if chosen is None else _classes(*chosen, groups)
        found.append(Evaluation(task.name, len(truth), groups.by, metrics, classes))
    return found


def as_classes(
    task: Task, truth: NDArray[Any], predicted: NDArray[Any]
) -> tuple[tuple[str, ...], NDArray[np.int64], NDArray[Any]] | None:
    """Labels, labels as numbers (n,) and probabilities (n, C) of labeled rows; None for a task that is no
    choice. Yes or no are two classes."""
    if task.target == "class":
        return task.labels, truth, predicted
    if task.target == "binary":
        labels = tuple(f"{prefix}{_YES[task.name]}" for prefix in ("not ", ""))
        yes = np.where(predicted == 0.5, np.nextafter(0.5, 1.0), predicted)  # as in the metrics
        return labels, truth.astype(np.int64), np.stack([1 - yes, yes], 1)
    return None


def metric_intervals(predictions: Predictions) -> dict[str, dict[str, Interval]]:
    """The metrics of `evaluate_predictions` alone, by task."""
    return {
        task.name: _intervals(task, truth, predicted, groups)
        for task, truth, predicted, groups in _tasks(predictions)
    }


def _tasks(
    predictions: Predictions,
) -> Iterator[tuple[Task, NDArray[Any], NDArray[Any], Groups]]:
    for task in predictions.tasks:
        truth, predicted = predictions.truth[task.name], predictions.predicted[task.name]
        known = task.labeled(truth)
        if known.sum() >= 2:
            yield task, truth[known], predicted[known], predictions.groups(known)


def _intervals(
    task: Task, truth: NDArray[Any], predicted: NDArray[Any], groups: Groups
) -> dict[str, Interval]:
    if task.target == "binary":
        return bootstrap(_binary_metrics, truth, predicted, groups=groups)
    if task.target != "class":
        return bootstrap(task.metrics, truth, predicted, groups=groups)
    return bootstrap(_class_metrics, truth, predicted, _ranks(predicted), groups=groups)


def _class_metrics(
    truth: NDArray[Any], chances: NDArray[Any], ranks: NDArray[np.int64]
) -> dict[str, float]:
    guess = chances.argmax(1)
    table = _table(truth, guess, chances.shape[1])
    actual, precision = table.sum(1), _precision(table)
    occurs = (actual > 0) | (table.sum(0) > 0)
    areas = _areas(truth, ranks)
    found = {
        **classification(truth, guess),
        "macro_precision": float(precision[occurs].mean()),
        "weighted_precision": float((precision * actual).sum() / actual.sum()),
        "ece": expected_calibration_error(chances.max(1), guess == truth),
    }
    if np.isfinite(areas).any():
        found["macro_auc"] = float(np.nanmean(areas))
    return found


def _binary_metrics(truth: NDArray[Any], chance: NDArray[Any]) -> dict[str, float]:
    confidence, correct = np.maximum(chance, 1 - chance), (chance >= 0.5) == (truth >= 0.5)
    return {**binary(truth, chance), "ece": expected_calibration_error(confidence, correct)}


def _table(truth: NDArray[Any], guess: NDArray[Any], count: int) -> NDArray[np.int64]:
    """(C, C) truth in rows."""
    found = np.bincount(truth * count + guess, minlength=count * count)
    return np.asarray(found.reshape(count, count), np.int64)


def _precision(table: NDArray[np.int64]) -> NDArray[np.float64]:
    return np.asarray(table.diagonal() / np.maximum(table.sum(0), 1), np.float64)


def _ranks(chances: NDArray[Any]) -> NDArray[np.int64]:
    """The place (n, C) of each probability among those of its class; equal ones share it."""
    columns = [np.unique(column, return_inverse=True)[1].reshape(-1) for column in chances.T]
    return np.stack(columns, 1)


def _areas(truth: NDArray[Any], ranks: NDArray[np.int64]) -> NDArray[np.float64]:
    """(C,) area under the ROC curve of each class against the rest, from the `_ranks` of the probabilities;
    nan if all samples, or none, are of the class."""
    found = np.full(ranks.shape[1], np.nan)
    for number, rank in enumerate(ranks.T):
        own = truth == number
        inside, size = int(own.sum()), int(rank.max()) + 1
        if 0 < inside < len(own):
            positive, negative = (np.bincount(rank[rows], minlength=size) for rows in (own, ~own))
            below = np.cumsum(negative) - 0.5 * negative
            found[number] = float(positive @ below) / (inside * (len(own) - inside))
    return found


def class_rows(
    labels: Sequence[str], truth: NDArray[Any], chances: NDArray[Any]
) -> tuple[ClassRow, ...]:
    """Each of `labels` against the rest, of the truth as numbers (n,) and probabilities (n, C)."""
    numbers = range(len(labels))
    columns = precision_recall_fscore_support(
        truth, chances.argmax(1), labels=numbers, zero_division=0
    )
    return tuple(
        ClassRow(label, int(n), float(p), float(r), float(f), _auc(truth == i, chances[:, i]))
        for i, (label, p, r, f, n) in enumerate(zip(labels, *columns, strict=True))
    )


def _classes(
    labels: Sequence[str], truth: NDArray[Any], chances: NDArray[Any], groups: Groups
) -> Classes:
    guess, count = chances.argmax(1), len(labels)
    most = int(np.bincount(truth, minlength=count).argmax())
    confidence, correct = chances.max(1), guess == truth
    drawn = bootstrap(_details, truth, chances, _ranks(chances), groups=groups)
    rows = tuple(
        replace(
            row,
            intervals={
                name: drawn[f"{number}/{name}"]
                for name in ("precision", "recall", "f1", "auc")
                if f"{number}/{name}" in drawn
            },
        )
        for number, row in enumerate(class_rows(labels, truth, chances))
    )
    shares = [f"coverage/{number}" for number in range(len(COVERAGES))]
    return Classes(
        rows=rows,
        confusion=_table(truth, guess, count),
        reliability=_reliability(confidence, correct, drawn),
        coverage=tuple(
            (float(share), drawn[name].value) for share, name in zip(COVERAGES, shares, strict=True)
        ),
        coverage_intervals=tuple(drawn[name] for name in shares),
        majority=bootstrap(classification, truth, np.full(len(truth), most), groups=groups),
        over_people=_over_people(correct, groups),
    )


def _details(
    truth: NDArray[Any], chances: NDArray[Any], ranks: NDArray[np.int64]
) -> dict[str, float]:
    """What a bootstrap draws beside the metrics: of each class by its number, of the bins of confidence, and
    of coverage."""
    guess, confidence = chances.argmax(1), chances.max(1)
    table = _table(truth, guess, chances.shape[1])
    actual, predicted, right = table.sum(1), table.sum(0), table.diagonal()
    precision, areas = _precision(table), _areas(truth, ranks)
    found: dict[str, float] = {}
    for number, area in enumerate(areas):
        if predicted[number]:
            found[f"{number}/precision"] = float(precision[number])
        if actual[number]:
            found[f"{number}/recall"] = float(right[number] / actual[number])
        if actual[number] + predicted[number]:
            found[f"{number}/f1"] = float(2 * right[number] / (actual[number] + predicted[number]))
        if not math.isnan(area):
            found[f"{number}/auc"] = float(area)
    correct = guess == truth
    for number, rows in _bins(confidence):
        found[f"bin/{number}"] = float(correct[rows].mean())
    ordered = np.cumsum(correct[np.argsort(-confidence, kind="stable")])
    counts = np.maximum(1, np.round(COVERAGES * len(ordered)).astype(int))
    for number, one in enumerate(counts.tolist()):
        found[f"coverage/{number}"] = float(ordered[one - 1] / one)
    return found


def _auc(is_class: NDArray[np.bool_], chance: NDArray[Any]) -> float | None:
    return float(roc_auc_score(is_class, chance)) if 0 < is_class.sum() < len(is_class) else None


def _bins(confidence: NDArray[Any]) -> Iterator[tuple[int, NDArray[np.bool_]]]:
    index = np.minimum((confidence * BINS).astype(int), BINS - 1)
    return ((number, index == number) for number in np.unique(index).tolist())


def _reliability(
    confidence: NDArray[Any], correct: NDArray[np.bool_], drawn: Mapping[str, Interval]
) -> tuple[ReliabilityBin, ...]:
    return tuple(
        ReliabilityBin(
            float(confidence[rows].mean()),
            float(correct[rows].mean()),
            int(rows.sum()),
            drawn.get(f"bin/{number}", NO_INTERVAL),
        )
        for number, rows in _bins(confidence)
    )


def _over_people(correct: NDArray[np.bool_], groups: Groups) -> OverPeople | None:
    if groups.by != "participant":
        return None
    each = group_means(correct.astype(np.float64), groups)
    mean = bootstrap(_mean, each)["mean"]
    return OverPeople(
        len(each), mean, float(each.std(ddof=1)), float(each.min()), float(each.max())
    )


def _mean(values: NDArray[np.float64]) -> dict[str, float]:
    return {"mean": float(values.mean())}
