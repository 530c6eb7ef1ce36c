"""Two trained networks on the same samples: is one better, or is it the choice of samples?

Everything is paired: the intervals draw the same samples for both, and the tests look at the samples that one
network gets right and the other does not.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from affectstream.engines.bundle.bundle import Bundle
from affectstream.engines.bundle.folder import MANIFEST
from affectstream.train.config import FitConfig
from affectstream.train.errors import DataError, RunError
from affectstream.train.fit.checkpoint import BEST, load, load_run
from affectstream.train.fit.unseen import check_unseen
from affectstream.train.predict.predictions import Predictions, Predictor, predict_bundle
from affectstream.train.recipe import Bindable
from affectstream.train.recipes.registry import recipes
from affectstream.train.statistics import (
    Interval,
    McNemar,
    ParticipantTest,
    bootstrap,
    mcnemar,
    over_participants,
    paired_difference,
)
from affectstream.train.tasks import Task


@dataclass(frozen=True, slots=True)
class Comparison:
    """Two networks at one task."""

    task: str
    samples: int
    by: str
    """What the intervals draw: ``participant`` or ``sample``."""
    first: dict[str, Interval]
    second: dict[str, Interval]
    difference: dict[str, Interval]
    """Second minus first."""
    mcnemar: McNemar | None
    """None for a task whose predictions are not right or wrong."""
    participants: ParticipantTest | None
    """On the share of right predictions, or on the negative error; None if participants are unknown."""


def predict(name: str, data: Path, split: str) -> Predictions:
    """The predictions of the run or bundle `name` for `split`.

    Raises `RunError` for a folder that is neither, and for a network that was trained on the same
    samples under other splits; `DataMissing`, `DataError` or `BundleError`.
    """
    folder = Path(name)
    if name != "pocket" and not any((folder / file).is_file() for file in (BEST, MANIFEST)):
        raise RunError(
            f"{folder} is neither a run nor a bundle: expected {BEST} or {MANIFEST} in it, or 'pocket'"
        )
    check_unseen(folder, data)
    if not (folder / BEST).is_file():
        with Bundle.open(name) as bundle:
            return predict_bundle(bundle, data, split)
    recipe = load(folder / BEST)["recipe"]
    known = recipes()
    if recipe not in known or not isinstance(known[recipe], Bindable):
        raise RunError(
            f"{folder} is a run of {recipe}, which has its own data: export it, and compare the bundle"
        )
    trained = load_run(known[recipe], folder)
    if not isinstance(trained.recipe, Predictor):
        raise RunError(f"{folder}: {recipe} cannot predict sample by sample: export it first")
    return trained.recipe.predict(trained.module, data, split, FitConfig(**trained.config))


def compare(first: Predictions, second: Predictions) -> list[Comparison]:
    """Compare at every task that both have, on the samples that both predict.

    Raises `DataError` if there are no such tasks, or fewer than two samples of one.
    """
    _, first_rows, second_rows = np.intersect1d(
        first.ids.astype(str), second.ids.astype(str), return_indices=True
    )
    order = np.argsort(first_rows)  # the order of the data set
    rows = first_rows[order], second_rows[order]
    others = {task.name: task for task in second.tasks}
    found = [
        _compare_task(task, others[task.name], first, second, *rows)
        for task in first.tasks
        if task.name in others
    ]
    if not found:
        raise DataError(
            f"nothing to compare: the first predicts {_names(first.tasks)}, the second "
            f"{_names(second.tasks)}"
        )
    return found


def _compare_task(
    task: Task,
    other: Task,
    first: Predictions,
    second: Predictions,
    first_rows: NDArray[np.int64],
    second_rows: NDArray[np.int64],
) -> Comparison:
    labeled = task.labeled(first.truth[task.name][first_rows])
    labeled &= other.labeled(second.truth[task.name][second_rows])
    if labeled.sum() < 2:
        raise DataError(
            f"task {task.name}: {int(labeled.sum())} sample(s) that both can be evaluated on, expected two "
            "or more"
        )
    first_rows, second_rows = first_rows[labeled], second_rows[labeled]
    joint = Task(task.name, tuple(dict.fromkeys((*task.labels, *other.labels))))
    ours, truth = _relabeled(first, task, joint.labels, first_rows)
    theirs, _ = _relabeled(second, other, joint.labels, second_rows)
    picked = np.zeros(len(first.ids), bool)
    picked[first_rows] = True
    groups = first.groups(picked)
    scores = [_scores(joint, truth, predicted) for predicted in (ours, theirs)]
    is_right_or_wrong = task.target in ("class", "binary")
    return Comparison(
        task=task.name,
        samples=len(truth),
        by=groups.by,
        first=bootstrap(joint.metrics, truth, ours, groups=groups),
        second=bootstrap(joint.metrics, truth, theirs, groups=groups),
        difference=paired_difference(joint.metrics, truth, ours, theirs, groups=groups),
        mcnemar=mcnemar(scores[0] > 0, scores[1] > 0) if is_right_or_wrong else None,
        participants=over_participants(scores[0], scores[1], groups),
    )


def _relabeled(
    predictions: Predictions, task: Task, labels: tuple[str, ...], rows: NDArray[np.int64]
) -> tuple[NDArray[Any], NDArray[Any]]:
    """Predictions and truth of `rows`, with columns and class numbers in the order of `labels`."""
    predicted, truth = predictions.predicted[task.name][rows], predictions.truth[task.name][rows]
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


def _scores(task: Task, truth: NDArray[Any], predicted: NDArray[Any]) -> NDArray[np.float64]:
    """How good each prediction (n,) is: 1 or 0 if it is right or wrong, else the negative error."""
    if task.target == "class":
        return np.asarray(predicted.argmax(1) == truth, np.float64)
    if task.target == "binary":
        return np.asarray((predicted >= 0.5) == (truth >= 0.5), np.float64)
    errors = np.abs(predicted - truth)
    return -np.asarray(np.nanmean(errors, 1) if errors.ndim > 1 else errors, np.float64)


def _names(tasks: Sequence[Task]) -> str:
    return ", ".join(task.name for task in tasks)


def lines(found: Comparison) -> list[str]:
    """The comparison for a terminal."""
    out = [f"{found.task}: {found.samples} samples, 95 % bootstrap intervals by {found.by}"]
    out.append(f"{'':18} {'first':26} {'second':26} {'difference':28}")
    for name in found.difference:
        mark = "" if found.difference[name].low <= 0 <= found.difference[name].high else "  *"
        out.append(
            f"{name:18} {found.first[name]!s:26} {found.second[name]!s:26} "
            f"{found.difference[name]!s}{mark}"
        )
    if (test := found.mcnemar) is not None:
        out.append(
            f"right only in the first {test.first_only}, only in the second {test.second_only}: "
            f"McNemar p {test.p:.3g}, Cohen's g {test.g:+.3f}"
        )
    if (people := found.participants) is not None:
        size = "undefined (all differ alike)" if people.d is None else f"{people.d:+.2f}"
        out.append(
            f"over {people.count} participants: mean difference {people.mean:+.4f}, paired t p "
            f"{people.t_p:.3g}, Wilcoxon p {people.wilcoxon_p:.3g}, Cohen's d {size}"
        )
    return out
