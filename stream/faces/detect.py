"""Faces and their five landmarks in one frame, from any detector with YuNet's twelve outputs.

For each stride S of 8, 16, 32 the engine gives, for each cell of a (H / S, W / S) grid in row
order, ``cls_S`` and ``obj_S`` (N, cells, 1) in [0, 1], ``bbox_S`` (N, cells, 4) and ``kps_S``
(N, cells, 10): offsets from the cell in units of S, sizes as logarithms (Wu, Peng and Yu, "YuNet",
2023; the arithmetic is that of OpenCV's ``FaceDetectorYN``). Our own detector and YuNet itself both
fit; `DetectorSpec` says how each wants its pixels.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from affectstream.engines.batching import batch_size_for
from affectstream.engines.spec import Engine

STRIDES = (8, 16, 32)
LANDMARKS = ("right_eye", "left_eye", "nose", "right_mouth", "left_mouth")
"""The subject's right comes first, so the first eye is the one on the left of the picture."""

Box = tuple[float, float, float, float]


@dataclass(frozen=True, slots=True, eq=False)
class Detection:
    """One face in pixels of the frame; the box may reach beyond the frame's edge.

    `box` is (x0, y0, x1, y1), `landmarks` (5, 2) float32 x, y in the order of `LANDMARKS`, `score`
    the detector's confidence in [0, 1].
    """

    box: Box
    landmarks: NDArray[np.float32]
    score: float


@dataclass(frozen=True, slots=True)
class DetectorSpec:
    """How a detector wants its pixels, and which of its answers count.

    Frames are shrunk until the longest side is at most `size` pixels. `threshold` is the smallest
    score of a face, `nms_iou` the overlap from which two boxes are one face.
    """

    size: int = 320
    threshold: float = 0.6
    nms_iou: float = 0.3
    color: Literal["rgb", "bgr"] = "rgb"
    layout: Literal["nhwc", "nchw"] = "nhwc"
    max_faces: int = 16

    def __post_init__(self) -> None:
        if self.size < STRIDES[-1]:
            raise ValueError(f"size must be at least {STRIDES[-1]} pixels, found {self.size}")
        if not 0.0 < self.threshold < 1.0 or not 0.0 < self.nms_iou < 1.0:
            raise ValueError(
                "threshold and nms_iou must be between 0 and 1, "
                f"found {self.threshold} and {self.nms_iou}"
            )
        if self.color not in ("rgb", "bgr") or self.layout not in ("nhwc", "nchw"):
            raise ValueError(
                "expected color rgb or bgr and layout nhwc or nchw, "
                f"found {self.color!r} and {self.layout!r}"
            )
        if self.max_faces < 1:
            raise ValueError(f"max_faces must be at least 1, found {self.max_faces}")


@dataclass(frozen=True, slots=True, eq=False)
class Proposals:
    """What one picture's cells propose, before overlapping boxes are merged.

    `boxes` (K, 4) x0, y0, x1, y1, `landmarks` (K, 5, 2), `scores` (K,), all float32.
    """

    boxes: NDArray[np.float32]
    landmarks: NDArray[np.float32]
    scores: NDArray[np.float32]

    def pick(self, keep: NDArray[np.intp]) -> Proposals:
        """The candidates numbered `keep`, in that order."""
        return Proposals(self.boxes[keep], self.landmarks[keep], self.scores[keep])


def fitted_size(height: int, width: int, size: int) -> tuple[int, int]:
    """Height and width with the longest side at most `size`; small pictures keep theirs."""
    longest = max(height, width)
    if longest <= size:
        return height, width
    return max(1, round(height * size / longest)), max(1, round(width * size / longest))


