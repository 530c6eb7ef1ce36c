"""The interface of a recipe: an architecture, the data that it learns from, and its export as ONNX files.

A recipe is one module below `affectstream.train.recipes` that ends with ``RECIPE = ...``. Nothing else has to
know of it: `affectstream.train.recipes.registry` finds it there.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol, runtime_checkable

import torch
from torch import Tensor, nn

from affectstream.train.config import FitConfig as FitConfig

Batch = Mapping[str, Tensor]


@dataclass(frozen=True, slots=True)
class Loaders:
    """Training batches (a fresh, seeded pass for each epoch number) and validation batches."""

    train: EpochBatches
    valid: Sequence[Batch]
    notes: tuple[str, ...] = ()
    """What the user should know of the data, a line each."""


class EpochBatches(Protocol):
    """Training batches, a function of the seed and the epoch number alone."""

    def epoch(self, number: int) -> Iterable[Batch]:
        """Batches of one epoch."""

    def __len__(self) -> int:
        """Batches in one epoch."""


@runtime_checkable
class Placeable(Protocol):
    """Training batches that several processes can share among them, each on its device."""

    def placed(self, device: torch.device, rank: int = 0, ranks: int = 1) -> EpochBatches:
        """Batches `rank`, `rank` + `ranks`, ... of each epoch, made on `device` as far as they can be."""


class Recipe(Protocol):
    """One architecture with its data, loss, validation and export.

    It may also have `phases`, a sequence of `networks.network.Phase`, a `search_space.Space` in `space`, and
    ``load_pretrained(module, data)``, which loads weights from the data folder into a new network.
    """

    @property
    def name(self) -> str:
        """Its name for `--recipe`."""

    @property
    def summary(self) -> str:
        """One line for `train list`."""

    @property
    def defaults(self) -> FitConfig:
        """Its training settings; flags and files override them."""

    def loaders(self, data: Path, config: FitConfig) -> Loaders:
        """Read the data set(s) in `data`. Raises `DataMissing` if one is absent."""

    def module(self) -> nn.Module:
        """A new network."""

    def loss(self, module: nn.Module, batch: Batch) -> Tensor:
        """The scalar training loss of one batch, which is on the module's device."""

    def validate(self, module: nn.Module, batches: Sequence[Batch]) -> dict[str, float]:
        """Validation metrics; the first one, higher is better, picks the best epoch unless `--monitor` does.

        Batches are as `loaders` gave them, on the CPU or the device of the module. ``valid_loss``, if it is
        among the metrics, is compared with the training loss.
        """

    def export(self, module: nn.Module, folder: Path) -> list[Path]:
        """Write the engine files (ONNX, tokenizer) into `folder` and return their paths."""


@runtime_checkable
class Bindable(Protocol):
    """A recipe whose network depends on the data set: on its labels, for instance."""

    def bind(self, data: Path, config: FitConfig) -> BoundRecipe:
        """The recipe for the data set in `data`. Raises `DataMissing` or `DataError` if it does not fit."""

    def spec_dict(self) -> dict[str, Any]:
        """What the recipe is bound to, in plain values for a checkpoint."""

    def restore(self, spec: dict[str, Any]) -> BoundRecipe:
        """The recipe bound to what `spec_dict` gave."""


class BoundRecipe(Recipe, Bindable, Protocol):
    """A recipe that `Bindable.bind` or `Bindable.restore` made."""


def count_parameters(module: nn.Module, *, all_: bool = False) -> int:
    """Trainable numbers in `module`, or all of them."""
    return sum(p.numel() for p in module.parameters() if all_ or p.requires_grad)


@torch.no_grad()
def update_ema(ema: nn.Module, module: nn.Module, decay: float) -> None:
    """Move the running average `ema` one step towards `module`; buffers are copied."""
    # The average of a frozen parameter is the parameter.
    pairs = zip(ema.parameters(), module.parameters(), strict=True)
    if learning := [pair for pair in pairs if pair[1].requires_grad]:
        means, values = map(list, zip(*learning, strict=True))
        torch._foreach_lerp_(means, values, 1.0 - decay)
    copies, buffers = list(ema.buffers()), list(module.buffers())
    for kind in {buffer.dtype for buffer in buffers}:  # one kernel copies tensors of one type
        torch._foreach_copy_(
            [buffer for buffer in copies if buffer.dtype == kind],
            [buffer for buffer in buffers if buffer.dtype == kind],
        )
