"""The batches of `face_detector`: canvases, made on the fly, by worker processes where there are any."""

from __future__ import annotations

from collections.abc import Iterator

import cv2
import numpy as np
import torch

from affectstream.train.config import FitConfig
from affectstream.train.loader.batches import EpochOrder, NumberedBatches
from affectstream.train.loader.face_canvases import Canvases
from affectstream.train.recipe import Batch

SHAPES = (
    *((128, 192), (160, 160), (192, 128), (192, 320)),
    *((224, 384), (256, 256), (320, 256), (384, 224)),
)
"""Canvas sizes: small ones, which give more steps for the same time, and those of serving."""
STEPS = 800
"""Steps an epoch. Canvases are made on the fly, so an epoch is a length, not a pass."""
MOST_FACES = 32
"""Faces of one canvas; further ones are dropped, and canvases with so many are rare."""


def canvas_batch(
    canvases: Canvases, size: int, rng: np.random.Generator, shape: tuple[int, int] | None = None
) -> Batch:
    """A batch of `size` canvases: ``grey`` (N, 1, H, W) uint8 and ``faces`` (N, `MOST_FACES`, 15) float32.

    A face is its box x0, y0, x1, y1, five landmarks x, y, and 1 for a face that has to be found, 0 for one
    that may be found or not, -1 for none.
    """
    height, width = shape or SHAPES[int(rng.integers(len(SHAPES)))]
    grey = np.empty((size, 1, height, width), np.uint8)
    rows = np.full((size, MOST_FACES, 15), -1, np.float32)
    for picture, row in zip(grey, rows, strict=True):
        picture[0], faces = canvases.make(height, width, rng)
        count = min(len(faces.boxes), MOST_FACES)
        row[:count, :4] = faces.boxes[:count]
        row[:count, 4:14] = faces.landmarks[:count].reshape(-1, 10)
        row[:count, 14] = faces.certain[:count]
    return {"grey": torch.from_numpy(grey), "faces": torch.from_numpy(rows)}


class CanvasBatches(NumberedBatches):
    """Training batches, each a function of the seed, the epoch and its number."""

    def __init__(self, canvases: Canvases, config: FitConfig) -> None:
        self._canvases, self._config = canvases, config
        self._epoch = EpochOrder(STEPS)

    def __len__(self) -> int:
        return STEPS

    def epoch(self, number: int) -> Iterator[Batch]:
        """The batches of one epoch."""
        self._epoch.number = number
        yield from self._load(self._epoch, self._config.workers)

    def __getitem__(self, index: tuple[int, int]) -> Batch:
        """The batch of (epoch, number)."""
        if torch.utils.data.get_worker_info() is not None:
            cv2.setNumThreads(1)  # the workers are the threads
        rng = np.random.default_rng([self._config.seed, *index])
        return canvas_batch(self._canvases, self._config.batch_size, rng)
