"""Tasks: what a network is to tell of a sample, from the column it learns from to the figures.

A network has one head, and each task some columns of what that gives, in the order of the tasks. A row
without a label for a task is left out of that task's loss and figures.

| task | column | answer | exported as |
|---|---|---|---|
| `emotion` | `emotion` | one of the labels that split train has | `logits` (N, C), for a uniform prior |
| `emotion_multilabel` | `intensities` | for each label, how strong it is | `intensities` (N, C) in [0, 1] |
| `attention` | `attention` | whether it is 0.5 or more | `attention` (N,), its probability |
| `attention_regression` | `attention` | how much of it | `attention` (N,) in [0, 1] |
| `sentiment` | `sentiment` | negative, neutral, positive | `sentiment` (N, 3), probabilities |
| `intensity`, `engagement` | the same | how much of it | the same (N,) in [0, 1] |
| `valence` | `valence` | from unpleasant to pleasant | `valence` (N,) in [-1, 1] |
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from numpy.typing import NDArray
from torch import Tensor

from affectstream.engines.labels import EMOTIONS
from affectstream.stream.errors import OptionError
from affectstream.train import losses
from affectstream.train import metrics as figures
from affectstream.train.data.dataset import Dataset
from affectstream.train.data.sample import SENTIMENTS
from affectstream.train.errors import DataError
from affectstream.train.losses import LossConfig

Answer = Literal["class", "amounts", "truth", "amount", "signed"]


@dataclass(frozen=True, slots=True)
class Kind:
    """What all tasks of one name share."""

    column: str
    answer: Answer
    output: str
    """Of the exported head."""


KINDS = {
    "emotion": Kind("emotion", "class", "logits"),
    "emotion_multilabel": Kind("intensities", "amounts", "intensities"),
    "attention": Kind("attention", "truth", "attention"),
    "attention_regression": Kind("attention", "amount", "attention"),
    "sentiment": Kind("sentiment", "class", "sentiment"),
    "intensity": Kind("intensity", "amount", "intensity"),
    "engagement": Kind("engagement", "amount", "engagement"),
    "valence": Kind("valence", "signed", "valence"),
}


@dataclass(frozen=True, slots=True)
class Task:
    """One task, for one data set."""

    name: str
    labels: tuple[str, ...] = ()
    """The classes, or what has an intensity, in the order of the columns; empty for the others."""
    counts: tuple[int, ...] = ()
    """Training samples of each class; of a truth those without and with."""

    @property
    def kind(self) -> Kind:
        """See `Kind`."""
        return KINDS[self.name]

    @property
    def width(self) -> int:
        """Columns of the head."""
        return max(1, len(self.labels))

    def targets(self, dataset: Dataset) -> Tensor:
        """The truth of every row: class numbers (n,) int64, -1 where there is none, or amounts (n,) or
        (n, labels) float32, NaN where there are none. A class that the task does not know is none."""
        values = dataset.column(self.kind.column)
        if self.kind.answer == "class":
            number = {name: i for i, name in enumerate(self.labels)}
            return torch.tensor([number.get(value, -1) for value in values], dtype=torch.int64)
        if self.kind.answer == "amounts":
            return torch.from_numpy(_intensities(values, self.labels))
        if self.kind.answer == "truth":
            return torch.from_numpy(np.where(np.isnan(values), values, values >= 0.5))
        return torch.from_numpy(values)

    def loss(self, outputs: Tensor, truth: Tensor, emphasis: LossConfig) -> Tensor:
        """Scalar loss of its columns (N, width) against `targets` of the same rows."""
        if self.kind.answer == "class":
            return losses.cross_entropy(outputs, truth, self.counts, emphasis)
        if self.kind.answer == "amounts":
            return losses.binary_cross_entropy(outputs, truth, (), emphasis)
        if self.kind.answer == "signed":
            return losses.squared_error(torch.tanh(outputs[:, 0]), truth)
        return losses.binary_cross_entropy(outputs[:, 0], truth, self.counts, emphasis)

    def answers(self, outputs: Tensor) -> Tensor:
        """What its columns (N, width) say: probabilities of the classes, amounts, or one number (N,)."""
        if self.kind.answer == "class":
            return F.softmax(outputs, 1)
        if self.kind.answer == "amounts":
            return outputs.sigmoid()
        one = outputs[:, 0]
        return torch.tanh(one) if self.kind.answer == "signed" else one.sigmoid()

    def figures(self, answers: NDArray[Any], truth: NDArray[Any]) -> dict[str, float]:
        """Figures of `answers` against `targets` of the same rows; the first picks the best epoch.

        Empty where no row has a label.
        """
        known = truth >= 0 if self.kind.answer == "class" else ~np.isnan(truth)
        if not known.any():
            return {}
        if self.kind.answer == "amounts":
            return figures.of_amounts(answers, truth)
        answers, truth = answers[known], truth[known]
        if self.kind.answer == "class":
            return figures.of_classes(answers, truth)
        if self.kind.answer == "truth":
            return figures.of_truths(answers, truth)
        return figures.of_numbers(answers, truth)


def check_names(names: Sequence[str]) -> None:
    """Raise `OptionError` for tasks that there are not, that are named twice or exclude each other."""
    for name in names:
        if name not in KINDS:
            raise OptionError(f"--task {name}: no such task, expected one of {', '.join(KINDS)}")
    outputs = [KINDS[name].output for name in names]
    if len(set(outputs)) < len(outputs) or not names:
        raise OptionError(
            f"--task {' '.join(names)}: give at least one, each once, and either attention or "
            "attention_regression"
        )


def tasks_for(
    names: Sequence[str], dataset: Dataset, rows: Mapping[str, NDArray[np.int64]]
) -> tuple[Task, ...]:
    """The tasks `names` for what the rows of split ``train`` and ``valid`` are labelled with.

    Raises `DataError` where a split has no label for a task, or only one class, or one that split train
    has not; `OptionError` as `check_names`.
    """
    check_names(names)
    made: dict[str, Task] = {}
    for name in names:
        values = dataset.column(KINDS[name].column)
        train, valid = values[rows["train"]], values[rows["valid"]]
        for split, found in (("train", train), ("valid", valid)):
            if not _labelled(found).any():
                have = ", ".join(f"{k} {v}" for k, v in dataset.info.tasks.items()) or "none"
                raise DataError(
                    f"data set {dataset.info.name!r} has no samples for split {split} and task "
                    f"{name} that the recipe can use; rows by task: {have}"
                )
        made[name] = _bound(name, dataset.info.name, train, valid)
    if "emotion" in made and "emotion_multilabel" in made:  # one bundle has one order of labels
        made["emotion_multilabel"] = Task("emotion_multilabel", made["emotion"].labels)
    return tuple(made[name] for name in names)


def _bound(name: str, data: str, train: NDArray[Any], valid: NDArray[Any]) -> Task:
    answer = KINDS[name].answer
    if answer == "class":
        order = EMOTIONS if name == "emotion" else SENTIMENTS
        found = train.tolist()
        # A bundle's sentiments are always these three.
        labels = tuple(n for n in order if n in found or name == "sentiment")
        if len(set(found) - {None}) < 2:
            raise DataError(
                f"data set {data!r}: all training samples are {_only(found)}, expected two classes or "
                f"more of task {name}"
            )
        if unseen := sorted(set(valid.tolist()) - set(found) - {None}):
            raise DataError(
                f"data set {data!r}: {', '.join(unseen)} is in split valid and not in train: "
                "prepare it with another --split or --seed"
            )
        return Task(name, labels, tuple(found.count(label) for label in labels))
    if answer == "amounts":
        amounts = _intensities(train, EMOTIONS)
        return Task(
            name,
            tuple(
                label
                for label, column in zip(EMOTIONS, amounts.T, strict=True)
                if not np.isnan(column).all()
            ),
        )
    if answer == "truth":
        known = train[~np.isnan(train)]
        having = int((known >= 0.5).sum())
        if having in (0, len(known)):
            raise DataError(
                f"data set {data!r}: all training samples of task {name} are "
                f"{'at least' if having else 'under'} 0.5: nothing can be told apart"
            )
        return Task(name, counts=(len(known) - having, having))
    return Task(name)


def _only(found: Sequence[Any]) -> str:
    return next(str(value) for value in found if value is not None)


def _labelled(values: NDArray[Any]) -> NDArray[np.bool_]:
    if values.dtype == object:
        return np.asarray([value is not None for value in values], bool)
    return ~np.isnan(values)


def labelled(names: Sequence[str], dataset: Dataset) -> NDArray[np.bool_]:
    """Which rows (n,) have a label for one of the tasks."""
    return np.any([_labelled(dataset.column(KINDS[name].column)) for name in names], axis=0)


def _intensities(values: NDArray[Any], labels: Sequence[str]) -> NDArray[np.float32]:
    none: dict[str, float | None] = {}
    rows = [[(row or none).get(label) for label in labels] for row in values]
    return np.asarray(
        [[np.nan if value is None else value for value in row] for row in rows], np.float32
    ).reshape(len(values), len(labels))


def columns(tasks: Sequence[Task]) -> int:
    """Columns of all tasks."""
    return sum(task.width for task in tasks)


def split_columns(outputs: Tensor, tasks: Sequence[Task]) -> dict[str, Tensor]:
    """The columns (N, width) of each task, by its name."""
    parts = outputs.split([task.width for task in tasks], dim=1)
    return {task.name: part for task, part in zip(tasks, parts, strict=True)}


def loss_of(
    tasks: Sequence[Task], outputs: Tensor, truth: Mapping[str, Tensor], emphasis: LossConfig
) -> Tensor:
    """Mean of the tasks' losses; `truth` has `Task.targets` of the rows by the tasks' names."""
    parts = split_columns(outputs.float(), tasks)
    return torch.stack(
        [task.loss(parts[task.name], truth[task.name], emphasis) for task in tasks]
    ).mean()


def metrics_of(
    tasks: Sequence[Task], answers: Mapping[str, NDArray[Any]], truth: Mapping[str, NDArray[Any]]
) -> dict[str, float]:
    """Figures of every task; with several, ``task/figure``."""
    found: dict[str, float] = {}
    for task in tasks:
        own = task.figures(answers[task.name], truth[task.name])
        found |= own if len(tasks) == 1 else {f"{task.name}/{k}": v for k, v in own.items()}
    return found
