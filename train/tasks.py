"""Tasks: what a network predicts of a sample, from the column of the data set to the metrics.

A network has one head, and each task some columns of its output, in the order of the tasks. A row without
a label for a task is left out of that task's loss and metrics. Where people voted on a sample (column
`votes`), training learns the distribution of their votes instead of `emotion`.

| task | column | prediction | exported as |
|---|---|---|---|
| `emotion` | `emotion` | one of the labels in split train | `logits` (N, C), for a uniform prior |
| `emotion_multilabel` | `intensities` | the intensity of each label | `intensities` (N, C) in [0, 1] |
| `attention` | `attention` | whether it is 0.5 or more | `attention` (N,), its probability |
| `attention_regression` | `attention` | its amount | `attention` (N,) in [0, 1] |
| `sentiment` | `sentiment` | negative, neutral, positive | `sentiment` (N, 3), probabilities |
| `intensity`, `engagement` | the same | its amount | the same (N,) in [0, 1] |
| `valence` | `valence` | from unpleasant to pleasant | `valence` (N,) in [-1, 1] |
| `arousal` | `arousal` | from calm to excited | `arousal` (N,) in [-1, 1] |
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import compress
from typing import Any, Literal

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from numpy.typing import NDArray
from torch import Tensor

from affectstream.engines.labels import EMOTIONS, SENTIMENTS
from affectstream.stream.errors import OptionError
from affectstream.train import losses, metrics
from affectstream.train.data.dataset import Dataset, has_value
from affectstream.train.errors import DataError
from affectstream.train.losses import LossConfig

Target = Literal["class", "intensities", "binary", "fraction", "signed"]
"""One class of several; a number in [0, 1] for each label; yes or no; a number in [0, 1]; one in [-1, 1]."""


@dataclass(frozen=True, slots=True)
class TaskType:
    """What all tasks of one name share."""

    column: str
    target: Target
    output: str
    """Name of the exported head's output."""


TASK_TYPES = {
    "emotion": TaskType("emotion", "class", "logits"),
    "emotion_multilabel": TaskType("intensities", "intensities", "intensities"),
    "attention": TaskType("attention", "binary", "attention"),
    "attention_regression": TaskType("attention", "fraction", "attention"),
    "sentiment": TaskType("sentiment", "class", "sentiment"),
    "intensity": TaskType("intensity", "fraction", "intensity"),
    "engagement": TaskType("engagement", "fraction", "engagement"),
    "valence": TaskType("valence", "signed", "valence"),
    "arousal": TaskType("arousal", "signed", "arousal"),
}


