"""Late fusion: trained bundles, frozen, whose logits are added up by weights that are learned.

Methodology report: `late_fusion` learns one weight for each member, `enhanced_late_fusion` a bias for each
class too. Everything else of the network is the members', so they are asked once and only what they said
is learned from.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import msgspec
import numpy as np
import torch
from torch import Tensor, nn

from affectstream.engines.bundle.folder import Member
from affectstream.stream.errors import OptionError
from affectstream.train.config import FitConfig, Value, suggestion
from affectstream.train.errors import DataError
from affectstream.train.fusion.member_logits import MemberLogits, member_logits, rows_for
from affectstream.train.fusion.members import Part, again, find, known
from affectstream.train.graphs.onnx_export import to_onnx
from affectstream.train.loader.batches import TrainBatches
from affectstream.train.loader.samples import open_for
from affectstream.train.losses import LossConfig
from affectstream.train.model_spec import Source, source_of
from affectstream.train.recipe import Batch, Loaders
from affectstream.train.search_space import LATE_FUSION, Space
from affectstream.train.tasks import Task, metrics_of

if TYPE_CHECKING:
    from affectstream.train.predict.predictions import Predictions

VIDEO_WEIGHT = "video_weight"
FUSION = "fusion.onnx"
KEPT = "members"
"""Folder, in that of the recipe's runs, of what the members said."""
LEAST_CLASSES = 2
UNUSED = ("size", "augment", "weights", "tiny", "init", "compile", "checkpointing")
"""Settings that mean nothing where no encoder learns."""


class LateFusion(nn.Module):
    """``sum of weight x mask x logits``, and a bias for each class where there are biases.

    Has as many numbers as there are members, and with biases as many more as there are classes.
    """

    def __init__(self, weights: Sequence[float], classes: int, *, biases: bool) -> None:
        """`weights` are those to start from, one for each member."""
        super().__init__()
        self.weights = nn.Parameter(torch.tensor(list(weights)))
        self.biases = nn.Parameter(torch.zeros(classes)) if biases else None

    def forward(self, members: Tensor, mask: Tensor) -> Tensor:
        """Logits (N, M, C) and who has any, (N, M) bool, to logits (N, C); zeros where nobody has."""
        there = mask.to(members.dtype)
        fused = (members * (there * self.weights).unsqueeze(2)).sum(1)
        if self.biases is None:
            return fused
        return fused + self.biases * there.sum(1, keepdim=True).clamp(max=1.0)


@dataclass(frozen=True, slots=True)
class LateSetting:
    """What the weights were made for; it travels inside the checkpoint."""

    members: tuple[Part, ...]
    labels: tuple[str, ...]
    counts: tuple[int, ...]
    """Training samples of each label."""
    start: tuple[float, ...]
    """The weights before training."""
    emphasis: LossConfig
    data: Source

    @property
    def task(self) -> Task:
        """What is told."""
        return Task("emotion", self.labels, self.counts)

    @property
    def prior(self) -> tuple[float, ...]:
        """Shares of the labels in split train; one that it lacks counts as one sample."""
        counts = np.maximum(np.asarray(self.counts, np.float64), 1.0)
        return tuple(round(float(p), 6) for p in counts / counts.sum())

    @property
    def log_prior(self) -> Tensor:
        """What is added to the logits to judge them: (C,), zeros where every class counts alike."""
        prior = torch.tensor(self.prior)
        return torch.zeros_like(prior) if self.emphasis.class_weights else prior.log()


