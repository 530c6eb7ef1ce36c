"""Batches of face crops out of a prepared data set: augmented to train on, plain to be judged by.

Crops are brought to the side that the network sees: averaged down, or interpolated up.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from typing import overload

import cv2
import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from numpy.typing import NDArray
from torch import Tensor

from affectstream.train.dataset import Dataset
from affectstream.train.errors import DataError
from affectstream.train.recipe import Batch, FitConfig

VALID_BATCH = 64
"""Samples in a validation batch; a sample may have several crops."""

TURN = math.radians(15.0)
NARROWEST = 0.8
"""Side of the smallest random crop, as a share of the picture's."""
JITTER = 0.25
"""Brightness, contrast and saturation change by up to this share."""


def face_rows(dataset: Dataset, split: str) -> NDArray[np.int64]:
    """Numbers of the samples of `split` with an emotion and at least one crop.

    Raises `DataError` where there are none: no such split, no labels, or no crops.
    """
    rows = dataset.rows_of(split, task="emotion")
    times = dataset.column("crop_times_us")
    seen = rows[[times[row] is not None and len(times[row]) > 0 for row in rows]]
    if not seen.size:
        raise DataError(
            f"data set {dataset.info.name!r}: none of the {len(rows)} samples of split {split} has "
            "a face crop; a face recipe needs pictures, prepared with '--crop face'"
        )
    return seen


def resized(crops: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    """Crops (T, S, S, 3) uint8 as (T, size, size, 3), the same where they are of that size."""
    if crops.shape[1] == size:
        return crops
    how = cv2.INTER_AREA if crops.shape[1] > size else cv2.INTER_LINEAR
    return np.stack([cv2.resize(crop, (size, size), interpolation=how) for crop in crops]).astype(
        np.uint8
    )


class FaceReader:
    """Crops and label numbers of some rows of a data set."""

    def __init__(
        self, dataset: Dataset, rows: NDArray[np.int64], labels: Sequence[str], size: int
    ) -> None:
        self.dataset, self.rows, self.size = dataset, rows, size
        emotions = dataset.column("emotion")
        self.labels = torch.tensor([labels.index(emotions[row]) for row in rows])

    def __len__(self) -> int:
        return len(self.rows)

    def crops(self, index: int) -> NDArray[np.uint8]:
        """All crops (T, size, size, 3) uint8 of sample `index` of these rows."""
        found = self.dataset[int(self.rows[index])].crops
        assert found is not None  # `face_rows` chose those that have some
        return resized(found, self.size)


class TrainFaces:
    """Shuffled batches, one crop of each sample; the same for the same seed and epoch."""

    def __init__(self, reader: FaceReader, config: FitConfig) -> None:
        self._reader, self._seed, self._augment = reader, config.seed, config.augment
        self._size = min(config.batch_size, len(reader))

    def __len__(self) -> int:
        return len(self._reader) // self._size

    def epoch(self, number: int) -> Iterator[Batch]:
        """``pixels`` (N, S, S, 3) float32 in [0, 255] and ``label`` (N,) int64."""
        generator = torch.Generator().manual_seed(self._seed * 100_003 + number)
        order = torch.randperm(len(self._reader), generator=generator)
        which = torch.rand(len(self._reader), generator=generator)
        for start in range(0, len(self) * self._size, self._size):
            picked = order[start : start + self._size]
            pixels = torch.stack([self._one(int(i), float(which[i])) for i in picked]).float()
            if self._augment:
                pixels = augment(pixels, generator)
            yield {"pixels": pixels, "label": self._reader.labels[picked]}

    def _one(self, index: int, share: float) -> Tensor:
        crops = self._reader.crops(index)
        return torch.from_numpy(crops[min(int(share * len(crops)), len(crops) - 1)])


class ValidFaces(Sequence[Batch]):
    """All crops of every sample, in order, read anew on each pass."""

    def __init__(self, reader: FaceReader) -> None:
        self.reader = reader

    def __len__(self) -> int:
        return math.ceil(len(self.reader) / VALID_BATCH)

    @overload
    def __getitem__(self, index: int) -> Batch: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[Batch]: ...
    def __getitem__(self, index: int | slice) -> Batch | Sequence[Batch]:
        """``pixels`` (M, S, S, 3) uint8, ``owner`` (M,) int64, which of the batch's samples each crop
        belongs to, and ``label`` (N,) int64 of the samples."""
        if isinstance(index, slice):
            return [self[i] for i in range(*index.indices(len(self)))]
        if not 0 <= index < len(self):
            raise IndexError(f"batch {index} of {len(self)}")
        first = index * VALID_BATCH
        samples = range(first, min(first + VALID_BATCH, len(self.reader)))
        crops = [self.reader.crops(i) for i in samples]
        owner = np.repeat(np.arange(len(crops)), [len(c) for c in crops])
        return {
            "pixels": torch.from_numpy(np.concatenate(crops)),
            "owner": torch.from_numpy(owner),
            "label": self.reader.labels[first : samples.stop],
        }


def mean_of_owner(embeddings: Tensor, owner: Tensor, samples: int) -> Tensor:
    """The mean embedding (samples, D) of each sample's crops, as the head of a bundle takes it."""
    total = embeddings.new_zeros(samples, embeddings.shape[1]).index_add(0, owner, embeddings)
    return total / torch.bincount(owner, minlength=samples).unsqueeze(1)


def augment(pixels: Tensor, generator: torch.Generator) -> Tensor:
    """Random flip, rotation, crop, brightness, contrast and saturation of each picture.

    (N, S, S, 3) float32 in [0, 255] to the same; a grey picture stays grey.
    """
    count = len(pixels)

    def uniform(low: float, high: float) -> Tensor:
        return torch.rand(count, generator=generator) * (high - low) + low

    flip = torch.where(uniform(0, 1) < 0.5, -1.0, 1.0)
    angle, side = uniform(-TURN, TURN), uniform(NARROWEST, 1.0)
    cosine, sine = torch.cos(angle) * side, torch.sin(angle) * side
    right, down = ((1.0 - side) * uniform(-1, 1) for _ in range(2))
    theta = torch.stack(
        [
            torch.stack([cosine * flip, -sine, right], 1),
            torch.stack([sine * flip, cosine, down], 1),
        ],
        1,
    )
    planes = pixels.permute(0, 3, 1, 2)
    grid = F.affine_grid(theta, list(planes.shape), align_corners=False)
    moved = F.grid_sample(planes, grid, padding_mode="border", align_corners=False)
    light, contrast, saturation = (
        uniform(1 - JITTER, 1 + JITTER).view(-1, 1, 1, 1) for _ in range(3)
    )
    grey = moved.mean(1, keepdim=True)
    moved = grey + saturation * (moved - grey)
    mean = moved.mean((1, 2, 3), keepdim=True)
    moved = light * (mean + contrast * (moved - mean))
    return moved.clamp(0, 255).permute(0, 2, 3, 1).contiguous()
