"""Batches of tensors in memory, for training and for validation."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Mapping

import torch
from torch import Tensor

from affectstream.train.recipe import Batch, FitConfig

Transform = Callable[[dict[str, Tensor], torch.Generator], Batch]


class Epochs:
    """Training batches from a function that makes the batches of an epoch, given its number."""

    def __init__(self, steps: int, make: Callable[[int], Iterable[Batch]]) -> None:
        self.steps, self.epoch = steps, make

    def __len__(self) -> int:
        return self.steps


def shuffled(columns: Mapping[str, Tensor], config: FitConfig, transform: Transform) -> Epochs:
    """Shuffled batches of whole size, augmented by `transform`; the same for the same seed and epoch.

    `columns` are the samples, (n, ...) each.
    """
    samples = len(next(iter(columns.values())))
    steps = samples // config.batch_size

    def make(number: int) -> Iterator[Batch]:
        generator = torch.Generator().manual_seed(config.seed * 100_003 + number)
        order = torch.randperm(samples, generator=generator)
        for picked in order.split(config.batch_size)[:steps]:
            yield transform({name: part[picked] for name, part in columns.items()}, generator)

    return Epochs(steps, make)


def split_batches(columns: Mapping[str, Tensor], size: int) -> list[Batch]:
    """`columns` (n, ...) each, in order, in batches of about equal size, `size` at most."""
    count = math.ceil(len(next(iter(columns.values()))) / size)
    parts = {name: values.chunk(count) for name, values in columns.items()}
    return [dict(zip(parts, part, strict=True)) for part in zip(*parts.values(), strict=True)]
