"""What a recipe is: an architecture, the data it learns from, and how it leaves as an engine.

A recipe is one module in `affectstream.train.models` that ends with ``RECIPE = ...``. Nothing else
has to know of it: the command line finds recipes by looking into that package.
"""

from __future__ import annotations

import importlib
import pkgutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

Batch = Mapping[str, Tensor]


@dataclass(frozen=True, slots=True)
class FitConfig:
    """Everything about a run that a person may change; it travels inside the checkpoint."""

    epochs: int = 20
    batch_size: int = 64
    learning_rate: float = 1e-3
    weight_decay: float = 1e-2
    warmup_epochs: float = 1.0
    clip_norm: float = 1.0
    ema_decay: float = 0.999
    seed: int = 0
    precision: str = "32-true"
    size: int | None = None
    """Side of the pictures that a face recipe sees, in pixels; None takes the recipe's own."""
    augment: bool = True
    """Whether a face recipe moves, turns and recolours its training pictures."""
    label_smoothing: float = 0.0
    class_weights: bool = False
    """Whether a face recipe counts every label alike, however many samples it has."""
    runs: str = "runs"
    """Folder of all runs, where a recipe that builds on others finds theirs."""

    def __post_init__(self) -> None:
        if self.epochs < 1 or self.batch_size < 1:
            raise ValueError(
                f"epochs and batch_size must be at least 1, found {self.epochs}, {self.batch_size}"
            )
        if not 0.0 <= self.ema_decay < 1.0:
            raise ValueError(f"ema_decay must be in [0, 1), found {self.ema_decay}")
        if not 0.0 <= self.label_smoothing < 1.0:
            raise ValueError(f"label_smoothing must be in [0, 1), found {self.label_smoothing}")


@dataclass(frozen=True, slots=True)
class Loaders:
    """Training batches (a fresh, seeded pass for each epoch number) and validation batches."""

    train: TrainBatches
    valid: Sequence[Batch]


class TrainBatches(Protocol):
    """One epoch of training batches, a function of the seed and the epoch number alone."""

    def epoch(self, number: int) -> Sequence[Batch] | BatchStream:
        """Batches of one epoch."""
        ...

    def __len__(self) -> int:
        """Steps in one epoch."""
        ...


class BatchStream(Protocol):
    """Batches made on the fly."""

    def __iter__(self) -> Any: ...


class Recipe(Protocol):
    """One architecture with its data, loss, score and engine file."""

    name: str
    summary: str
    defaults: FitConfig

    def loaders(self, data: Path, config: FitConfig) -> Loaders:
        """Read the data set(s) under `data`; raise `DataMissing` where one is absent."""
        ...

    def module(self) -> nn.Module:
        """A fresh network with random weights."""
        ...

    def loss(self, module: nn.Module, batch: Batch) -> Tensor:
        """The scalar training loss of one batch."""
        ...

    def score(self, module: nn.Module, batches: Sequence[Batch]) -> dict[str, float]:
        """Validation figures; the first entry is the one that picks the best epoch."""
        ...

    def export(self, module: nn.Module, folder: Path) -> list[Path]:
        """Write the engine file(s) (ONNX, tokenizer) into `folder` and return them."""
        ...


@runtime_checkable
class DataBound(Protocol):
    """What a recipe has besides when its network depends on the data set: on its labels, say."""

    def setting(self) -> dict[str, Any]:
        """What it is bound to, in plain values; it travels inside the checkpoint."""
        ...

    def for_data(self, data: Path, config: FitConfig) -> BoundRecipe:
        """The recipe bound to `data`; raise `DataMissing` or `DataError` where that cannot be."""
        ...

    def restored(self, setting: dict[str, Any]) -> BoundRecipe:
        """The recipe as a checkpoint left it."""
        ...


class BoundRecipe(Recipe, DataBound, Protocol):
    """A recipe whose network depends on the data set."""


def recipes() -> dict[str, Recipe]:
    """Every recipe in `affectstream.train.models`, by name."""
    from affectstream.train import models

    found: dict[str, Recipe] = {}
    for module in pkgutil.iter_modules(models.__path__):
        recipe = getattr(
            importlib.import_module(f"{models.__name__}.{module.name}"), "RECIPE", None
        )
        if recipe is not None:
            found[recipe.name] = recipe
    return found


def parameters(module: nn.Module) -> int:
    """Trainable numbers in `module`."""
    return sum(p.numel() for p in module.parameters() if p.requires_grad)


@torch.no_grad()
def average_into(ema: nn.Module, module: nn.Module, decay: float) -> None:
    """Move the running average `ema` one step towards `module` (buffers are copied)."""
    for mean, value in zip(ema.parameters(), module.parameters(), strict=True):
        mean.lerp_(value, 1.0 - decay)
    for kept, newest in zip(ema.buffers(), module.buffers(), strict=True):
        kept.copy_(newest)
