"""Several networks' predictions of the same samples, under the same labels."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any

import numpy as np
from numpy.typing import NDArray

from affectstream.train.errors import DataError
from affectstream.train.predict.predictions import Predictions
from affectstream.train.statistics import Groups, groups_of
from affectstream.train.tasks import Task


@dataclass(frozen=True, slots=True, eq=False)
class Aligned:
    """One task of k networks on n samples that all of them can be evaluated on."""

    task: Task
    """With the labels of all networks."""
    truth: NDArray[Any]
    """(n,) or (n, C)."""
    predicted: tuple[NDArray[Any], ...]
    """k of (n,) or (n, C)."""
    groups: Groups
    """What a bootstrap draws."""
    units: Groups
    """What paired tests compare: folds where all networks have the same, else as `groups`."""

    @property
    def is_right_or_wrong(self) -> bool:
        """Whether a prediction is right or wrong, and not only near."""
        return self.task.target in ("class", "binary")

    @property
    def commonest(self) -> float | None:
        """Accuracy of always saying the commonest class; None where no prediction is right or wrong."""
        if not self.is_right_or_wrong:
            return None
        truth = self.truth if self.task.target == "class" else self.truth >= 0.5
        return float(np.bincount(truth.astype(np.int64)).max() / len(truth))

    @property
    def scores(self) -> NDArray[np.float64]:
        """How good each prediction (n, k) is: 1 or 0 if it is right or wrong, else the negative error."""
        return np.stack([self._scores(predicted) for predicted in self.predicted], 1)

    def _scores(self, predicted: NDArray[Any]) -> NDArray[np.float64]:
        if self.task.target == "class":
            return np.asarray(predicted.argmax(1) == self.truth, np.float64)
        if self.task.target == "binary":
            return np.asarray((predicted >= 0.5) == (self.truth >= 0.5), np.float64)
        errors = np.abs(predicted - self.truth)
        return -np.asarray(np.nanmean(errors, 1) if errors.ndim > 1 else errors, np.float64)


def align(parts: Sequence[Predictions], folds: NDArray[np.int64] | None = None) -> list[Aligned]:
    """Each task that all `parts` have, on the samples that all predict, in the order of the first.

    `folds` has the fold of each sample of the first. Raises `DataError` if there are no such tasks, fewer
    than two samples of one, or other labels of the same samples.
    """
    common = reduce(np.intersect1d, [part.ids.astype(str) for part in parts])
    rows = [_places(part, common) for part in parts]
    order = np.argsort(rows[0])
    rows = [one[order] for one in rows]
    names = [[task.name for task in part.tasks] for part in parts]
    shared = [task for task in names[0] if all(task in other for other in names)]
    if not shared:
        shown = "; ".join(", ".join(one) for one in names)
        raise DataError(f"nothing to compare: no task that all predict ({shown})")
    return [_align_task(name, parts, rows, folds) for name in shared]


def _places(part: Predictions, common: NDArray[Any]) -> NDArray[np.int64]:
    ids = part.ids.astype(str)
    order = np.argsort(ids, kind="stable")
    return order[np.searchsorted(ids, common, sorter=order)]


def _align_task(
    name: str,
    parts: Sequence[Predictions],
    rows: Sequence[NDArray[np.int64]],
    folds: NDArray[np.int64] | None,
) -> Aligned:
    tasks = [next(task for task in part.tasks if task.name == name) for part in parts]
    labeled = np.all(
        [
            task.labeled(part.truth[name][picked])
            for task, part, picked in zip(tasks, parts, rows, strict=True)
        ],
        axis=0,
    )
    if labeled.sum() < 2:
        raise DataError(
            f"task {name}: {int(labeled.sum())} sample(s) that all can be evaluated on, expected two or more"
        )
    rows = [picked[labeled] for picked in rows]
    labels = tuple(dict.fromkeys(label for task in tasks for label in task.labels))
    joint = Task(name, labels)
    found = [
        _relabeled(part, task, labels, picked)
        for part, task, picked in zip(parts, tasks, rows, strict=True)
    ]
    truth = found[0][1]
    for other in found[1:]:
        if joint.target != "intensities" and not np.array_equal(other[1], truth):
            raise DataError(
                f"task {name}: the same samples have different labels in another evaluation: evaluate all "
                "on one data set"
            )
    groups = groups_of(list(parts[0].participants[rows[0]]))
    return Aligned(
        joint,
        truth,
        tuple(predicted for predicted, _ in found),
        groups,
        groups if folds is None else Groups(folds[rows[0]], "fold"),
    )


def _relabeled(
    part: Predictions, task: Task, labels: tuple[str, ...], rows: NDArray[np.int64]
) -> tuple[NDArray[Any], NDArray[Any]]:
    """Predictions and truth of `rows`, with columns and class numbers in the order of `labels`."""
    predicted, truth = part.predicted[task.name][rows], part.truth[task.name][rows]
    if not task.labels:
        return predicted, truth
    place = np.asarray([labels.index(label) for label in task.labels])
    # A network never predicts a label that it does not have.
    columns = np.zeros((len(predicted), len(labels)))
    columns[:, place] = predicted
    if task.target == "class":
        return columns, place[truth]
    targets = np.full(columns.shape, np.nan)
    targets[:, place] = truth
    return columns, targets
