"""The batches of `face_detector`: canvases that are turned and degraded, and what YuNet answered before."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import cv2
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from affectstream.stream.faces.detection.yunet import STRIDES
from affectstream.train.config import FitConfig
from affectstream.train.loader.batches import EpochOrder, NumberedBatches
from affectstream.train.loader.faces.canvases import Canvases
from affectstream.train.loader.faces.degrade import Picture, degraded
from affectstream.train.recipe import Batch

Teacher = Callable[[Tensor], Sequence[Tensor]]
"""From RGB pictures (N, 3, H, W) float32 to the raw values of each grid."""

SIDES = (128, 160, 192)
"""Sides of canvases: smaller than those of serving, which gives more steps for the same time. They are
square, so that a quarter turn moves cells onto cells."""
STEPS = 200
"""Steps an epoch. Canvases are made on the fly, so an epoch is a length, not a pass."""
TURNS = 4
"""How often a canvas is turned: to make one costs more than to learn from it."""
UPRIGHT, QUARTERS = 0.3, 0.4
"""Shares of the canvases that stay upright, and that turn by about 90, 180 or 270 degrees."""


def canvas_batch(
    canvases: Canvases, teacher: Teacher, size: int, side: int, rng: np.random.Generator
) -> Batch:
    """A batch of `size` canvases: ``turned`` and degraded (N, 3, side, side) uint8, ``turn`` (N, 2, 3)
    float32, the affine map from pixels of the upright canvas to those of the turned one, and what the
    `teacher` answers on the upright, clean one: ``teacher_8`` and so on, (N, 16, h, w)."""
    upright = [canvases.make(side, rng) for _ in range(-(-size // TURNS))]
    turned = [turn_canvas(upright[k // TURNS], rng) for k in range(size)]
    with torch.no_grad():
        grids = teacher(_tensor(upright).float())
    answers = (grid.repeat_interleave(TURNS, 0)[:size] for grid in grids)
    return {
        "turned": _tensor([degraded(picture, rng) for picture, _ in turned]),
        "turn": torch.from_numpy(np.stack([matrix for _, matrix in turned])),
        **{f"teacher_{s}": grid for s, grid in zip(STRIDES, answers, strict=True)},
    }


def _tensor(pictures: Sequence[Picture]) -> Tensor:
    """(N, 3, H, W); in memory the channels stay last."""
    return torch.from_numpy(np.stack(pictures)).permute(0, 3, 1, 2)


def turn_canvas(picture: Picture, rng: np.random.Generator) -> tuple[Picture, NDArray[np.float32]]:
    """A square picture (S, S, 3) turned around its middle, and the map (2, 3)."""
    side, kind, degrees = len(picture), rng.random(), 0.0  # counterclockwise
    if kind > UPRIGHT + QUARTERS:
        degrees = float(rng.uniform(-180, 180))
    elif kind > UPRIGHT:
        degrees = 90.0 * int(rng.integers(1, 4))
    matrix = cv2.getRotationMatrix2D(((side - 1) / 2, (side - 1) / 2), degrees, 1.0)
    border = (cv2.BORDER_REPLICATE, cv2.BORDER_CONSTANT)[int(rng.integers(2))]
    if degrees % 90:
        turned = cv2.warpAffine(picture, matrix, (side, side), borderMode=border)
    else:
        turned = np.rot90(picture, round(degrees / 90))
    return np.ascontiguousarray(turned, np.uint8), np.asarray(matrix, np.float32)


class CanvasBatches(NumberedBatches):
    """Training batches, each a function of the seed, the epoch and its number, made by workers if any."""

    def __init__(self, canvases: Canvases, teacher: Teacher, config: FitConfig) -> None:
        self._canvases, self._teacher, self._config = canvases, teacher, config
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
        side = int(rng.choice(SIDES))
        return canvas_batch(self._canvases, self._teacher, self._config.batch_size, side, rng)