def grid_size(height: int, width: int) -> tuple[int, int]:
    """Height and width rounded up to whole cells of the coarsest grid."""
    coarse = STRIDES[-1]
    return -(-height // coarse) * coarse, -(-width // coarse) * coarse


def canvas_size(frame: tuple[int, ...], size: int) -> tuple[int, int]:
    """Height and width of the canvas for a frame (H, W, ...): shrunk, then whole cells."""
    return grid_size(*fitted_size(frame[0], frame[1], size))


def letterbox(frame: NDArray[np.uint8], canvas: NDArray[np.uint8], size: int) -> None:
    """Shrink an RGB frame (H, W, 3) uint8 onto the top left of `canvas` (h, w, 3), the rest black.

    Its longest side becomes at most `size`. Raises `ValueError` where the frame is not (H, W, 3)
    uint8 or does not fit.
    """
    if frame.ndim != 3 or frame.shape[2] != 3 or frame.dtype != np.uint8:
        raise ValueError(f"expected a frame (H, W, 3) uint8, found {frame.shape} {frame.dtype}")
    height, width = fitted_size(frame.shape[0], frame.shape[1], size)
    rows, columns = canvas.shape[:2]
    if height > rows or width > columns:
        raise ValueError(
            f"a frame of {width}x{height} does not fit the detector's {columns}x{rows}: "
            "choose a smaller size"
        )
    canvas[height:], canvas[:height, width:] = 0, 0
    inside = canvas[:height, :width]
    # Averaging areas by halves and the rest bilinearly skips no pixel, at a tenth of the cost of
    # averaging areas at a ratio that is no whole number.
    while frame.shape[0] >= 2 * height and frame.shape[1] >= 2 * width:
        half = frame.shape[1] // 2, frame.shape[0] // 2
        even = frame[: 2 * half[1], : 2 * half[0]]
        frame = np.asarray(cv2.resize(even, half, interpolation=cv2.INTER_AREA), np.uint8)
    if (height, width) == frame.shape[:2]:
        inside[:] = frame
    else:
        cv2.resize(frame, (width, height), dst=inside, interpolation=cv2.INTER_LINEAR)


def decode_proposals(
    outputs: Mapping[str, NDArray[Any]], height: int, width: int, threshold: float
) -> list[Proposals]:
    """Cells with a score of `threshold` or more, one `Proposals` a picture, in canvas pixels.

    `height` and `width` are those of the canvas the engine saw. The arrays are copies: the engine
    may use its buffers again. Raises `ValueError` where the outputs do not fit the canvas.
    """
    found = [_strong(outputs, stride, height, width, threshold) for stride in STRIDES]
    picture, place, cell, score = (np.concatenate(part) for part in zip(*found, strict=True))
    size = place[:, 2:]
    centre, half = (place[:, :2] + cell[:, :2]) * size, np.exp(cell[:, 2:4]) * size / 2
    points = (cell[:, 4:].reshape(-1, 5, 2) + place[:, None, :2]) * size[:, None]
    boxes = np.concatenate([centre - half, centre + half], 1)
    rows = (np.flatnonzero(picture == n) for n in range(len(outputs[f"cls_{STRIDES[0]}"])))
    return [Proposals(boxes[row], points[row], score[row]) for row in rows]


def _strong(
    outputs: Mapping[str, NDArray[Any]], stride: int, height: int, width: int, threshold: float
) -> tuple[NDArray[Any], NDArray[Any], NDArray[Any], NDArray[Any]]:
    """The cells of one grid that count: number of the picture (K,), column, row and stride (K, 3),
    box and landmarks as they are (K, 14), score (K,).

    Few cells do, so everything but the scores is looked at for those only.
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


def nms(boxes: NDArray[np.float32], scores: NDArray[np.float32], iou: float) -> NDArray[np.intp]:
    """Greedy non-maximum suppression: numbers of the kept boxes, best score first.

    `boxes` is (K, 4) x0, y0, x1, y1. A box that overlaps a better one by more than `iou` goes.
    Equal scores keep their order, so the result is a function of the input alone.
    """
    order = np.argsort(-scores, kind="stable")
    kept = []
    while order.size:
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


class Detector:
    """An engine with YuNet's outputs, from frames to faces. It holds no state between calls."""

    def __init__(self, engine: Engine, spec: DetectorSpec) -> None:
        """Raises `ValueError` where the engine does not take one picture tensor."""
        if len(engine.inputs) != 1:
            raise ValueError(
                f"a face detector takes one input, found {len(engine.inputs)}: "
                f"{sorted(engine.inputs)}"
            )
        self._engine, self.spec = engine, spec
        self._name, tensor = next(iter(engine.inputs.items()))
        self._dtype = np.dtype(tensor.dtype)
        shape = list(tensor.shape)
        if len(shape) != 4:
            raise ValueError(f"input {self._name!r} has shape {shape}, expected four axes")
        sides = shape[1:3] if spec.layout == "nhwc" else shape[2:4]
        fixed = all(isinstance(side, int) and side > 0 for side in sides)
        self._canvas = (int(sides[0]), int(sides[1])) if fixed else None
        self._one_by_one = shape[0] == 1

    def detect(self, frames: Sequence[NDArray[np.uint8]]) -> list[list[Detection]]:
        """Faces of each RGB frame (H, W, 3) uint8, best score first; all frames the same size.

        One run of the engine for all frames (at most 64), or one each where its batch axis is fixed
        to 1. Raises `ValueError` where the frames differ in size.
        """
        if not frames:
            return []
        sizes = {frame.shape for frame in frames}
        if len(sizes) != 1:
            raise ValueError(f"frames of one call must have one size, found {sorted(sizes)}")
        batches = [[frame] for frame in frames] if self._one_by_one else [frames]
        return [faces for batch in batches for faces in self._run(batch)]

    def _run(self, frames: Sequence[NDArray[np.uint8]]) -> list[list[Detection]]:
        shape, size = frames[0].shape, self.spec.size
        rows, columns = self._canvas or canvas_size(shape, size)
        filled = batch_size_for(len(frames))
        batch: NDArray[Any] = np.empty((filled, rows, columns, 3), np.uint8)
        batch[len(frames) :] = 0
        for frame, canvas in zip(frames, batch, strict=False):
            letterbox(frame, canvas, size)
        if self.spec.color == "bgr":
            batch = batch[..., ::-1]
        if self.spec.layout == "nchw":
            batch = batch.transpose(0, 3, 1, 2)
        feeds = {self._name: np.ascontiguousarray(batch, self._dtype)}
        height, width = fitted_size(shape[0], shape[1], size)
        back = np.asarray([shape[1] / width, shape[0] / height], np.float32)
        proposals = decode_proposals(self._engine.run(feeds), rows, columns, self.spec.threshold)
        return [self._faces(candidates, back) for candidates in proposals[: len(frames)]]

    def _faces(self, candidates: Proposals, back: NDArray[np.float32]) -> list[Detection]:
        keep = nms(candidates.boxes, candidates.scores, self.spec.nms_iou)
        faces = candidates.pick(keep[: self.spec.max_faces])
        boxes = faces.boxes * np.concatenate([back, back])
        return [
            Detection(
                (float(box[0]), float(box[1]), float(box[2]), float(box[3])), points, float(score)
            )
            for box, points, score in zip(boxes, faces.landmarks * back, faces.scores, strict=True)
        ]