@dataclass(frozen=True, slots=True)
class LateRecipe:
    """A recipe over bundles. What its module gives is for a uniform prior, as what its members give."""

    name: str
    summary: str
    defaults: FitConfig
    biases: bool
    options: Mapping[str, Value] = field(default_factory=lambda: {VIDEO_WEIGHT: 0.5})
    """The weight of the members that are shown pictures before training (of the first one, where all are or
    none is); the others share the rest."""
    space: Space = field(default_factory=lambda: LATE_FUSION)
    made_for: LateSetting | None = None

    @property
    def fixed(self) -> LateSetting:
        """What the recipe is bound to. Raises `ValueError` before `for_data` or `restored`."""
        if self.made_for is None:
            raise ValueError(f"recipe {self.name!r} has no members yet: call for_data first")
        return self.made_for

    def setting(self) -> dict[str, Any]:
        """`fixed` in plain values, for a checkpoint."""
        return asdict(self.fixed)

    def restored(self, setting: Mapping[str, Any]) -> Self:
        """This recipe as a checkpoint left it."""
        return replace(self, made_for=msgspec.convert(setting, LateSetting))

    def for_data(self, data: Path, config: FitConfig) -> Self:
        """This recipe for the members in `config` and the prepared data set in `data`.

        Raises `OptionError` or `BundleError` for members that are none or do not go together, `DataMissing`
        or `DataError` where the data set has nothing for one of them.
        """
        _check_used(self, config)
        members = find(config.members)
        parts = known(members)
        labels = members[0].manifest.labels
        said = [self._said(members, data, split, config) for split in ("train", "valid")]
        counts = torch.bincount(said[0].truth, minlength=len(labels)).tolist()
        if sum(count > 0 for count in counts) < LEAST_CLASSES:
            raise DataError(
                f"{data}: all training samples are {labels[int(np.argmax(counts))]}, expected two classes "
                "or more"
            )
        made = LateSetting(
            members=parts,
            labels=labels,
            counts=tuple(counts),
            start=first_weights([part.watches for part in parts], _video_weight(self, config)),
            emphasis=LossConfig(config.class_weights, config.label_smoothing, config.focal_gamma),
            data=_source(data),
        )
        return replace(self, made_for=made)

    def loaders(self, data: Path, config: FitConfig) -> Loaders:
        """What the members said of both splits. Raises `RunError` for members that were changed."""
        members = again(self.fixed.members)
        train, valid = (self._said(members, data, split, config) for split in ("train", "valid"))
        return Loaders(TrainBatches(train, config), [valid.batch(range(len(valid)))])

    def _said(
        self, members: Sequence[Member], data: Path, split: str, config: FitConfig
    ) -> MemberLogits:
        keep = Path(config.runs) / self.name / KEPT
        return member_logits(members, data, split, keep)

    def module(self) -> LateFusion:
        """The weights to start from."""
        fixed = self.fixed
        return LateFusion(fixed.start, len(fixed.labels), biases=self.biases)

    def loss(self, module: nn.Module, batch: Batch) -> Tensor:
        """Cross entropy, with the emphasis that was asked for."""
        device = next(module.parameters()).device
        logits = self._judged(module, batch)
        return self.fixed.task.loss(logits, batch["emotion"].to(device), self.fixed.emphasis)

    def score(self, module: nn.Module, batches: Sequence[Batch]) -> dict[str, float]:
        """Figures of the fused answer, accuracy first, and last ``valid_loss``."""
        (batch,) = batches
        task, truth = self.fixed.task, batch["emotion"]
        with torch.no_grad():
            logits = self._judged(module, batch).float().cpu()
        told = {task.name: task.answers(logits).numpy()}
        figures = metrics_of([task], told, {task.name: truth.numpy()})
        return {**figures, "valid_loss": float(task.loss(logits, truth, self.fixed.emphasis))}

    def told(self, module: nn.Module, data: Path, split: str, config: FitConfig) -> Predictions:
        """What the fused answer to each sample of `split` is. Raises as `loaders`."""
        from affectstream.train.predict.predictions import of_rows

        members, dataset = again(self.fixed.members), open_for(data, ())
        said, task = self._said(members, data, split, config), self.fixed.task
        rows = rows_for(members, dataset, split)[said.rows.numpy()]
        with torch.no_grad():
            logits = self._judged(module, said.batch(range(len(said)))).float().cpu()
        return of_rows(dataset, rows, [task], {task.name: task.answers(logits).numpy()})

    def _judged(self, module: nn.Module, batch: Batch) -> Tensor:
        device = next(module.parameters()).device
        fused: Tensor = module(batch["members"].to(device), batch["mask"].to(device))
        return fused + self.fixed.log_prior.to(device)

    def export(self, module: nn.Module, folder: Path) -> list[Path]:
        """Write ``fusion.onnx``. Raises `ParityError` where it differs from `module`."""
        classes, count = len(self.fixed.labels), len(self.fixed.members)
        generator = torch.Generator().manual_seed(0)
        # One row without each member, one with all, one with nobody.
        mask = torch.cat(
            [~torch.eye(count).bool(), torch.tensor([[True], [False]]).repeat(1, count)]
        )
        example = (torch.randn(count + 2, count, classes, generator=generator), mask)
        to_onnx(module, example, folder / FUSION, inputs=["members", "mask"], outputs=["logits"])
        return [folder / FUSION]


def _source(data: Path) -> Source:
    dataset = open_for(data, ())
    return source_of(dataset, dataset.rows_of("train"))


def first_weights(watches: Sequence[bool], video_weight: float) -> tuple[float, ...]:
    """The weights before training, which add up to 1: see `LateRecipe.options`."""
    chosen = list(watches)
    if all(chosen) or not any(chosen):
        chosen = [number == 0 for number in range(len(chosen))]
    few, rest = sum(chosen), len(chosen) - sum(chosen)
    return tuple(video_weight / few if one else (1.0 - video_weight) / rest for one in chosen)


def _video_weight(recipe: LateRecipe, config: FitConfig) -> float:
    made = {**recipe.options, **config.options}
    for name in made:
        if name not in recipe.options:
            raise OptionError(
                f"--set {name}={made[name]}: {recipe.name} has no such option"
                f"{suggestion(name, tuple(recipe.options))}"
            )
    value = made[VIDEO_WEIGHT]
    if isinstance(value, str) or not 0.0 < value < 1.0:
        raise OptionError(f"--set {VIDEO_WEIGHT}={value}: expected a number between 0 and 1")
    return float(value)


def _check_used(recipe: LateRecipe, config: FitConfig) -> None:
    """Refuse what would not be looked at."""
    if config.tasks != ("emotion",):
        raise OptionError(
            f"--task {' '.join(config.tasks)}: {recipe.name} joins emotions, and nothing else"
        )
    for name in UNUSED:
        if getattr(config, name) != getattr(recipe.defaults, name):
            raise OptionError(
                f"--{name} means nothing for {recipe.name}: its members stay as they are"
            )
