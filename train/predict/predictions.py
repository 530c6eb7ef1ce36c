"""The predictions of a network or a bundle for each sample of a split, beside the truth."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import numpy as np
import torch
from numpy.typing import NDArray
from torch import nn

from affectstream.engines.manifest import Calibration
from affectstream.train.config import FitConfig
from affectstream.train.data.dataset import Dataset
from affectstream.train.fit.loggers import print_line
from affectstream.train.fit.machine import within_memory
from affectstream.train.loader.batches import ValidBatches, to_device
from affectstream.train.loader.samples import Samples
from affectstream.train.predict.bundle_outputs import BundleOutputs
from affectstream.train.statistics import Groups, Interval, bootstrap, groups_of
from affectstream.train.tasks import Task, by_task, compute_metrics, describe_tasks, predict_all

Columns = Mapping[str, NDArray[Any]]


@dataclass(frozen=True, slots=True, eq=False)
class Predictions:
    """One row for each sample, in the order of the data set."""

    tasks: tuple[Task, ...]
    ids: NDArray[Any]
    """(n,) str."""
    participants: NDArray[Any]
    """(n,) str, None where unknown."""
    predicted: Columns
    """`Task.predict` of each task: (n, C) or (n,)."""
    truth: Columns
    """`Task.targets` of each task: (n,) or (n, C)."""

    def metrics(self) -> dict[str, float]:
        """Metrics of every task; of several tasks ``task/metric``."""
        return compute_metrics(self.tasks, self.truth, self.predicted)

    def groups(self, picked: NDArray[np.bool_] | None = None) -> Groups:
        """What to bootstrap, participants or samples, of all rows or of those `picked` (n,)."""
        return groups_of(list(self.participants if picked is None else self.participants[picked]))

    def intervals(self) -> dict[str, Interval]:
        """`metrics` with bootstrap intervals; none for a task with fewer than two labeled samples."""
        found: dict[str, dict[str, Interval]] = {task.name: {} for task in self.tasks}
        for task in self.tasks:
            truth, predicted = self.truth[task.name], self.predicted[task.name]
            known = task.labeled(truth)
            if known.sum() >= 2:
                columns = truth[known], predicted[known]
                found[task.name] = bootstrap(task.metrics, *columns, groups=self.groups(known))
        return by_task(found)

    def save(self, path: Path) -> None:
        """Write a NumPy .npz of plain arrays, which `load` reads."""
        # Names in the file are those of its first version.
        columns = {f"answers/{name}": array for name, array in self.predicted.items()}
        columns |= {f"truth/{name}": array for name, array in self.truth.items()}
        columns |= {f"labels/{task.name}": np.asarray(task.labels, str) for task in self.tasks}
        columns["ids"] = self.ids.astype(str)
        columns["participants"] = np.asarray([name or "" for name in self.participants])
        np.savez_compressed(path, **columns)  # type: ignore[arg-type]  # one of its parameters is a bool

    @classmethod
    def load(cls, path: Path) -> Predictions:
        """Read what `save` wrote; the class counts of the tasks are not in it."""
        with np.load(path, allow_pickle=False) as file:
            names = [name.partition("/")[2] for name in file.files if name.startswith("labels/")]
            people = file["participants"].astype(object)
            people[people == ""] = None
            return cls(
                tasks=tuple(Task(name, tuple(file[f"labels/{name}"].tolist())) for name in names),
                ids=file["ids"].astype(object),
                participants=people,
                predicted={name: file[f"answers/{name}"] for name in names},
                truth={name: file[f"truth/{name}"] for name in names},
            )

    @classmethod
    def concatenate(cls, parts: Sequence[Predictions]) -> Predictions:
        """The samples of all `parts`. Raises `ValueError` if their tasks or labels differ."""
        tasks = parts[0].tasks
        if len({describe_tasks(part.tasks) for part in parts}) > 1:
            raise ValueError("predictions of different tasks or labels cannot be joined")
        return cls(
            tasks=tasks,
            ids=np.concatenate([part.ids for part in parts]),
            participants=np.concatenate([part.participants for part in parts]),
            predicted={t.name: np.concatenate([p.predicted[t.name] for p in parts]) for t in tasks},
            truth={t.name: np.concatenate([p.truth[t.name] for p in parts]) for t in tasks},
        )


@runtime_checkable
class Predictor(Protocol):
    """A bound recipe that can predict sample by sample."""

    def predict(self, module: nn.Module, data: Path, split: str, config: FitConfig) -> Predictions:
        """The predictions of `module` for `split` of a prepared data set, as `validate` sees it."""


def predictions_for(
    dataset: Dataset, rows: NDArray[np.int64], tasks: Sequence[Task], predicted: Columns
) -> Predictions:
    """`predicted` of `rows` of a data set, with the ids, participants and truth of these rows."""
    assert all(len(column) == len(rows) for column in predicted.values())
    return Predictions(
        tasks=tuple(tasks),
        ids=dataset.column("id")[rows],
        participants=dataset.column("participant")[rows],
        predicted=dict(predicted),
        truth={task.name: task.targets(dataset).numpy()[rows] for task in tasks},
    )


def predict_network(module: nn.Module, samples: Samples, tasks: Sequence[Task]) -> Predictions:
    """The predictions of a network for `samples`, without augmentation."""
    device, batches = next(module.parameters()).device, ValidBatches(samples)

    def outputs_of_all() -> torch.Tensor:
        return torch.cat([module(to_device(batch, device)).float().cpu() for batch in batches])

    outputs = within_memory(outputs_of_all, batches, print_line)
    return predictions_for(samples.dataset, samples.rows, tasks, predict_all(outputs, tasks))


def predictions_from(
    outputs: BundleOutputs, samples: Samples, tasks: Sequence[Task], calibration: Calibration
) -> Predictions:
    """The calibrated predictions in a bundle's `outputs` for `samples`."""
    rows = samples.rows[outputs.samples]
    return predictions_for(samples.dataset, rows, tasks, outputs.predict(tasks, calibration))
