"""Two trained networks on the same samples: is one better, or is it the choice of samples?

Everything is paired: figures are drawn with the same samples for both, the tests look at what one gets
right and the other does not.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from affectstream.engines.bundle.bundle import MANIFEST, Bundle
from affectstream.train.config import FitConfig
from affectstream.train.data.dataset import read_info
from affectstream.train.errors import DataError, RunError
from affectstream.train.fit.checkpoint import BEST, dataset_of, load, load_run
from affectstream.train.fit.warm_start import read_run_or_bundle
from affectstream.train.predict import predictions as told_of
from affectstream.train.predict.predictions import Predictions, Predicts, Quick, labelled
from affectstream.train.recipe import DataBound
from affectstream.train.recipes.registry import recipes
from affectstream.train.statistics import (
    Interval,
    McNemar,
    Participants,
    bootstrap,
    difference,
    mcnemar,
    over_participants,
)
from affectstream.train.tasks import Task


@dataclass(frozen=True, slots=True)
class Compared:
    """Two networks at one task."""

    task: str
    samples: int
    by: str
    """What the intervals draw: ``participant`` or ``sample``."""
    first: dict[str, Interval]
    second: dict[str, Interval]
    difference: dict[str, Interval]
    """Second less first."""
    mcnemar: McNemar | None
    """None for a task that is not right or wrong."""
    participants: Participants | None
    """Of the share that is right, or of the error with its sign turned; None where they are not known."""


def tell(who: str, data: Path, split: str) -> Predictions:
    """What the run or bundle `who` says of `split`.

    Raises `RunError` for what is neither, and for one that learned from the very samples under other
    splits; `DataMissing`, `DataError` or `BundleError`.
    """
    folder = Path(who)
    if who != "pocket" and not any((folder / name).is_file() for name in (BEST, MANIFEST)):
        raise RunError(
            f"{folder} is neither a run nor a bundle: expected {BEST} or {MANIFEST} in it, or 'pocket'"
        )
    _check_unseen(folder, data)
    if not (folder / BEST).is_file():
        with Bundle.open(who) as bundle:
            return told_of.by_bundle(bundle, data, split)
    name = load(folder / BEST)["recipe"]
    known = recipes()
    if name not in known or not isinstance(known[name], DataBound):
        raise RunError(
            f"{folder} is a run of {name}, which has its own data: export it, and compare that"
        )
    trained = load_run(known[name], folder)
    if not isinstance(trained.recipe, Predicts):
        raise RunError(
            f"{folder}: {name} does not tell its answers sample by sample: export it first"
        )
    return trained.recipe.told(trained.module, data, split, FitConfig(**trained.config))


def _check_unseen(folder: Path, data: Path) -> None:
    source, info = dataset_of(read_run_or_bundle(folder)), read_info(data)
    same = source.get("content_sha256") == info.content_sha256
    if same and source.get("split_sha256") != info.split_sha256:
        raise RunError(
            f"{folder} was trained on these samples under other splits, and may have learned from those "
            "it would be judged by: give the data set that it was trained on"
        )


def compare(first: Predictions, second: Predictions) -> list[Compared]:
    """Compare at every task that both have, on the samples that both were shown.

    Raises `DataError` where there are none, or fewer than two samples.
    """
    _, ours, theirs = np.intersect1d(
        first.ids.astype(str), second.ids.astype(str), return_indices=True
    )
    names = [task.name for task in second.tasks]
    found = [
        _at(task, second.tasks[names.index(task.name)], first, second, ours, theirs)
        for task in first.tasks
        if task.name in names
    ]
    if not found:
        raise DataError(
            f"nothing to compare: the first tells {_some(first.tasks)}, the second {_some(second.tasks)}"
        )
    return found


def _at(
    task: Task,
    other: Task,
    first: Predictions,
    second: Predictions,
    ours: NDArray[np.int64],
    theirs: NDArray[np.int64],
) -> Compared:
    own, others = first.truth[task.name][ours], second.truth[task.name][theirs]
    both = labelled(task, own) & labelled(other, others)
    if both.sum() < 2:
        raise DataError(
            f"task {task.name}: {int(both.sum())} sample(s) that both can be judged on, expected two or "
            "more"
        )
    ours, theirs = ours[both], theirs[both]
    labels = tuple(dict.fromkeys((*task.labels, *other.labels)))
    joint = Task(task.name, labels)
    answers, truth = _under(first, task, labels, ours)
    said, _ = _under(second, other, labels, theirs)
    picked = np.zeros(len(first.ids), bool)
    picked[ours] = True
    groups = first.groups(picked)
    # `picked` keeps the order of the data set, the rows here are in the order of their ids.
    order = np.argsort(ours)
    truth, answers, said = truth[order], answers[order], said[order]
    figures = Quick(joint)
    scores = [_score(joint, truth, one) for one in (answers, said)]
    right = task.kind.answer in ("class", "truth")
    return Compared(
        task=task.name,
        samples=len(truth),
        by=groups.by,
        first=bootstrap(figures, truth, answers, groups=groups),
        second=bootstrap(figures, truth, said, groups=groups),
        difference=difference(figures, truth, answers, said, groups=groups),
        mcnemar=mcnemar(scores[0] > 0, scores[1] > 0) if right else None,
        participants=over_participants(scores[0], scores[1], groups),
    )


def _under(
    told: Predictions, task: Task, labels: tuple[str, ...], rows: NDArray[np.int64]
) -> tuple[NDArray[Any], NDArray[Any]]:
    """Answers and truth of `rows`, columns and classes in the order of `labels`."""
    answers, truth = told.answers[task.name][rows], told.truth[task.name][rows]
    if not task.labels:
        return answers, truth
    place = np.asarray([labels.index(label) for label in task.labels])
    # What a network has no label for it never says.
    moved = np.full((len(answers), len(labels)), 0.0, np.float64)
    moved[:, place] = answers
    if task.kind.answer == "class":
        return moved, place[truth]
    wanted = np.full(moved.shape, np.nan)
    wanted[:, place] = truth
    return moved, wanted


def _score(task: Task, truth: NDArray[Any], said: NDArray[Any]) -> NDArray[np.float64]:
    """How good each answer (n,) is: 1 or 0 where it is right or wrong, else minus its error."""
    if task.kind.answer == "class":
        return np.asarray(said.argmax(1) == truth, np.float64)
    if task.kind.answer == "truth":
        return np.asarray((said >= 0.5) == (truth >= 0.5), np.float64)
    errors = np.abs(said - truth)
    return -np.asarray(np.nanmean(errors, 1) if errors.ndim > 1 else errors, np.float64)


def _some(tasks: Sequence[Task]) -> str:
    return ", ".join(task.name for task in tasks)


def lines(found: Compared) -> list[str]:
    """The comparison for a terminal."""
    out = [f"{found.task}: {found.samples} samples, 95 % bootstrap intervals by {found.by}"]
    out.append(f"{'':18} {'first':26} {'second':26} {'difference':28}")
    for name in found.difference:
        sure = "" if found.difference[name].low <= 0 <= found.difference[name].high else "  *"
        out.append(
            f"{name:18} {found.first[name]!s:26} {found.second[name]!s:26} "
            f"{found.difference[name]!s}{sure}"
        )
    if (test := found.mcnemar) is not None:
        out.append(
            f"right in the first alone {test.first_only}, in the second alone {test.second_only}: "
            f"McNemar p {test.p:.3g}, Cohen's g {test.g:+.3f}"
        )
    if (people := found.participants) is not None:
        size = "none to be had: all alike" if people.d is None else f"{people.d:+.2f}"
        out.append(
            f"over {people.count} participants: mean difference {people.mean:+.4f}, paired t p "
            f"{people.t_p:.3g}, Wilcoxon p {people.wilcoxon_p:.3g}, Cohen's d {size}"
        )
    return out
