"""The batches of `face_detector`: canvases, upright and turned, made on the fly, by workers if any."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence

import cv2
import numpy as np
import torch
from numpy.typing import NDArray

from affectstream.stream.faces.detection.yunet import STRIDES
from affectstream.train.config import FitConfig
from affectstream.train.loader.batches import EpochOrder, NumberedBatches
from affectstream.train.loader.faces.canvases import Canvases
from affectstream.train.loader.faces.degrade import Picture
from affectstream.train.loader.faces.heads import Faces
from affectstream.train.recipe import Batch

Teacher = Callable[[torch.Tensor], Sequence[torch.Tensor]]
"""From RGB pictures (N, 3, H, W) float32 to the raw values of each grid."""

SIDES = (128, 160, 192)
"""Sides of canvases: smaller than those of serving, which gives more steps for the same time. They are
square, so that a quarter turn moves cells onto cells."""
STEPS = 200
"""Steps an epoch. Canvases are made on the fly, so an epoch is a length, not a pass."""
MOST_FACES = 32
"""Faces of one canvas; further ones are dropped, and canvases with so many are rare."""
TURNS = 4
"""How often a canvas is turned: to make one costs more than to learn from it."""
UPRIGHT, QUARTERS = 0.3, 0.4
"""Shares of the canvases that stay upright, and that turn by about 90, 180 or 270 degrees."""


def canvas_batch(
    canvases: Canvases, size: int, rng: np.random.Generator, side: int | None = None
) -> Batch:
    """A batch of `size` canvases of one side: ``upright`` and ``turned`` (N, 3, S, S) uint8, ``turn``
    (N, 2, 3) float32, the affine map from pixels of the one to those of the other, and ``faces``
    (N, `MOST_FACES`, 15) float32 of the turned ones.

    A face is its box x0, y0, x1, y1, five landmarks x, y, and 1 for a face that has to be found, 0 for one
    that may be found or not, -1 for none.
    """
    side = side or int(rng.choice(SIDES))
    upright = np.empty((size, side, side, 3), np.uint8)
    turned, turns = np.empty_like(upright), np.empty((size, 2, 3), np.float32)
    rows = np.full((size, MOST_FACES, 15), -1, np.float32)
    for k, row in enumerate(rows):
        if k % TURNS == 0:
            upright[k : k + TURNS], straight = canvases.make(side, rng)
        turned[k], turns[k], faces = turn_canvas(upright[k], straight, rng)
        count = min(len(faces.boxes), MOST_FACES)
        row[:count, :4] = faces.boxes[:count]
        row[:count, 4:14] = faces.landmarks[:count].reshape(-1, 10)
        row[:count, 14] = faces.certain[:count]
    arrays = {"upright": upright, "turned": turned, "turn": turns, "faces": rows}
    tensors = {name: torch.from_numpy(array) for name, array in arrays.items()}
    for name in ("upright", "turned"):  # in memory the channels stay last
        tensors[name] = tensors[name].permute(0, 3, 1, 2)
    return tensors


def turn_canvas(
    picture: Picture, faces: Faces, rng: np.random.Generator
) -> tuple[Picture, NDArray[np.float32], Faces]:
    """A square picture (S, S, 3) turned around its middle, the map (2, 3), and the faces still in it."""
    side = len(picture)
    degrees = _degrees(rng)
    middle = (side - 1) / 2
    matrix = np.asarray(cv2.getRotationMatrix2D((middle, middle), degrees, 1.0), np.float64)
    turned, border = picture, (cv2.BORDER_REPLICATE, cv2.BORDER_CONSTANT)[int(rng.integers(2))]
    if degrees % 90:
        turned = np.asarray(
            cv2.warpAffine(picture, matrix, (side, side), borderMode=border), np.uint8
        )
    elif degrees:
        turned = np.ascontiguousarray(np.rot90(picture, round(degrees / 90)))
    found = faces.moved(matrix)
    center = (found.boxes[:, :2] + found.boxes[:, 2:]) / 2
    inside = ((center >= 0) & (center < side)).all(1)
    corners = (found.boxes >= 0).all(1) & (found.boxes < side).all(1)
    whole = found.certain & (corners | (degrees % 90 == 0))
    kept = Faces(found.boxes[inside], found.landmarks[inside], whole[inside])
    return turned, matrix.astype(np.float32), kept


def _degrees(rng: np.random.Generator) -> float:
    """Counterclockwise."""
    kind = rng.random()
    if kind < UPRIGHT:
        return 0.0
    if kind < UPRIGHT + QUARTERS:
        return 90.0 * int(rng.integers(1, 4))
    return float(rng.uniform(-180, 180))


class CanvasBatches(NumberedBatches):
    """Training batches, each a function of the seed, the epoch and its number, with what a `teacher` answers
    on the upright canvases: ``teacher_8`` and so on, (N, 16, h, w)."""

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
        batch = canvas_batch(self._canvases, self._config.batch_size, rng)
        with torch.no_grad():
            grids = self._teacher(batch["upright"][::TURNS].float())
        names = (f"teacher_{stride}" for stride in STRIDES)
        answers = (grid.repeat_interleave(TURNS, 0)[: len(batch["turn"])] for grid in grids)
        return {**batch, **dict(zip(names, answers, strict=True))}
