"""Teachers: trained networks whose probabilities another network learns beside the labels.

Knowledge distillation (Hinton et al., 2015) from the mean of one network or several, which see the same
augmented samples as the student (Beyer et al., 2022). All logits are compared under the prior of the
training set, whatever balanced them.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, fields
from pathlib import Path

import msgspec
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from affectstream.engines.cache.digest import sha256
from affectstream.stream.errors import OptionError
from affectstream.train.config import FitConfig
from affectstream.train.errors import RunError
from affectstream.train.fit.checkpoint import BEST, load, load_run, version_errors
from affectstream.train.losses import LossConfig, add_prior
from affectstream.train.model_spec import Distillation, ModelSpec, TeacherSource
from affectstream.train.recipe import Batch, Bindable
from affectstream.train.recipes.registry import recipes
from affectstream.train.tasks import Task, describe_tasks, split_columns


@dataclass(frozen=True, slots=True)
class Teacher:
    """One trained network."""

    module: nn.Module
    tasks: tuple[Task, ...]
    loss: LossConfig
    """That it was trained with."""
    source: TeacherSource


@dataclass(frozen=True, slots=True)
class Teachers:
    """The networks that a student learns from, and how much of its loss they are."""

    members: tuple[Teacher, ...]
    share: float
    """Of the teachers in the loss; the labels have the rest."""
    temperature: float

    @property
    def source(self) -> Distillation:
        """What the student's specification says of them."""
        found = tuple(teacher.source for teacher in self.members)
        return Distillation(found, self.share, self.temperature)

    def loss(
        self, tasks: Sequence[Task], outputs: Tensor, batch: Batch, loss: LossConfig
    ) -> Tensor:
        """Mean over tasks and rows of ``T^2 KL(teachers || student)``, each softened by the temperature T.
        `outputs` (N, columns) are the student's for `batch`, and `loss` what it is trained with."""
        with torch.no_grad():
            for teacher in self.members:
                teacher.module.to(outputs.device)
            found = [task_logits(t.tasks, t.module(batch), t.loss) for t in self.members]
            wanted = {
                task.name: torch.stack(
                    [F.softmax(logits[task.name] / self.temperature, 1) for logits in found]
                ).mean(0)
                for task in tasks
            }
        divergences = [
            F.kl_div(F.log_softmax(own / self.temperature, 1), wanted[name], reduction="batchmean")
            for name, own in task_logits(tasks, outputs, loss).items()
        ]
        return self.temperature**2 * torch.stack(divergences).mean()

    def mixed(self, of_labels: Tensor, of_teachers: Tensor) -> Tensor:
        """The loss of the student."""
        return torch.lerp(of_labels, of_teachers, self.share)


def task_logits(tasks: Sequence[Task], outputs: Tensor, loss: LossConfig) -> dict[str, Tensor]:
    """The logits (N, C) float32 of each task under the prior of its training set."""
    parts = split_columns(outputs.float(), tasks)
    return {task.name: add_prior(parts[task.name], task.counts, loss.balanced) for task in tasks}


def load_teachers(config: FitConfig, student: ModelSpec) -> Teachers | None:
    """The networks of `config.teachers`; None without any. Raises `RunError` for a run that is missing, and
    `OptionError` for one that does not predict what `student` predicts from the same inputs."""
    if not config.teachers:
        return None
    if others := [task.name for task in student.tasks if task.target != "class"]:
        raise OptionError(
            f"--teacher: a network learns classes from its teachers, and {', '.join(others)} has none: "
            "leave out --teacher, or that --task"
        )
    members = tuple(_load(Path(folder), student) for folder in config.teachers)
    return Teachers(members, config.teacher_share, config.temperature)


def _load(folder: Path, student: ModelSpec) -> Teacher:
    where = f"--teacher {folder}"
    if not (folder / BEST).is_file():
        raise RunError(
            f"{where}: no run there; expected {BEST} in it, as in RUNS/RECIPE after 'train fit'"
        )
    saved = load(folder / BEST)
    recipe = recipes().get(saved["recipe"])
    if recipe is None:
        raise RunError(f"{where}: a run of {saved['recipe']!r}, a recipe that is not installed")
    trained = load_run(recipe, folder)
    with version_errors(folder / BEST, saved):
        if not isinstance(trained.recipe, Bindable) or "view" not in trained.recipe.spec_dict():
            raise OptionError(
                f"{where}: {recipe.name} is no network over samples; expected a run of one that reads "
                "what this recipe reads"
            )
        spec = msgspec.convert(trained.recipe.spec_dict(), ModelSpec)
    _check_same(where, spec, student)
    module = trained.module.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    source = TeacherSource(recipe.name, sha256(folder / BEST))
    return Teacher(module, spec.tasks, spec.loss, source)


def _check_same(where: str, teacher: ModelSpec, student: ModelSpec) -> None:
    """Raise `OptionError` where a teacher predicts other labels, or reads other inputs."""
    predicts, expected = (describe_tasks(spec.tasks) for spec in (teacher, student))
    if predicts != expected:
        raise OptionError(f"{where}: it predicts {predicts}; expected {expected}")
    for part in fields(teacher.window):
        found, needed = (getattr(spec.window, part.name) for spec in (teacher, student))
        if found != needed:
            values = f" {found}; expected {needed}, as this network"
            named = part.name + ("" if part.name == "tokenizer" else values)
            raise OptionError(f"{where}: it reads samples with another {named}")
    same_samples = teacher.data.content_sha256 == student.data.content_sha256
    if same_samples and teacher.data.split_sha256 != student.data.split_sha256:
        raise OptionError(
            f"{where}: it was trained on the same samples under other splits, so it may know those of "
            "split valid; train it on this data set"
        )
