"""Late fusion: the logits of frozen bundles, added up with learned weights.

Methodology report: `late_fusion` learns one weight for each member, `enhanced_late_fusion` also a bias
for each class; `evidence` (ours) a bias for each class and member.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Literal, Self

import msgspec
import numpy as np
import torch
from torch import Tensor, nn

from affectstream.engines.bundle.folder import Member
from affectstream.stream.errors import OptionError
from affectstream.train.config import FitConfig, Value, flag_of, suggestion
from affectstream.train.errors import DataError
from affectstream.train.fit.unseen import check_unseen
from affectstream.train.late_fusion.member_logits import MemberLogits, member_logits, rows_for
from affectstream.train.late_fusion.members import MemberRef, find_members, reopen
from affectstream.train.loader.batches import TrainBatches
from affectstream.train.loader.rows import open_for
from affectstream.train.losses import LossConfig, add_prior
from affectstream.train.model_spec import DataSource, data_source
from affectstream.train.onnx.onnx_export import to_onnx
from affectstream.train.predict.predictions import Predictions, predictions_for
from affectstream.train.recipe import Batch, Loaders
from affectstream.train.search_space import LATE_FUSION, Space
from affectstream.train.tasks import Task, compute_metrics, predict_all

VIDEO_WEIGHT = "video_weight"
FUSION = "fusion.onnx"
CACHE = "members"
"""Folder, in that of the recipe's runs, for the logits of the members."""
LEAST_CLASSES = 2
UNUSED = (
    *("size", "augment", "weights", "tiny", "init", "compile", "checkpointing"),
    *("prior_power", "teachers"),
)
"""Settings without effect, since no encoder learns."""


Biases = Literal["none", "class", "member"]
"""Whether there is a bias for each class, or one for each class and member."""


class LateFusion(nn.Module):
    """``sum of mask x (weight x logits + bias)`` over the members, see `Biases`. A bias for each class alone
    counts once, if any member is present."""

    def __init__(self, weights: Sequence[float], classes: int, biases: Biases = "none") -> None:
        """`weights` are the initial ones, one for each member."""
        super().__init__()
        self.weights = nn.Parameter(torch.tensor(list(weights)))
        shape = {"none": None, "class": (classes,), "member": (len(weights), classes)}[biases]
        self.biases = None if shape is None else nn.Parameter(torch.zeros(shape))

    def forward(self, members: Tensor, mask: Tensor) -> Tensor:
        """Logits (N, M, C) and which members have any, (N, M) bool, to logits (N, C); zeros if none has."""
        present = mask.to(members.dtype)
        fused = (members * (present * self.weights).unsqueeze(2)).sum(1)
        if self.biases is None:
            return fused
        if self.biases.dim() == 2:
            return fused + present @ self.biases
        return fused + self.biases * present.sum(1, keepdim=True).clamp(max=1.0)


class FusionSpec(msgspec.Struct, frozen=True, rename={"loss": "emphasis"}):
    """What the weights were trained for, as the checkpoint keeps it."""

    members: tuple[MemberRef, ...]
    labels: tuple[str, ...]
    counts: tuple[int, ...]
    """Training samples of each label."""
    start: tuple[float, ...]
    """The weights before training."""
    loss: LossConfig
    data: DataSource

    @property
    def task(self) -> Task:
        """The only task."""
        return Task("emotion", self.labels, self.counts)


