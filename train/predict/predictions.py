"""What a network or a bundle says of each sample of a split, beside the truth: to be counted and compared."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from affectstream.engines.bundle.bundle import Bundle
from affectstream.train.config import FitConfig
from affectstream.train.data.dataset import Dataset
from affectstream.train.loader.batches import ValidBatches, to_device, valid_batch_size
from affectstream.train.loader.samples import Samples
from affectstream.train.predict.bundle_outputs import bundle_outputs
from affectstream.train.predict.prepared import shown_to, told_by
from affectstream.train.statistics import Groups, Interval, bootstrap, groups_of, of_guesses
from affectstream.train.tasks import Task, metrics_of, split_columns

Columns = Mapping[str, NDArray[Any]]


@dataclass(frozen=True, slots=True, eq=False)
class Predictions:
    """One row a sample, in the order of the data set."""

    tasks: tuple[Task, ...]
    ids: NDArray[Any]
    """(n,) text."""
    participants: NDArray[Any]
    """(n,) text, None where they are not known."""
    answers: Columns
    """`Task.answers` of each task: (n, C) or (n,)."""
    truth: Columns
    """`Task.targets` of each task: (n,) or (n, C)."""

    def figures(self) -> dict[str, float]:
        """Figures of every task; with several, ``task/figure``."""
        return metrics_of(self.tasks, self.answers, self.truth)

    def groups(self, picked: NDArray[np.bool_] | None = None) -> Groups:
        """Participants, or samples, of all rows or of those `picked` (n,)."""
        return groups_of(list(self.participants if picked is None else self.participants[picked]))

    def intervals(self) -> dict[str, Interval]:
        """`figures` with bootstrap intervals, by participant where all are known; fewer than two samples
        of a task give none."""
        found: dict[str, Interval] = {}
        for task in self.tasks:
            known = labelled(task, self.truth[task.name])
            if known.sum() < 2:
                continue
            said, truth = self.answers[task.name][known], self.truth[task.name][known]
            own = bootstrap(Quick(task), truth, said, groups=self.groups(known))
            several = len(self.tasks) > 1
            found |= {f"{task.name}/{k}" if several else k: v for k, v in own.items()}
        return found


@runtime_checkable
class Predicts(Protocol):
    """What a bound recipe has besides when its answers can be had sample by sample."""

    def told(self, module: nn.Module, data: Path, split: str, config: FitConfig) -> Predictions:
        """What `module` says of `split` of a prepared data set, as `score` judges it."""
        ...


@dataclass(frozen=True, slots=True)
class Quick:
    """`Task.figures` of labelled rows, for thousands of draws."""

    task: Task

    def __call__(self, truth: NDArray[Any], said: NDArray[Any]) -> dict[str, float]:
        """Figures of what was said (n, ...) against `truth` of the same rows."""
        if self.task.kind.answer == "class":
            return of_guesses(truth, said.argmax(1))
        return self.task.figures(said, truth)


def labelled(task: Task, truth: NDArray[Any]) -> NDArray[np.bool_]:
    """Which rows (n,) have a label."""
    if task.kind.answer == "class":
        return np.asarray(truth >= 0)
    there = ~np.isnan(truth)
    return np.asarray(there.any(1) if truth.ndim > 1 else there)


def of_rows(
    dataset: Dataset, rows: NDArray[np.int64], tasks: Sequence[Task], said: Columns
) -> Predictions:
    """Answers to `tasks` about `rows` of a data set, which knows the rest."""
    assert all(len(column) == len(rows) for column in said.values())
    return Predictions(
        tasks=tuple(tasks),
        ids=dataset.column("id")[rows],
        participants=dataset.column("participant")[rows],
        answers=dict(said),
        truth={task.name: task.targets(dataset).numpy()[rows] for task in tasks},
    )


@torch.no_grad()
def by_network(module: nn.Module, samples: Samples, tasks: Sequence[Task]) -> Predictions:
    """What a network says of `samples` as they are judged."""
    device = next(module.parameters()).device
    outputs = torch.cat(
        [module(to_device(batch, device)).float().cpu() for batch in ValidBatches(samples)]
    )
    parts = split_columns(outputs, tasks)
    said = {task.name: task.answers(parts[task.name]).numpy() for task in tasks}
    return of_rows(samples.dataset, samples.rows, tasks, said)


def by_bundle(bundle: Bundle, data: Path, split: str) -> Predictions:
    """What a bundle says of `split` of a prepared data set, calibrated.

    Raises `DataMissing` or `DataError` where nothing of it can be measured there.
    """
    shown, tasks = shown_to(bundle, data, split)
    size = min(map(valid_batch_size, shown))
    said = bundle_outputs(
        bundle, *[ValidBatches(part, size=size) for part in shown], missing=False
    )[None]
    rows = shown[0].rows[said.samples]
    told = told_by(said, tasks, bundle.manifest.calibration)
    return of_rows(shown[0].dataset, rows, tasks, told)


def together(parts: Sequence[Predictions]) -> Predictions:
    """The samples of all `parts`, which have the same tasks. Raises `ValueError` where they have not."""
    first = parts[0]
    names = [(task.name, task.labels) for task in first.tasks]
    if any([(task.name, task.labels) for task in part.tasks] != names for part in parts):
        raise ValueError("what was told is of different tasks or labels")

    def joined(column: str) -> dict[str, NDArray[Any]]:
        return {
            task.name: np.concatenate([getattr(part, column)[task.name] for part in parts])
            for task in first.tasks
        }

    return Predictions(
        tasks=first.tasks,
        ids=np.concatenate([part.ids for part in parts]),
        participants=np.concatenate([part.participants for part in parts]),
        answers=joined("answers"),
        truth=joined("truth"),
    )


def save(told: Predictions, path: Path) -> None:
    """Write it as NumPy's .npz of plain arrays, which `load` reads."""
    columns = {
        f"{kind}/{name}": array
        for kind in ("answers", "truth")
        for name, array in getattr(told, kind).items()
    }
    columns |= {f"labels/{task.name}": np.asarray(task.labels, str) for task in told.tasks}
    people = [who or "" for who in told.participants]
    np.savez_compressed(path, ids=told.ids.astype(str), participants=np.asarray(people), **columns)


def load(path: Path) -> Predictions:
    """What `save` wrote; of the tasks the counts in training are not in it."""
    with np.load(path, allow_pickle=False) as file:
        names = [name.partition("/")[2] for name in file.files if name.startswith("labels/")]
        people = file["participants"].astype(object)
        people[people == ""] = None
        return Predictions(
            tasks=tuple(Task(name, tuple(file[f"labels/{name}"].tolist())) for name in names),
            ids=file["ids"].astype(object),
            participants=people,
            answers={name: file[f"answers/{name}"] for name in names},
            truth={name: file[f"truth/{name}"] for name in names},
        )
