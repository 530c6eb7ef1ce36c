"""Decoding the outputs of YuNet, and of any detector with the same twelve outputs.

For each stride S of 8, 16, 32 the engine gives, for each cell of a (H / S, W / S) grid in row
order, ``cls_S`` and ``obj_S`` (N, cells, 1) in [0, 1], ``bbox_S`` (N, cells, 4) and ``kps_S``
(N, cells, 10): offsets from the cell in units of S, sizes as logarithms (Wu, Peng and Yu, "YuNet",
2023; the arithmetic is that of OpenCV's ``FaceDetectorYN``).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

STRIDES = (8, 16, 32)


@dataclass(frozen=True, slots=True, eq=False)
class Proposals:
    """The faces that the cells of one picture propose, before non-maximum suppression.

    `boxes` (K, 4) x0, y0, x1, y1, `landmarks` (K, 5, 2) x, y, `scores` (K,), all float32.
    """

    boxes: NDArray[np.float32]
    landmarks: NDArray[np.float32]
    scores: NDArray[np.float32]

    def pick(self, keep: NDArray[np.intp]) -> Proposals:
        """The proposals numbered `keep`, in that order."""
        return Proposals(self.boxes[keep], self.landmarks[keep], self.scores[keep])


def decode_proposals(
    outputs: Mapping[str, NDArray[Any]], height: int, width: int, threshold: float
) -> list[Proposals]:
    """Cells with a score of `threshold` or more: one `Proposals` for each picture, in canvas pixels.

    `height` and `width` are those of the canvas that the engine ran on. The arrays are copies, so the
    engine may reuse its buffers. Raises `ValueError` where the outputs do not fit the canvas.
    """
    found = [_strong(outputs, stride, height, width, threshold) for stride in STRIDES]
    picture, place, cell, score = (np.concatenate(part) for part in zip(*found, strict=True))
    size = place[:, 2:]
    center, half = (place[:, :2] + cell[:, :2]) * size, np.exp(cell[:, 2:4]) * size / 2
    points = (cell[:, 4:].reshape(-1, 5, 2) + place[:, None, :2]) * size[:, None]
    boxes = np.concatenate([center - half, center + half], 1)
    rows = (np.flatnonzero(picture == n) for n in range(len(outputs[f"cls_{STRIDES[0]}"])))
    return [Proposals(boxes[row], points[row], score[row]) for row in rows]


def _strong(
    outputs: Mapping[str, NDArray[Any]], stride: int, height: int, width: int, threshold: float
) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any], NDArray[Any]]:
    """The cells of one grid with a high enough score: number of the picture (K,), column, row and stride
    (K, 3), raw box and landmarks (K, 14), score (K,).

    They are few, so everything but the scores is computed for these cells only.
    """
    columns = width // stride
    cells = height // stride * columns
    cls, obj = _output(outputs, "cls", stride, cells, 1), _output(outputs, "obj", stride, cells, 1)
    bbox = _output(outputs, "bbox", stride, cells, 4)
    kps = _output(outputs, "kps", stride, cells, 10)
    scores = np.sqrt(np.clip(cls, 0, 1) * np.clip(obj, 0, 1), dtype=np.float32)[..., 0]
    picture, cell = (scores >= threshold).nonzero()
    place = np.empty((len(cell), 3), np.float32)
    place[:, 0], place[:, 1], place[:, 2] = cell % columns, cell // columns, stride
    raw = np.empty((len(cell), 14), np.float32)
    raw[:, :4], raw[:, 4:] = bbox[picture, cell], kps[picture, cell]
    return picture, place, raw, scores[picture, cell]


def _output(
    outputs: Mapping[str, NDArray[Any]], name: str, stride: int, cells: int, values: int
) -> NDArray[Any]:
    """One output, checked: (N, cells, values)."""
    found = outputs.get(f"{name}_{stride}")
    if found is None:
        raise ValueError(
            f"the detector has no output '{name}_{stride}': expected YuNet's twelve, "
            f"found {sorted(outputs)}"
        )
    if found.ndim != 3 or found.shape[1:] != (cells, values):
        raise ValueError(
            f"the detector's output {name}_{stride} has shape {found.shape}, "
            f"expected (N, {cells}, {values})"
        )
    return found


def nms(
    boxes: NDArray[np.float32], scores: NDArray[np.float32], iou: float, most: int | None = None
) -> NDArray[np.intp]:
    """Greedy non-maximum suppression: numbers of the kept boxes, best score first, `most` at most.

    `boxes` is (K, 4) x0, y0, x1, y1. A box that overlaps a better one by more than `iou` goes.
    Equal scores keep their order, so the result is a function of the input alone.
    """
    order = np.argsort(-scores, kind="stable")
    kept: list[np.intp] = []
    while order.size and len(kept) != most:
        best, order = order[0], order[1:]
        kept.append(best)
        order = order[box_iou(boxes[best], boxes[order]) <= iou]
    return np.asarray(kept, np.intp)


def box_iou(box: NDArray[np.float32], others: NDArray[np.float32]) -> NDArray[np.float32]:
    """Intersection over union of one box (4,) with each of `others` (K, 4); (K,) in [0, 1]."""
    low, high = np.maximum(box[:2], others[:, :2]), np.minimum(box[2:], others[:, 2:])
    shared = np.prod(np.maximum(high - low, 0), axis=1)
    sizes = np.prod(others[:, 2:] - others[:, :2], axis=1) + np.prod(box[2:] - box[:2])
    ratio: NDArray[np.float32] = shared / np.maximum(sizes - shared, 1e-9)
    return ratio
