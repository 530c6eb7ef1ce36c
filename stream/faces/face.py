"""What perception finds in one frame: its faces, and embeddings of the whole picture."""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from affectstream.stream.faces.detect import Box
from affectstream.stream.faces.quality import Quality


@dataclass(frozen=True, slots=True, eq=False)
class Face:
    """A face as perceived in one frame, from that frame alone.

    `box` and `landmarks` (5, 2) float32 x, y are in pixels, `score` in [0, 1] is the detector's
    confidence. `embeddings` has one (D,) float32 for each of `FaceEncoders.faces`. `appearance` is a unit
    vector that tells people in one recording apart (see `appearance`); it is never written out.
    """

    box: Box
    landmarks: NDArray[np.float32]
    score: float
    quality: Quality
    embeddings: tuple[NDArray[np.float32], ...]
    appearance: NDArray[np.float32]

    @property
    def center(self) -> tuple[float, float]:
        """Middle of the box."""
        return (self.box[0] + self.box[2]) / 2, (self.box[1] + self.box[3]) / 2

    @property
    def side(self) -> float:
        """Geometric mean of the box's width and height, in pixels."""
        return math.sqrt(max(1.0, (self.box[2] - self.box[0]) * (self.box[3] - self.box[1])))


@dataclass(frozen=True, slots=True, eq=False)
class FrameObservation:
    """All faces of one frame, and the frame as a whole.

    `frame_size` is (width, height) of the picture that the faces' pixels refer to, and `scale` that
    picture's scale relative to the recording (1.0 unless the recording is very large).
    `frame_embeddings` has one (D,) float32 for each of `FaceEncoders.frames`. `bad_faces` is the number of
    detections that are left out (see `Detection.is_usable`).
    """

    pts_us: int
    frame_size: tuple[int, int]
    faces: tuple[Face, ...]
    scale: float = 1.0
    frame_embeddings: tuple[NDArray[np.float32], ...] = ()
    bad_faces: int = 0
