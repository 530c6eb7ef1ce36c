"""Batches of tensors in memory, for training and for validation."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping

import torch
from torch import Tensor

from affectstream.train.recipe import Batch, FitConfig

Transform = Callable[[dict[str, Tensor], torch.Generator], Batch]


class ShuffledBatches:
    """Shuffled, transformed batches of whole size; the same for the same seed and epoch."""

    def __init__(
        self, columns: Mapping[str, Tensor], config: FitConfig, transform: Transform
    ) -> None:
        """`columns` are the samples, (n, ...) each; `transform` augments a batch of them."""
        self._columns, self._transform = columns, transform
        self._size, self._seed = config.batch_size, config.seed
        self._samples = len(next(iter(columns.values())))

    def __len__(self) -> int:
        return self._samples // self._size

    def epoch(self, number: int) -> Iterator[Batch]:
        """The batches of one epoch."""
        generator = torch.Generator().manual_seed(self._seed * 100_003 + number)
        order = torch.randperm(self._samples, generator=generator)
        for picked in order.split(self._size)[: len(self)]:
            batch = {name: values[picked] for name, values in self._columns.items()}
            yield self._transform(batch, generator)


def split_batches(columns: Mapping[str, Tensor], size: int) -> list[Batch]:
    """`columns` (n, ...) each, in order, in batches of about equal size, `size` at most."""
    count = math.ceil(len(next(iter(columns.values()))) / size)
    parts = {name: values.chunk(count) for name, values in columns.items()}
    return [dict(zip(parts, part, strict=True)) for part in zip(*parts.values(), strict=True)]