@dataclass(frozen=True, slots=True)
class Task:
    """One task, for one data set."""

    name: str
    labels: tuple[str, ...] = ()
    """The classes, or the labels that have an intensity, in the order of the columns; empty for the
    others."""
    counts: tuple[int, ...] = ()
    """Training samples of each class; of a binary task those of class 0 and 1."""
    labeled_share: float = 1.0
    """Share of the training samples that have a label; of `intensities`, the share of the numbers."""

    @property
    def target(self) -> Target:
        """The type of its target."""
        return TASK_TYPES[self.name].target

    @property
    def output(self) -> str:
        """Name of the exported head's output."""
        return TASK_TYPES[self.name].output

    @property
    def width(self) -> int:
        """Columns of the head."""
        return max(1, len(self.labels))

    @property
    def prior(self) -> tuple[float, ...]:
        """Shares of the labels in split train, where one without samples counts as one sample; equal shares
        for intensities."""
        counts = [max(1, count) for count in self.counts] or [1] * len(self.labels)
        return tuple(round(count / sum(counts), 6) for count in counts)

    def targets(self, dataset: Dataset) -> Tensor:
        """The truth of every row: class numbers (n,) int64, -1 where unlabeled, or numbers (n,) or
        (n, labels) float32, NaN where unlabeled. A class that is not among `labels` counts as unlabeled."""
        values = dataset.column(TASK_TYPES[self.name].column)
        if self.target == "class":
            number = {name: i for i, name in enumerate(self.labels)}
            return torch.tensor([number.get(value, -1) for value in values], dtype=torch.int64)
        if self.target == "intensities":
            return torch.from_numpy(_intensities(values, self.labels))
        if self.target == "binary":
            return torch.from_numpy(np.where(np.isnan(values), values, values >= 0.5))
        return torch.from_numpy(values)

    def shares(self, dataset: Dataset) -> Tensor | None:
        """What training learns of a class task instead of `targets`, where people voted: the share of each
        label (n, labels) float32, NaN where unlabeled. None if the data set has no votes for this task."""
        if self.name != "emotion":
            return None
        votes = [row and [row[label] for label in self.labels] for row in dataset.column("votes")]
        if not any(votes):
            return None
        shares = self.one_hot(self.targets(dataset))
        for row, counts in enumerate(votes):
            if counts and sum(counts):
                shares[row] = torch.tensor(counts) / sum(counts)
        return shares

    def learned(self, dataset: Dataset) -> Tensor:
        """What training compares the outputs with: `shares`, or `targets` without votes."""
        shares = self.shares(dataset)
        return self.targets(dataset) if shares is None else shares

    def one_hot(self, classes: Tensor) -> Tensor:
        """Class numbers (n,) of `targets` as shares (n, labels) float32, NaN where unlabeled."""
        shares = F.one_hot(classes.clamp(min=0), self.width).to(torch.float32)
        return shares.masked_fill((classes < 0).unsqueeze(1), torch.nan)

    def labeled(self, truth: NDArray[Any]) -> NDArray[np.bool_]:
        """Which rows (n,) of `targets` have a label."""
        if self.target == "class":
            return np.asarray(truth >= 0)
        known = ~np.isnan(truth)
        return np.asarray(known.any(1) if truth.ndim > 1 else known)

    def loss(self, outputs: Tensor, truth: Tensor, config: LossConfig) -> Tensor:
        """Scalar loss of its columns (N, width) against `targets` or `shares` of the same rows."""
        share = self.labeled_share
        if self.target == "class":
            if truth.is_floating_point():
                return losses.distribution_cross_entropy(outputs, truth, self.counts, config, share)
            return losses.cross_entropy(outputs, truth, self.counts, config, share)
        if self.target == "intensities":
            return losses.binary_cross_entropy(outputs, truth, (), config, share)
        if self.target == "signed":
            return losses.squared_error(torch.tanh(outputs[:, 0]), truth, share)
        return losses.binary_cross_entropy(outputs[:, 0], truth, self.counts, config, share)

    def with_labels_of(self, truth: Tensor) -> Task:
        """This task with the share of `truth`, `targets` of some rows, that has a label."""
        is_class = self.target == "class" and not truth.is_floating_point()
        known = truth >= 0 if is_class else ~torch.isnan(truth)
        return replace(self, labeled_share=float(known.double().mean()))

    def predict(self, outputs: Tensor) -> Tensor:
        """From its columns (N, width) to probabilities of the classes or intensities (N, labels), or to one
        number (N,)."""
        if self.target == "class":
            return F.softmax(outputs, 1)
        if self.target == "intensities":
            return outputs.sigmoid()
        number = outputs[:, 0]
        return torch.tanh(number) if self.target == "signed" else number.sigmoid()

    def metrics(self, truth: NDArray[Any], predicted: NDArray[Any]) -> dict[str, float]:
        """Metrics of `predict` against `targets` of the same rows; empty if no row is labeled. The first
        metric picks the best epoch."""
        known = self.labeled(truth)
        if not known.any():
            return {}
        truth, predicted = truth[known], predicted[known]
        if self.target == "class":
            return metrics.classification(truth, predicted.argmax(1))
        if self.target == "intensities":
            return metrics.multilabel_regression(truth, predicted)
        if self.target == "binary":
            return metrics.binary(truth, predicted)
        return metrics.regression(truth, predicted)


def check_names(names: Sequence[str]) -> None:
    """Raise `OptionError` for unknown tasks, tasks named twice, and tasks that exclude each other."""
    for name in names:
        if name not in TASK_TYPES:
            raise OptionError(
                f"--task {name}: no such task, expected one of {', '.join(TASK_TYPES)}"
            )
    outputs = [TASK_TYPES[name].output for name in names]
    if len(set(outputs)) < len(outputs) or not names:
        raise OptionError(
            f"--task {' '.join(names)}: give at least one, each once, and either attention or "
            "attention_regression"
        )


def tasks_for(
    names: Sequence[str], dataset: Dataset, rows: Mapping[str, NDArray[np.int64]]
) -> tuple[Task, ...]:
    """The tasks `names` with the labels that `rows` of split ``train`` and ``valid`` have.

    In a fold of a cross-validation, with those of the whole data set, so that all folds have the same.
    Raises `DataError` for a split without labels for a task, for a task of one class only, and, if this is
    no fold, for a class in valid that train lacks; `OptionError` as `check_names`.
    """
    check_names(names)
    tasks: dict[str, Task] = {}
    for name in names:
        values = dataset.column(TASK_TYPES[name].column)
        train, valid = values[rows["train"]], values[rows["valid"]]
        for split, found in (("train", train), ("valid", valid)):
            if not has_value(found).any():
                have = ", ".join(f"{k} {v}" for k, v in dataset.info.tasks.items()) or "none"
                raise DataError(
                    f"data set {dataset.info.name!r} has no samples for split {split} and task "
                    f"{name} that the recipe can use; rows by task: {have}"
                )
        is_fold = dataset.info.of is not None
        tasks[name] = _task_for(name, dataset.info.name, train, valid, values if is_fold else train)
    if "emotion" in tasks and "emotion_multilabel" in tasks:  # one bundle has one order of labels
        tasks["emotion_multilabel"] = Task("emotion_multilabel", tasks["emotion"].labels)
    picked = torch.from_numpy(rows["train"])
    return tuple(task.with_labels_of(task.learned(dataset)[picked]) for task in tasks.values())


