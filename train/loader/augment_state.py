"""The random choices of a training batch: augmented pictures, and modalities that are left out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch
from torch import Tensor

from affectstream.engines.labels import Modality
from affectstream.train.config import FitConfig
from affectstream.train.loader import pictures


@dataclass(frozen=True, slots=True)
class AugmentState:
    """The random choices of one training batch: where they come from, and which are made."""

    generator: torch.Generator
    """On the CPU."""
    config: FitConfig

    def on(self, device: torch.device) -> torch.Generator:
        """A generator on `device`: this one, or one that it seeds."""
        if device.type == "cpu":
            return self.generator
        seed = int(torch.randint(2**62, (), generator=self.generator))
        return torch.Generator(device).manual_seed(seed)


def augmented(shown: Tensor, owner: Tensor, training: AugmentState) -> Tensor:
    """`pictures.augment` of pictures (M, S, S, C) uint8."""
    generator, config = training.on(shown.device), training.config
    degrees = {"erasing": config.erasing, "degrading": config.degrading}
    changed = pictures.augment(shown.float(), owner, generator, **degrees)
    return changed.round().to(torch.uint8)


def drop_modalities(
    batch: dict[str, Tensor], modalities: Sequence[Modality], training: AugmentState
) -> None:
    """Mask each modality of each sample, and its metadata, with the probability of the settings; a
    sample keeps one of its modalities. Only masks change."""
    there = torch.stack([batch[f"{m}_mask"].any(1) for m in modalities], 1)
    count, extra = there.shape[1], "metadata_mask" in batch
    dice = torch.rand(len(there), count + extra, generator=training.generator)
    dropout = training.config.modality_dropout
    kept = keep_some(there, dice[:, :count], dropout)
    for column, modality in enumerate(modalities):
        batch[f"{modality}_mask"] = batch[f"{modality}_mask"] & kept[:, column : column + 1]
    if extra:
        hidden = dice[:, count:] < dropout
        batch["metadata_mask"] = batch["metadata_mask"] & ~hidden


def keep_some(there: Tensor, dice: Tensor, dropout: float) -> Tensor:
    """Which of the parts (N, M) bool that are `there` stay: those whose `dice`, in [0, 1), reach `dropout`;
    of a sample that would lose all, the one with the highest number."""
    left = there & (dice >= dropout)
    best = torch.where(there, dice, -1.0).argmax(1, keepdim=True)
    last = there & torch.zeros_like(there).scatter(1, best, value=True)
    return torch.where(left.any(1, keepdim=True), left, last)
