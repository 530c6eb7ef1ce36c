"""Which samples of a data set are held out together: k folds, or one participant at a time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Literal

import numpy as np
from numpy.typing import NDArray

from affectstream.engines.labels import Modality
from affectstream.stream.errors import OptionError
from affectstream.train.data.dataset import Dataset
from affectstream.train.data.options import By
from affectstream.train.data.splits import fold_numbers, joined_groups, leave_one_participant_out
from affectstream.train.errors import SplitError
from affectstream.train.loader.rows import usable_rows
from affectstream.train.tasks import TASK_TYPES, labeled_rows

ONE_OUT = "leave-one-participant-out"
BOTH_CLASSES = ("auc", "balanced_accuracy")
"""Metrics that need samples of both classes."""
HeldTogether = Literal["participant", "recording", "sample"]


@dataclass(frozen=True, slots=True)
class Folding:
    """How to hold out samples. Raises `OptionError` for impossible combinations."""

    folds: str
    """A number from 2, or `ONE_OUT`."""
    by: By | None = None
    """What stays in one fold; None takes participants, or recordings and dialogues if any is unknown."""
    test: bool = False
    """Whether the folds include split test."""
    valid: bool = True
    """Whether they include split valid: not if a network that is to be validated there learns from them."""

    def __post_init__(self) -> None:
        if self.folds != ONE_OUT and not (self.folds.isdigit() and int(self.folds) >= 2):
            raise OptionError(f"--folds {self.folds}: expected 2 or more, or {ONE_OUT}")
        if self.folds == ONE_OUT and self.by == "sample":
            raise OptionError(f"--folds {ONE_OUT} holds out participants: leave out --by sample")


@dataclass(frozen=True, slots=True, eq=False)
class Fold:
    """One training with its held-out samples."""

    name: str
    """Its number, from 1, or the participant."""
    parts: NDArray[np.object_]
    """(rows,) of the data set: ``train``, ``valid`` for held out, None for unused."""
    copies: int
    """Training samples left out because a held-out sample is the same picture or sound."""
    unlearned: tuple[str, ...]
    """Classes of the first task that only held-out samples have."""
    one_class: tuple[str, ...]
    """Binary tasks whose held-out labels are all the same: they have no `BOTH_CLASSES` metrics."""


@dataclass(frozen=True, slots=True)
class Folds:
    """The folds of a data set."""

    folds: tuple[Fold, ...]
    by: HeldTogether
    """What is in one fold. Recordings stand for people whose names are not known."""
    samples: int
    """Each is held out once."""
    excluded: int
    """Samples of split test that are in no fold."""


def make_folds(
    dataset: Dataset,
    folding: Folding,
    *,
    tasks: Sequence[str],
    modalities: Sequence[Modality],
    seed: int,
) -> Folds:
    """Put the samples that a recipe with these tasks and modalities can use into folds.

    The classes of the first task, or else emotions, are spread evenly. Raises `SplitError` for too few
    participants or samples of a class, `DataError` where the recipe can use no sample.
    """
    # A recipe without modalities takes every labeled row.
    rows = (
        usable_rows(dataset, None, modalities, tasks)
        if modalities
        else np.flatnonzero(labeled_rows(tasks, dataset))
    )
    split = dataset.column("split")[rows]
    included = ("train", *["valid"] * folding.valid, *["test"] * folding.test)
    excluded = 0 if folding.test else int((split == "test").sum())
    rows = rows[np.isin(split.astype(str), included)]
    if not rows.size:
        raise SplitError(f"data set {dataset.info.name!r} has no samples in split train or valid")
    ids = dataset.column("id")[rows].tolist()
    people = dataset.column("participant")[rows].tolist()
    labels = _labels(dataset, tasks[0])[rows].tolist()
    unknown = people.count(None)
    if unknown and (folding.by == "participant" or folding.folds == ONE_OUT):
        raise SplitError(
            f"data set {dataset.info.name!r}: {unknown} of {len(people)} samples have no participant: "
            "expected one for each; hold them out --by sample"
        )
    by: HeldTogether = folding.by or "participant"
    groups = people if by == "participant" else ids
    if folding.by is None and unknown:
        # Without names a recording is as near to a person as the data set comes.
        known = ("participant", "recording", "dialogue", "id")
        groups = joined_groups(*(dataset.column(column)[rows].tolist() for column in known))
        by = "recording" if len(set(groups)) < len(ids) else "sample"
    if folding.folds == ONE_OUT:
        names, numbers = leave_one_participant_out(people)
    else:
        count = int(folding.folds)
        names = [str(number) for number in range(1, count + 1)]
        whole = groups if len(set(groups)) < len(ids) else None
        numbers = fold_numbers(ids, labels, count, seed, whole, name=by)
    contents = dataset.column("content")
    classes = labels if TASK_TYPES[tasks[0]].target == "class" else [""] * len(rows)
    binary = {task: _labels(dataset, task) for task in tasks if TASK_TYPES[task].target == "binary"}
    folds = (
        _fold(name, len(dataset), rows, numbers == number, contents, classes, binary)
        for number, name in enumerate(names)
    )
    return Folds(tuple(folds), by, len(rows), excluded)


def _labels(dataset: Dataset, task: str) -> NDArray[np.object_]:
    """(rows,) the classes to spread evenly; empty strings where there are none."""
    kind = TASK_TYPES[task]
    values = dataset.column(kind.column if kind.target in ("class", "binary") else "emotion")
    if kind.target == "binary":
        values = np.where(np.isnan(values), "", np.where(values >= 0.5, "1", "0"))
    return np.asarray([value or "" for value in values], object)


def _fold(
    name: str,
    total: int,
    rows: NDArray[np.int64],
    held_out: NDArray[np.bool_],
    contents: NDArray[np.object_],
    classes: Sequence[str],
    binary: Mapping[str, NDArray[np.object_]],
) -> Fold:
    parts = np.full(total, None, object)
    parts[rows[~held_out]], parts[rows[held_out]] = "train", "valid"
    held_contents = set(contents[rows[held_out]]) - {None}
    copies = [row for row in rows[~held_out] if contents[row] in held_contents]
    parts[copies] = None
    learned = {label for row, label in zip(rows, classes, strict=True) if parts[row] == "train"}
    unlearned = sorted(set(classes) - learned - {""})
    one_class = [task for task, of in binary.items() if len(set(of[rows[held_out]]) - {""}) < 2]
    return Fold(name, parts, len(copies), tuple(unlearned), tuple(one_class))
