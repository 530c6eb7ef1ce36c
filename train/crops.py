"""Crops for training, cut by the code that serves: pocket's detector and `faces.crop.align`.

`face` is the five-point similarity crop of the largest face; `person` what that face's box shows when
it is three times as wide and tall, and `frame` the whole picture: both with the longest side fitted, the
rest black. A frame without
a face has no `face` or `person` crop.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import ExitStack
from types import TracebackType
from typing import Literal, Self, get_args

import cv2
import numpy as np
from numpy.typing import NDArray

from affectstream.engines.bundle import Bundle
from affectstream.engines.errors import BundleError
from affectstream.stream.faces.crop import TEMPLATE, align
from affectstream.stream.faces.detect import Box, Detection, Detector, DetectorSpec

CropKind = Literal["face", "person", "frame"]
KINDS: tuple[CropKind, ...] = get_args(CropKind)
TEMPLATE_SIZE = 48
"""Side of the crop that `TEMPLATE` is for."""
PERSON = 3.0
"""How many times wider than the face a `person` crop is."""


def scaled_template(size: int) -> tuple[tuple[float, float], ...]:
    """`TEMPLATE` for a crop of `size` pixels that shows the same; pixel centres lie at whole numbers."""
    scale = size / TEMPLATE_SIZE
    return tuple(((x + 0.5) * scale - 0.5, (y + 0.5) * scale - 0.5) for x, y in TEMPLATE)


def person_crop(rgb: NDArray[np.uint8], box: Box, size: int) -> NDArray[np.uint8]:
    """What a face `box` shows when it is `PERSON` times as wide and tall, as `frame_crop` would fit it.

    What lies outside the picture is left out, not made up.
    """
    x, y = (box[0] + box[2]) / 2, (box[1] + box[3]) / 2
    wide, tall = PERSON * (box[2] - box[0]) / 2, PERSON * (box[3] - box[1]) / 2
    height, width = rgb.shape[:2]
    x0, x1 = max(0, round(x - wide)), min(width, round(x + wide))
    y0, y1 = max(0, round(y - tall)), min(height, round(y + tall))
    return frame_crop(rgb[y0 : max(y1, y0 + 1), x0 : max(x1, x0 + 1)], size)


def frame_crop(rgb: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    """The whole picture with its longest side at `size`, centred on black: (size, size, 3) uint8."""
    height, width = rgb.shape[:2]
    scale = size / max(height, width)
    rows, columns = max(1, round(height * scale)), max(1, round(width * scale))
    how = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    canvas = np.zeros((size, size, 3), np.uint8)
    top, left = (size - rows) // 2, (size - columns) // 2
    canvas[top : top + rows, left : left + columns] = cv2.resize(
        rgb, (columns, rows), interpolation=how
    )
    return canvas


class Cropper:
    """Cuts one kind of crop. The detector's bundle opens with the first picture and closes on exit."""

    def __init__(self, kind: CropKind, size: int, bundle: str = "pocket", threads: int = 1) -> None:
        self.kind, self.size = kind, size
        self.template = scaled_template(size)
        self._bundle, self._threads = bundle, threads
        self._stack = ExitStack()
        self._detector: Detector | None = None

    def cut(self, pictures: Sequence[NDArray[np.uint8]]) -> list[NDArray[np.uint8] | None]:
        """The crop of each RGB picture (H, W, 3) uint8, all of one size; None where there is no face.

        Raises `BundleError` where the bundle has no face detector.
        """
        if self.kind == "frame":
            return [frame_crop(rgb, self.size) for rgb in pictures]
        found = self._open().detect(pictures) if pictures else []
        return [
            self._largest(rgb, faces) if faces else None
            for rgb, faces in zip(pictures, found, strict=True)
        ]

    def _largest(self, rgb: NDArray[np.uint8], faces: Sequence[Detection]) -> NDArray[np.uint8]:
        face = max(faces, key=lambda f: (f.box[2] - f.box[0]) * (f.box[3] - f.box[1]))
        if self.kind == "person":
            return person_crop(rgb, face.box, self.size)
        return align(rgb, face.landmarks, np.asarray(self.template, np.float32), self.size)

    def _open(self) -> Detector:
        if self._detector is None:
            bundle = self._stack.enter_context(Bundle.open(self._bundle, threads=self._threads))
            part = bundle.manifest.engines.face_detector
            if part is None:
                raise BundleError(
                    f"bundle {bundle.manifest.name!r} has no face detector: expected one that has, "
                    "such as pocket"
                )
            spec = DetectorSpec(
                size=part.input_size,
                threshold=part.threshold,
                nms_iou=part.nms_iou,
                color=part.color,
                layout=part.layout,
            )
            self._detector = Detector(bundle.engines["face_detector"], spec)
        return self._detector

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._stack.close()
