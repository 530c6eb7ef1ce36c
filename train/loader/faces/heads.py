"""Heads to paste on canvases: photos and crops, with the faces that YuNet finds in them.

YuNet looks at each upright photo once: box and landmarks of a head that is turned on a canvas follow from
these.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from affectstream.engines.runtimes.onnx import OnnxEngine
from affectstream.stream.faces.detection.detect import Detector, DetectorSpec
from affectstream.train.errors import DataMissing
from affectstream.train.loader.faces.degrade import Picture

YUNET = "models/yunet_n_dynamic.onnx"
CERTAIN = 0.6
"""YuNet's score of a face that has to be found; weaker ones, from `WEAK` on, may be found or not."""
WEAK = 0.3
CROP_EVERY = 3
"""One of so many crops with a frontal face is used, and all others."""
FRONTAL = 0.3
"""How far a head is turned at most that counts as frontal, see `Head`."""
ZOOM = 3.0
"""How many times a photo may be enlarged; crops are enlarged already."""
_MIRRORED = [1, 0, 2, 4, 3]
"""The landmarks of a mirrored face: right and left change places."""


@dataclass(frozen=True, slots=True, eq=False)
class Faces:
    """Faces in a picture, in pixels: `boxes` (K, 4) float32 x0, y0, x1, y1; `landmarks` (K, 5, 2) float32 x,
    y; `certain` (K,) bool, False for a face that may be found or not."""

    boxes: NDArray[np.float32]
    landmarks: NDArray[np.float32]
    certain: NDArray[np.bool_]

    def moved(self, matrix: NDArray[np.float64]) -> Faces:
        """The faces under the affine map `matrix` (2, 3). A face is the ellipse in its box: the new box, that
        of the mapped ellipse, is as wide on a head's side as the upright one is high."""
        linear, shift = matrix[:, :2], matrix[:, 2]
        low, high = self.boxes[:, :2].astype(np.float64), self.boxes[:, 2:].astype(np.float64)
        center = (low + high) / 2 @ linear.T + shift
        half = np.sqrt(((high - low) / 2) ** 2 @ (linear**2).T)
        points = (self.landmarks @ linear.T + shift).astype(np.float32)
        if np.linalg.det(linear) < 0:
            points = points[:, _MIRRORED]
        boxes = np.hstack([center - half, center + half]).astype(np.float32)
        return Faces(boxes, points, self.certain)


NO_FACES = Faces(np.zeros((0, 4), np.float32), np.zeros((0, 5, 2), np.float32), np.zeros(0, bool))


@dataclass(frozen=True, slots=True, eq=False)
class Head:
    """A picture, (H, W, 3) uint8 RGB or (H, W) uint8 grey, with its faces, the main one first. `turned` is 0
    for a frontal face and about 1 for a profile; `zoom` is how many times the picture may be enlarged."""

    pixels: Picture
    faces: Faces
    turned: float = 0.0
    zoom: float = ZOOM

    @property
    def center(self) -> NDArray[np.float64]:
        """Center of the main face, x and y."""
        return np.asarray(self.faces.boxes[0].reshape(2, 2).mean(0), np.float64)

    @property
    def width(self) -> float:
        """Width of the main face."""
        return float(self.faces.boxes[0, 2] - self.faces.boxes[0, 0])


def find_heads(photos: Sequence[Picture], crops: Sequence[Picture], data: Path) -> list[Head]:
    """The `photos` and the enlarged `crops` in which YuNet finds a face, with all of their faces; of the
    crops with a frontal face one in `CROP_EVERY`. Raises `DataMissing` without YuNet in `data`."""
    path = data / YUNET
    if not path.exists():
        raise DataMissing(f"the teacher is missing: expected YuNet's dynamic graph as {path}")
    spec = DetectorSpec(size=256, threshold=WEAK, color="bgr", layout="nchw")
    workers = min(8, len(os.sched_getaffinity(0)))
    with OnnxEngine(path, threads=1) as engine, ThreadPoolExecutor(workers) as pool:
        detector = Detector(engine, spec)
        of_photos = pool.map(partial(_head, detector, zoom=ZOOM), photos)
        of_crops = pool.map(partial(_head, detector, zoom=1.0), crops)
        found = [head for head in of_photos if head is not None]
        return found + thinned([head for head in of_crops if head is not None])


def thinned(heads: Sequence[Head]) -> list[Head]:
    """The heads that are turned by more than `FRONTAL`, and one in `CROP_EVERY` of the others."""
    frontal = [head for head in heads if head.turned <= FRONTAL]
    return [head for head in heads if head.turned > FRONTAL] + frontal[::CROP_EVERY]


def _head(detector: Detector, picture: Picture, zoom: float) -> Head | None:
    """A picture with the faces that are found in it; None without a certain one."""
    color = picture if picture.ndim == 3 else cv2.cvtColor(picture, cv2.COLOR_GRAY2RGB)
    found = detector.detect([np.asarray(color, np.uint8)])[0]
    if not found or found[0].score < CERTAIN:
        return None
    faces = Faces(
        np.array([face.box for face in found], np.float32),
        np.array([face.landmarks for face in found], np.float32),
        np.array([face.score >= CERTAIN for face in found]),
    )
    # Distance of the nose from the middle of the eyes along the line between them, in eye distances.
    right, left, nose = found[0].landmarks[:3]
    axis = left - right
    turned = abs((nose - (left + right) / 2) @ axis) / max(1.0, axis @ axis)
    return Head(picture, faces, float(turned), zoom)
