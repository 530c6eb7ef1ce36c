"""A face in one frame, and what perception finds in a frame."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from enum import IntEnum

import numpy as np
from numpy.typing import NDArray

from affectstream.stream.faces.box import Box
from affectstream.stream.faces.measures.geometry import Geometry
from affectstream.stream.faces.measures.pose import Pose
from affectstream.stream.faces.measures.quality import UNKNOWN_QUALITY, Quality
from affectstream.stream.media.types import UPRIGHT, Rotation

_MAX_SPREAD = 100
"""The landmarks of a face span at most this many frames."""


class Certainty(IntEnum):
    """How sure a detection is. Detectors score differently, so a bundle states from which score each holds.

    `CERTAIN`: a person is there if a few more detections agree. `CLEAR`: one detection is enough.
    """

    WEAK = 0
    CERTAIN = 1
    CLEAR = 2


@dataclass(frozen=True, slots=True, eq=False)
class Face:
    """One face in one frame. Each step of its way copies it and adds fields.

    From detection (`detect`), in pixels of the frame: `box` may reach beyond the frame's edge, `landmarks`
    (5, 2) float32 x, y are in the order of `engines.landmarks.FIVE_POINTS`, `score` in [0, 1] is the
    detector's confidence, and `certainty` what it means. Turned counterclockwise by `turn` quarters, the face
    is upright, or leans by less than about 45 degrees.

    From geometry (`find`), where the bundle has that engine: `geometry`; `landmarks` are its five points.

    From perception (`perceive`): `quality`; `appearance`, a unit vector that tells people in one recording
    apart and is never written out; `embeddings`, one (D,) float32 for each of `FaceEncoders.faces`.

    From following its track (`follow`): `pose`; and with geometry `gaze`, yaw and pitch in degrees in the
    frame with the signs of `Pose`, `eyes_open` and `mouth_open` in [0, 1].
    """

    box: Box
    landmarks: NDArray[np.float32]
    score: float
    quality: Quality = UNKNOWN_QUALITY
    embeddings: tuple[NDArray[np.float32], ...] = ()
    appearance: NDArray[np.float32] = field(default_factory=lambda: np.zeros(0, np.float32))
    geometry: Geometry | None = None
    pose: Pose | None = None
    gaze: tuple[float, float] | None = None
    eyes_open: float | None = None
    mouth_open: float | None = None
    certainty: Certainty = Certainty.CLEAR
    turn: int = 0

    @property
    def center(self) -> tuple[float, float]:
        """Middle of the box."""
        return (self.box[0] + self.box[2]) / 2, (self.box[1] + self.box[3]) / 2

    @property
    def side(self) -> float:
        """Geometric mean of the box's width and height, in pixels."""
        return math.sqrt(max(1.0, (self.box[2] - self.box[0]) * (self.box[3] - self.box[1])))

    def is_usable(self, height: int, width: int) -> bool:
        """Whether it may be a face in a frame of that size: all numbers are finite, the box meets the
        frame, and the landmarks do not coincide. Else nothing can be cropped."""
        x0, y0, x1, y1 = self.box
        # Plain numbers are faster than arrays for five points.
        xs, ys = zip(*self.landmarks.tolist(), strict=True)
        return (
            all(map(math.isfinite, (*xs, *ys, *self.box)))
            and max(x0, 0) < min(x1, width)
            and max(y0, 0) < min(y1, height)
            and 1.0 <= max(max(xs) - min(xs), max(ys) - min(ys)) <= _MAX_SPREAD * max(height, width)
        )


@dataclass(frozen=True, slots=True, eq=False)
class FrameObservation:
    """All faces of one frame, and the frame as a whole.

    `frame_size` is (width, height) of the picture that the faces' pixels refer to, and `scale` that
    picture's scale relative to the recording (1.0 unless the recording is very large).
    `frame_embeddings` has one (D,) float32 for each of `FaceEncoders.frames`. `bad_faces` is the number of
    detections that are left out (see `Face.is_usable`). `thumbnail` tells a cut (see `cut`). `rotation` is
    the one that made the decoded picture upright.
    """

    pts_us: int
    frame_size: tuple[int, int]
    faces: tuple[Face, ...]
    scale: float = 1.0
    frame_embeddings: tuple[NDArray[np.float32], ...] = ()
    bad_faces: int = 0
    thumbnail: NDArray[np.float32] | None = None
    rotation: Rotation = UPRIGHT