def _task_for(
    name: str, data: str, train: NDArray[Any], valid: NDArray[Any], labeled: NDArray[Any]
) -> Task:
    """The task with the labels that the rows `labeled` have."""
    target = TASK_TYPES[name].target
    if target == "class":
        return _class_task(name, data, train.tolist(), valid.tolist(), set(labeled))
    if target == "intensities":
        columns = _intensities(labeled, EMOTIONS).T
        known = [not np.isnan(column).all() for column in columns]
        return Task(name, tuple(compress(EMOTIONS, known)))
    if target == "binary":
        known = train[~np.isnan(train)]
        positive = int((known >= 0.5).sum())
        if positive in (0, len(known)):
            raise DataError(
                f"data set {data!r}: all training samples of task {name} are "
                f"{'at least' if positive else 'under'} 0.5: there is nothing to learn"
            )
        return Task(name, counts=(len(known) - positive, positive))
    return Task(name)


def _class_task(name: str, data: str, train: list[Any], valid: list[Any], known: set[Any]) -> Task:
    order = EMOTIONS if name == "emotion" else SENTIMENTS
    # A bundle's sentiments are always these three.
    labels = tuple(label for label in order if label in known or name == "sentiment")
    classes = set(train) - {None}
    if len(classes) < 2:
        raise DataError(
            f"data set {data!r}: all training samples are {classes.pop()}, expected two classes or "
            f"more of task {name}"
        )
    if unseen := sorted(set(valid) - known - {None}):
        raise DataError(
            f"data set {data!r}: {', '.join(unseen)} is in split valid and not in train: "
            "prepare it with another --split or --seed"
        )
    return Task(name, labels, tuple(train.count(label) for label in labels))


def labeled_rows(names: Sequence[str], dataset: Dataset) -> NDArray[np.bool_]:
    """Which rows (n,) of a data set have a label for one of the tasks."""
    columns = [dataset.column(TASK_TYPES[name].column) for name in names]
    if "emotion" in names:
        columns.append(dataset.column("votes"))
    return np.any([has_value(column) for column in columns], axis=0)


def _intensities(values: NDArray[Any], labels: Sequence[str]) -> NDArray[np.float32]:
    rows = [[(row or {}).get(label) for label in labels] for row in values]
    # None becomes NaN.
    return np.asarray(rows, np.float32).reshape(len(values), len(labels))


def describe_tasks(tasks: Sequence[Task]) -> str:
    """Tasks and labels in order; two last layers are compatible where this is the same."""
    parts = [f"{t.name} ({', '.join(t.labels)})" if t.labels else t.name for t in tasks]
    return " and ".join(parts) or "unknown tasks"


def count_columns(tasks: Sequence[Task]) -> int:
    """Columns of all tasks."""
    return sum(task.width for task in tasks)


def split_columns(outputs: Tensor, tasks: Sequence[Task]) -> dict[str, Tensor]:
    """The columns (N, width) of each task, by its name."""
    parts = outputs.split([task.width for task in tasks], dim=1)
    return {task.name: part for task, part in zip(tasks, parts, strict=True)}


def predict_all(outputs: Tensor, tasks: Sequence[Task]) -> dict[str, NDArray[Any]]:
    """`Task.predict` of each task, by its name."""
    parts = split_columns(outputs, tasks)
    return {task.name: task.predict(parts[task.name]).numpy() for task in tasks}


def mean_loss(
    tasks: Sequence[Task], outputs: Tensor, truth: Mapping[str, Tensor], config: LossConfig
) -> Tensor:
    """Mean of the tasks' losses; `truth` has `Task.targets` of the rows by the tasks' names."""
    parts = split_columns(outputs.float(), tasks)
    found = [task.loss(parts[task.name], truth[task.name], config) for task in tasks]
    return torch.stack(found).mean()


def compute_metrics(
    tasks: Sequence[Task], truth: Mapping[str, NDArray[Any]], predicted: Mapping[str, NDArray[Any]]
) -> dict[str, float]:
    """Metrics of every task by name; of several tasks by ``task/metric``."""
    return by_task({t.name: t.metrics(truth[t.name], predicted[t.name]) for t in tasks})


def by_task(metrics_of_tasks: Mapping[str, Mapping[str, Any]]) -> dict[str, Any]:
    """One mapping for all tasks: names stay as they are for one task, and are ``task/metric`` for several."""
    several = len(metrics_of_tasks) > 1
    return {
        f"{task}/{name}" if several else name: value
        for task, found in metrics_of_tasks.items()
        for name, value in found.items()
    }
