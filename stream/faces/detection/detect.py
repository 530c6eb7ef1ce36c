"""Detecting faces and their five landmarks in a frame.

The detector may be our own or YuNet itself; `DetectorSpec` says which pixels it takes, and `yunet` decodes
its outputs.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from affectstream.engines.graphs.batching import batch_size_for
from affectstream.engines.manifest import DetectorPart
from affectstream.engines.spans import span
from affectstream.engines.spec import Engine
from affectstream.stream.faces.detection.yunet import STRIDES, Proposals, decode_proposals, nms
from affectstream.stream.faces.face import Certainty, Face


@dataclass(frozen=True, slots=True)
class DetectorSpec:
    """Which pixels a detector takes, and which of its proposals are faces.

    Frames are scaled down until the longest side is at most `size` pixels. `threshold` is the lowest
    score of a face in (0, 1), `certain` and `clear` are those of the degrees of `Certainty`, `upright` is
    that of a face that is surely the right way up (0: none is looked at again), and `leaning` that of what
    may be a head that leans (0: none is looked for). `nms_iou` is the overlap above which two boxes are one
    face.
    """

    size: int = 320
    threshold: float = 0.6
    nms_iou: float = 0.3
    color: Literal["rgb", "bgr"] = "rgb"
    layout: Literal["nhwc", "nchw"] = "nhwc"
    max_faces: int = 16
    certain: float = 0.55
    clear: float = 0.8
    upright: float = 0.0
    leaning: float = 0.0

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

    @classmethod
    def of(cls, part: DetectorPart) -> DetectorSpec:
        """As the manifest of a bundle describes its detector."""
        return cls(
            part.input_size,
            part.threshold,
            part.nms_iou,
            part.color,
            part.layout,
            certain=part.certain,
            clear=part.clear,
            upright=part.upright,
            leaning=part.leaning,
        )

    @property
    def lowest(self) -> float:
        """Lowest score of what is looked at: faces, and what may be a head that leans."""
        return min(self.leaning, self.threshold) or self.threshold

    def certainty(self, score: float) -> Certainty:
        """What the score of a face means."""
        if score >= self.clear:
            return Certainty.CLEAR
        return Certainty.CERTAIN if score >= self.certain else Certainty.WEAK


def fitted_size(height: int, width: int, size: int) -> tuple[int, int]:
    """Height and width with the longest side at most `size`; smaller pictures keep their size."""
    longest = max(height, width)
    if longest <= size:
        return height, width
    return max(1, round(height * size / longest)), max(1, round(width * size / longest))


def grid_size(height: int, width: int) -> tuple[int, int]:
    """Height and width rounded up to whole cells of the coarsest grid."""
    coarse = STRIDES[-1]
    return -(-height // coarse) * coarse, -(-width // coarse) * coarse


def canvas_size(frame: tuple[int, ...], size: int) -> tuple[int, int]:
    """Height and width of the canvas for a frame (H, W, ...): scaled down, then whole cells."""
    return grid_size(*fitted_size(frame[0], frame[1], size))


def letterbox(frame: NDArray[np.uint8], canvas: NDArray[np.uint8], size: int) -> None:
    """Draw an RGB frame (H, W, 3) uint8 scaled down at the top left of `canvas` (h, w, 3), the rest black.

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
    # Halving by area averages, then the rest bilinearly, skips no pixel, and costs a tenth of area
    # averaging by a ratio that is not a whole number.
    while frame.shape[0] >= 2 * height and frame.shape[1] >= 2 * width:
        half = frame.shape[1] // 2, frame.shape[0] // 2
        even = frame[: 2 * half[1], : 2 * half[0]]
        frame = np.asarray(cv2.resize(even, half, interpolation=cv2.INTER_AREA), np.uint8)
    if (height, width) == frame.shape[:2]:
        inside[:] = frame
    else:
        cv2.resize(frame, (width, height), dst=inside, interpolation=cv2.INTER_LINEAR)


class Detector:
    """An engine with YuNet's outputs, from frames to faces. Keeps no state between calls."""

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

    def detect(
        self, frames: Sequence[NDArray[np.uint8]], least: float | None = None
    ) -> list[list[Face]]:
        """Faces of each RGB frame (H, W, 3) uint8, best score first; all frames the same size. `least` is the
        lowest score that is given (None: that of a face).

        One run of the engine for all frames (at most 64), or one each where its batch axis is fixed
        to 1. Raises `ValueError` where the frames differ in size.
        """
        if not frames:
            return []
        sizes = {frame.shape for frame in frames}
        if len(sizes) != 1:
            raise ValueError(f"frames of one call must have one size, found {sorted(sizes)}")
        least = self.spec.threshold if least is None else least
        batches = [[frame] for frame in frames] if self._one_by_one else [frames]
        return [faces for batch in batches for faces in self._run(batch, least)]

    def _run(self, frames: Sequence[NDArray[np.uint8]], least: float) -> list[list[Face]]:
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
        with span("detect", len(frames)):
            outputs = self._engine.run(feeds)
        found = decode_proposals(outputs, rows, columns, least)
        return [self._faces(proposals, back) for proposals in found[: len(frames)]]

    def _faces(self, proposals: Proposals, back: NDArray[np.float32]) -> list[Face]:
        iou, most = self.spec.nms_iou, self.spec.max_faces
        faces = proposals.pick(nms(proposals.boxes, proposals.scores, iou, most))
        boxes = faces.boxes * np.concatenate([back, back])
        return [
            Face(
                (float(box[0]), float(box[1]), float(box[2]), float(box[3])),
                points,
                float(score),
                certainty=self.spec.certainty(float(score)),
            )
            for box, points, score in zip(boxes, faces.landmarks * back, faces.scores, strict=True)
        ]
