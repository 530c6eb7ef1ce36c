"""What a recipe is: an architecture, the data it learns from, and how it leaves as an engine.

A recipe is one module in `affectstream.train.recipes` that ends with ``RECIPE = ...``. Nothing else
has to know of it: the command line finds recipes by looking into that package.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from affectstream.train.config import FitConfig as FitConfig
from affectstream.train.networks.network import Phase

Batch = Mapping[str, Tensor]


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


@runtime_checkable
class Shareable(Protocol):
    """Batches that one of several processes need not make all of."""

    def share(self, rank: int, ranks: int) -> TrainBatches:
        """Batches `rank`, `rank` + `ranks`, ... of each epoch."""
        ...


class BatchStream(Protocol):
    """Batches made on the fly."""

    def __iter__(self) -> Any: ...


class Recipe(Protocol):
    """One architecture with its data, loss, score and engine file."""

    @property
    def name(self) -> str:
        """For `--recipe`."""
        ...

    @property
    def summary(self) -> str:
        """What it is, in a line."""
        ...

    @property
    def defaults(self) -> FitConfig:
        """How it is trained unless a person says otherwise."""
        ...

    def loaders(self, data: Path, config: FitConfig) -> Loaders:
        """Read the data set(s) under `data`; raise `DataMissing` where one is absent."""
        ...

    def module(self) -> nn.Module:
        """A fresh network with random weights."""
        ...

    def loss(self, module: nn.Module, batch: Batch) -> Tensor:
        """The scalar training loss of one batch, which is on the module's device."""
        ...

    def score(self, module: nn.Module, batches: Sequence[Batch]) -> dict[str, float]:
        """Validation figures; the first entry, higher is better, picks the best epoch.

        Batches are as `loaders` gave them, on the CPU. ``valid_loss``, where it is among the figures, is
        compared with the training loss.
        """
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


@runtime_checkable
class Phased(Protocol):
    """What a recipe has besides when some of its parts rest at first."""

    @property
    def phases(self) -> Sequence[Phase]:
        """The stretches of its training; none: everything learns from the start."""
        ...


class BoundRecipe(Recipe, DataBound, Protocol):
    """A recipe whose network depends on the data set."""


def parameters(module: nn.Module, *, all_: bool = False) -> int:
    """Trainable numbers in `module`, or all of them."""
    return sum(p.numel() for p in module.parameters() if all_ or p.requires_grad)


@torch.no_grad()
def average_into(ema: nn.Module, module: nn.Module, decay: float) -> None:
    """Move the running average `ema` one step towards `module` (buffers are copied)."""
    for mean, value in zip(ema.parameters(), module.parameters(), strict=True):
        if value.requires_grad:  # what rests is where the average is already
            mean.lerp_(value, 1.0 - decay)
    for kept, newest in zip(ema.buffers(), module.buffers(), strict=True):
        kept.copy_(newest)
