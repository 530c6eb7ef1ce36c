"""Which samples of a data set are held out together: k folds, or one participant at a time."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from affectstream.stream.errors import OptionError
from affectstream.train.data.assign import By
from affectstream.train.data.dataset import Dataset
from affectstream.train.data.splits import (
    grouped_folds,
    leave_one_participant_out,
    stratified_folds,
)
from affectstream.train.errors import SplitError
from affectstream.train.loader.samples import usable_rows
from affectstream.train.tasks import TASK_TYPES, labeled_rows

ONE_OUT = "leave-one-participant-out"


@dataclass(frozen=True, slots=True)
class Folding:
    """How the samples are held out. Raises `OptionError` for what cannot be."""

    folds: str
    """A number of 2 or more, or `ONE_OUT`."""
    by: By | None = None
    """What stays together; None takes participants where all of them are known."""
    test: bool = False
    """Whether split test is dealt too; it stays out of everything otherwise."""

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
    """The split (rows,) of every row of the data set: ``train``, ``valid`` for held out, None for unused."""
    copies: int
    """Samples left out of training since they are the same picture or sound as a held-out one."""


@dataclass(frozen=True, slots=True)
class Folds:
    """All of them, and how they came about."""

    folds: tuple[Fold, ...]
    by: By
    samples: int
    """Dealt, each held out once."""
    aside: int
    """Samples of split test that were left out."""


def deal(
    dataset: Dataset,
    folding: Folding,
    *,
    tasks: Sequence[str],
    modalities: Sequence[str],
    seed: int,
) -> Folds:
    """Deal the samples that are in a split and that a recipe of these tasks and modalities can use.

    Labels of the first task are spread evenly where it has classes, those of emotion else. Raises
    `SplitError` where there are too few participants or samples of a class, `DataError` where nothing can
    be used.
    """
    # A recipe that does not say what it looks at sees every labelled row.
    rows = (
        usable_rows(dataset, None, modalities, tasks)
        if modalities
        else np.flatnonzero(labeled_rows(tasks, dataset))
    )
    split = dataset.column("split")[rows]
    wanted = np.isin(split.astype(str), ["train", "valid", *(["test"] if folding.test else [])])
    aside = 0 if folding.test else int((split == "test").sum())
    rows = rows[wanted]
    if not rows.size:
        raise SplitError(f"data set {dataset.info.name!r} has no samples in split train or valid")
    ids = dataset.column("id")[rows].tolist()
    people = dataset.column("participant")[rows].tolist()
    by = _by(folding, people, dataset.info.name)
    names, numbers = _numbered(folding, by, ids, _labels(dataset, tasks[0])[rows], people, seed)
    contents = dataset.column("content")
    return Folds(
        tuple(
            _fold(name, len(dataset), rows, numbers == number, contents)
            for number, name in enumerate(names)
        ),
        by,
        len(rows),
        aside,
    )


def _numbered(
    folding: Folding,
    by: By,
    ids: list[str],
    labels: NDArray[np.object_],
    people: list[str],
    seed: int,
) -> tuple[list[str], NDArray[np.int64]]:
    """The names of the folds, and the number of that which holds each sample out."""
    if folding.folds == ONE_OUT:
        held = list(leave_one_participant_out(people))
        return [who for who, _ in held], np.argmax([theirs for _, theirs in held], axis=0)
    k = int(folding.folds)
    names = [str(number + 1) for number in range(k)]
    if by == "participant":
        return names, grouped_folds(ids, labels.tolist(), people, k, seed)
    return names, stratified_folds(ids, labels.tolist(), k, seed)


def _by(folding: Folding, people: Sequence[str | None], name: str) -> By:
    unknown = sum(who is None for who in people)
    needed = folding.by == "participant" or folding.folds == ONE_OUT
    if unknown and needed:
        raise SplitError(
            f"data set {name!r}: {unknown} of {len(people)} samples have no participant: expected one "
            "for each; hold them out --by sample"
        )
    return folding.by or ("sample" if unknown else "participant")


def _labels(dataset: Dataset, task: str) -> NDArray[np.object_]:
    """What is to be spread evenly (rows,); every row alike where there is nothing."""
    kind = TASK_TYPES[task]
    values = dataset.column(kind.column if kind.target in ("class", "binary") else "emotion")
    if kind.target == "binary":
        values = np.where(np.isnan(values), "", np.where(values >= 0.5, "1", "0"))
    return np.asarray([value or "" for value in values], object)


def _fold(
    name: str,
    total: int,
    rows: NDArray[np.int64],
    held: NDArray[np.bool_],
    contents: NDArray[np.object_],
) -> Fold:
    parts = np.full(total, None, object)
    parts[rows[~held]], parts[rows[held]] = "train", "valid"
    seen = set(contents[rows[held]]) - {None}
    copies = [row for row in rows[~held] if contents[row] in seen]
    parts[copies] = None
    return Fold(name, parts, len(copies))
