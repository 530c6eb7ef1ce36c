"""Batches of samples for training and validation, made here or by worker processes.

A batch depends on the seed, the epoch and its number alone, however many processes make batches.
"""

from __future__ import annotations

import copy
import math
from collections import deque
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import lru_cache
from typing import Any, Protocol, cast

import torch
from torch.utils.data import DataLoader
from torch.utils.data import Dataset as TorchDataset

from affectstream.train.config import FitConfig
from affectstream.train.loader.augment_state import AugmentState
from affectstream.train.loader.samples import Samples
from affectstream.train.recipe import Batch

VALID_BATCH = 64
"""Samples in a validation batch at most."""
VALID_PICTURES = 512
"""Pictures in a validation batch at most, where samples have several."""
VALID_ON_GPU = 1024
"""Samples in a validation batch at most that are kept in a GPU's memory: they are small."""
AHEAD = 4
"""Batches that each worker prepares in advance."""


class BatchSource(Protocol):
    """Samples by number."""

    def __len__(self) -> int: ...

    def move(self, device: torch.device) -> bool:
        """Keep the samples on `device`, where `batch` then makes batches; False where they stay here."""

    def batch(self, picked: Sequence[int], training: AugmentState | None = None) -> Batch:
        """Samples `picked`, augmented with `training`."""


class NumberedBatches(TorchDataset[Batch]):
    """Batches by number, made here or by workers, in advance."""

    _loader: DataLoader[Batch] | None = None

    def _load(self, sampler: Any, workers: int) -> DataLoader[Batch]:
        """Batches in the order of `sampler`; always the same loader, whose workers outlive an epoch."""
        if self._loader is None:
            self._loader = DataLoader(
                self,
                batch_size=None,
                sampler=sampler,
                num_workers=workers,
                # A forked child would share the open files of the data set, and their positions.
                multiprocessing_context="spawn" if workers else None,
                prefetch_factor=AHEAD if workers else None,
                persistent_workers=workers > 0,
                pin_memory=workers > 0 and torch.cuda.is_available(),
                # The network's dropout does not depend on the seeds of workers.
                generator=torch.Generator().manual_seed(0),
            )
        return self._loader

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_loader": None}


class TrainBatches(NumberedBatches):
    """Shuffled batches of equal size, the same for the same seed and epoch."""

    def __init__(
        self, samples: BatchSource, config: FitConfig, weights: torch.Tensor | None = None
    ) -> None:
        """With `weights` (n,) samples are drawn with these probabilities, some repeatedly."""
        self._samples, self._config, self._weights = samples, config, weights
        self._size = min(config.batch_size, len(samples))
        self._count = len(samples) // self._size
        self._epoch = EpochOrder(self._count)
        self._device = torch.device("cpu")
        """Where batches are wanted."""
        self._moved = False
        """Whether they are made there."""

    def __len__(self) -> int:
        return self._count

    def placed(self, device: torch.device, rank: int = 0, ranks: int = 1) -> TrainBatches:
        """Batches `rank`, `rank` + `ranks`, ... of each epoch for `device`: made there where all samples fit,
        else made here in advance."""
        part = copy.copy(self)
        part._epoch = EpochOrder(self._count, rank, ranks)
        part._device = device
        part._moved = device.type != "cpu" and self._samples.move(device)
        return part

    def epoch(self, number: int) -> Iterator[Batch]:
        """The batches of an epoch: inputs of `Network.encode` and the targets of every task, (N, ...)."""
        self._epoch.number = number
        if self._moved:
            yield from map(self.__getitem__, self._epoch)
        elif self._device.type != "cpu" and not self._config.workers:
            yield from in_advance(map(self.__getitem__, self._epoch))
        else:
            yield from self._load(self._epoch, self._config.workers)

    def __getitem__(self, index: tuple[int, int]) -> Batch:
        """The batch of (epoch, number)."""
        epoch, number = index
        seed = self._config.seed * 100_003 + epoch
        order = _drawn(len(self._samples), self._weights, seed)
        picked = order[number * self._size : (number + 1) * self._size]
        generator = torch.Generator().manual_seed((seed * 1_000_003 + number + 1) % 2**64)
        return self._samples.batch(picked, AugmentState(generator, self._config))


@lru_cache(maxsize=1)
def _drawn(count: int, weights: torch.Tensor | None, seed: int) -> list[int]:
    """The samples of an epoch: all in random order, or as many drawn with these `weights`."""
    generator = torch.Generator().manual_seed(seed)
    if weights is None:
        return cast(list[int], torch.randperm(count, generator=generator).tolist())
    drawn = torch.multinomial(weights, count, replacement=True, generator=generator)
    return cast(list[int], drawn.tolist())


def in_advance(batches: Iterator[Batch]) -> Iterator[Batch]:
    """`batches`, of which a thread makes up to `AHEAD` while the caller computes; in pinned memory."""

    def make() -> Batch | None:
        batch = next(batches, None)
        if batch is None or not torch.cuda.is_available():
            return batch
        return {name: part.pin_memory() for name, part in batch.items()}

    pool = ThreadPoolExecutor(1, "batches")
    try:
        made = deque(pool.submit(make) for _ in range(AHEAD))
        while (batch := made.popleft().result()) is not None:
            made.append(pool.submit(make))
            yield batch
    finally:
        pool.shutdown(cancel_futures=True)


class EpochOrder:
    """(epoch, batch) in order: the sampler of a loader whose workers outlive an epoch."""

    def __init__(self, count: int, first: int = 0, step: int = 1) -> None:
        self.number, self._batches = 0, range(first, count, step)

    def __len__(self) -> int:
        return len(self._batches)

    def __iter__(self) -> Iterator[tuple[int, int]]:
        return ((self.number, batch) for batch in self._batches)


class ValidBatches(Sequence[Batch], NumberedBatches):
    """Every sample once, in order, read again on each pass."""

    def __init__(self, samples: Samples, workers: int = 0, size: int | None = None) -> None:
        """`size` samples a batch, by default `valid_batch_size`."""
        self.samples, self._workers = samples, workers
        self._size = size or valid_batch_size(samples)

    def move(self, device: torch.device) -> None:
        """Make larger batches on `device`, where that is a GPU and all samples fit."""
        if device.type != "cpu" and self.samples.move(device):
            self._size, self._workers = max(self._size, VALID_ON_GPU), 0

    def __len__(self) -> int:
        return math.ceil(len(self.samples) / self._size)

    def __getitem__(self, index: Any) -> Any:
        """Batch `index`, no slice. Raises `IndexError` beyond the end."""
        if not 0 <= index < len(self):
            raise IndexError(f"batch {index} of {len(self)}")
        first = index * self._size
        return self.samples.batch(range(first, min(first + self._size, len(self.samples))))

    def halve(self) -> int:
        """Make batches of half the size, at least one sample; returns the size before."""
        before, self._size, self._loader = self._size, max(1, self._size // 2), None
        return before

    def __iter__(self) -> Iterator[Batch]:
        """All batches, made by the workers if there are any."""
        if self._workers == 0:
            return (self[index] for index in range(len(self)))
        return iter(self._load(range(len(self)), self._workers))


def valid_batch_size(samples: Samples) -> int:
    """Samples in a validation batch whose pictures fit into memory."""
    return max(1, min(VALID_BATCH, VALID_PICTURES // max(1, samples.windows.max_pictures())))


def to_device(batch: Batch, device: torch.device) -> dict[str, torch.Tensor]:
    """The batch on `device`."""
    return {name: part.to(device, non_blocking=True) for name, part in batch.items()}