@dataclass(frozen=True, slots=True)
class FusionRecipe:
    """A recipe over bundles. Its module gives logits for a uniform prior, as its members do."""

    name: str
    summary: str
    defaults: FitConfig
    biases: Biases
    options: Mapping[str, Value]
    """The initial weight of the members that take pictures (of the first member, if all or none do); the
    other members share the rest."""
    space: Space = field(default_factory=lambda: LATE_FUSION)
    bound_spec: FusionSpec | None = None

    @property
    def spec(self) -> FusionSpec:
        """What the recipe is bound to. Raises `ValueError` before `bind` or `restore`."""
        if self.bound_spec is None:
            raise ValueError(f"recipe {self.name!r} has no members yet: call bind first")
        return self.bound_spec

    def spec_dict(self) -> dict[str, Any]:
        """`spec` in plain values, for a checkpoint."""
        return msgspec.to_builtins(self.spec)

    def restore(self, spec: Mapping[str, Any]) -> Self:
        """This recipe bound to what `spec_dict` gave."""
        return replace(self, bound_spec=msgspec.convert(spec, FusionSpec))

    def bind(self, data: Path, config: FitConfig) -> Self:
        """This recipe for the members in `config` and the prepared data set in `data`.

        Raises as `find_members`, `check_unseen` and `member_logits`, `OptionError` for settings without
        effect, and `DataError` for training samples of one class.
        """
        self._check_unused(config)
        members = find_members(config.members)
        for member in members:
            check_unseen(member.folder, data)
        refs, labels = tuple(map(MemberRef.of, members)), members[0].manifest.labels
        train, _ = (self._logits(members, data, split, config) for split in ("train", "valid"))
        counts = torch.bincount(train.truth, minlength=len(labels)).tolist()
        if sum(count > 0 for count in counts) < LEAST_CLASSES:
            raise DataError(
                f"{data}: all training samples are {labels[int(np.argmax(counts))]}, expected two classes "
                "or more"
            )
        dataset = open_for(data, ())
        spec = FusionSpec(
            members=refs,
            labels=labels,
            counts=tuple(counts),
            start=self._start([ref.watches for ref in refs], config),
            loss=LossConfig(config.class_weights, config.label_smoothing, config.focal_gamma),
            # Without a sketch: its few numbers learn from samples that may evaluate its members.
            data=data_source(dataset, dataset.rows_of("train"), sketched=False),
        )
        return replace(self, bound_spec=spec)

    def _check_unused(self, config: FitConfig) -> None:
        """Raise `OptionError` for settings that would have no effect."""
        if config.tasks != ("emotion",):
            raise OptionError(
                f"--task {' '.join(config.tasks)}: {self.name} joins emotions, and nothing else"
            )
        for name in UNUSED:
            if getattr(config, name) != getattr(self.defaults, name):
                raise OptionError(
                    f"{flag_of(name)} means nothing for {self.name}: its members stay as they are"
                )

    def _start(self, watches: Sequence[bool], config: FitConfig) -> tuple[float, ...]:
        """The weights before training: those of `options`, or 1 for each member."""
        for name, value in config.options.items():
            if name not in self.options:
                raise OptionError(
                    f"--set {name}={value}: {self.name} has no such option"
                    f"{suggestion(name, tuple(self.options))}"
                )
        if VIDEO_WEIGHT not in self.options:
            return (1.0,) * len(watches)
        value = config.options.get(VIDEO_WEIGHT, self.options[VIDEO_WEIGHT])
        if isinstance(value, str) or not 0.0 < value < 1.0:
            raise OptionError(f"--set {VIDEO_WEIGHT}={value}: expected a number between 0 and 1")
        return initial_weights(watches, float(value))

    def _logits(
        self, members: Sequence[Member], data: Path, split: str, config: FitConfig
    ) -> MemberLogits:
        return member_logits(members, data, split, Path(config.runs) / self.name / CACHE)

    def loaders(self, data: Path, config: FitConfig) -> Loaders:
        """The members' logits for both splits. Raises `RunError` for members that have changed."""
        members = reopen(self.spec.members)
        train, valid = (self._logits(members, data, split, config) for split in ("train", "valid"))
        return Loaders(TrainBatches(train, config), [valid.batch(range(len(valid)))])

    def module(self) -> LateFusion:
        """The network with its initial weights."""
        return LateFusion(self.spec.start, len(self.spec.labels), self.biases)

    def _fused(self, module: nn.Module, batch: Batch) -> Tensor:
        """Logits (N, C) under the training prior, unless the loss balances it, on the module's device."""
        device = next(module.parameters()).device
        fused: Tensor = module(batch["members"].to(device), batch["mask"].to(device))
        return add_prior(fused, self.spec.counts, 1.0 - self.spec.loss.balanced)

    def loss(self, module: nn.Module, batch: Batch) -> Tensor:
        """Cross entropy as the spec's loss settings say."""
        logits = self._fused(module, batch)
        return self.spec.task.loss(logits, batch["emotion"].to(logits.device), self.spec.loss)

    def validate(self, module: nn.Module, batches: Sequence[Batch]) -> dict[str, float]:
        """Metrics of the fused emotions, accuracy first, and last ``valid_loss``."""
        (batch,) = batches
        task, truth = self.spec.task, batch["emotion"]
        with torch.no_grad():
            logits = self._fused(module, batch).float().cpu()
        predicted = predict_all(logits, [task])
        metrics = compute_metrics([task], {task.name: truth.numpy()}, predicted)
        return {**metrics, "valid_loss": float(task.loss(logits, truth, self.spec.loss))}

    def predict(self, module: nn.Module, data: Path, split: str, config: FitConfig) -> Predictions:
        """The fused predictions for each sample of `split`. Raises as `loaders`."""
        members, dataset = reopen(self.spec.members), open_for(data, ())
        found, tasks = self._logits(members, data, split, config), [self.spec.task]
        rows = rows_for(members, dataset, split)[found.rows.numpy()]
        with torch.no_grad():
            logits = self._fused(module, found.batch(range(len(found)))).float().cpu()
        return predictions_for(dataset, rows, tasks, predict_all(logits, tasks))

    def export(self, module: nn.Module, folder: Path) -> list[Path]:
        """Write ``fusion.onnx``. Raises `ParityError` if it differs from `module`."""
        classes, count = len(self.spec.labels), len(self.spec.members)
        generator = torch.Generator().manual_seed(0)
        # One row without each member, one with all, one with none.
        mask = torch.cat(
            [~torch.eye(count).bool(), torch.tensor([[True], [False]]).repeat(1, count)]
        )
        example = (torch.randn(count + 2, count, classes, generator=generator), mask)
        to_onnx(module, example, folder / FUSION, inputs=["members", "mask"], outputs=["logits"])
        return [folder / FUSION]


def initial_weights(watches: Sequence[bool], video_weight: float) -> tuple[float, ...]:
    """The weights before training, which add up to 1: see `FusionRecipe.options`."""
    has_video = list(watches)
    if all(has_video) or not any(has_video):
        has_video = [number == 0 for number in range(len(has_video))]
    count, others = sum(has_video), len(has_video) - sum(has_video)
    return tuple(
        video_weight / count if video else (1.0 - video_weight) / others for video in has_video
    )
