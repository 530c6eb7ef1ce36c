"""How usable a face is in one frame: its size, sharpness and pose, each scored in [0, 1]."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Literal

import cv2
import numpy as np
from numpy.typing import NDArray

from affectstream.stream.faces.measures.pose import Pose

MIN_QUALITY = 0.25
"""A face below this is tracked, but its emotion is not predicted."""

_EYES_ZERO_PX, _EYES_FULL_PX = 6.0, 18.0
"""Distance of the eyes at which the size scores 0 and 1. A FER2013 face has 16 pixels."""
_SHARP_ZERO, _SHARP_FULL = 0.03, 0.15
"""Laplacian energy over variance of the crop at which the sharpness scores 0 and 1."""
_TURN_FULL, _TURN_ZERO = 0.25, 0.75
"""Offset of the nose from the middle of the eyes, in eye distances, at which the pose scores 1 and 0:
about 20 and 60 degrees."""
_ANGLE_FULL, _ANGLE_ZERO = 20.0, 60.0
"""Angle between a measured pose and the camera's axis at which the pose scores 1 and 0, in degrees."""

PoorFace = Literal["tiny_face", "turned_face", "blurred_face"]


@dataclass(frozen=True, slots=True)
class Quality:
    """Three scores in [0, 1], and the least of them."""

    size: float
    sharpness: float
    pose: float

    @property
    def value(self) -> float:
        """The least score: one bad property is enough to make a face unusable."""
        return min(self.size, self.sharpness, self.pose)

    @property
    def reason(self) -> PoorFace:
        """The reason to report where `value` is too low."""
        scores: tuple[tuple[float, PoorFace], ...] = (
            (self.size, "tiny_face"),
            (self.pose, "turned_face"),
            (self.sharpness, "blurred_face"),
        )
        return min(scores)[1]


UNKNOWN_QUALITY = Quality(0.0, 0.0, 0.0)
"""Of a face that was not assessed."""


def assess_quality(
    crop: NDArray[np.uint8], landmarks: NDArray[np.float32], pose: Pose | None = None
) -> Quality:
    """Quality of a face from its aligned `crop` (S, S, 3) uint8 RGB and its `landmarks` (5, 2) float32 in
    pixels of the frame.

    Without a measured `pose`, the nose's place between the eyes shows how far the face is turned.
    """
    right_eye, left_eye, nose = (complex(x, y) for x, y in landmarks[:3].tolist())
    across = left_eye - right_eye
    eyes = abs(across)
    if pose is None:
        # How far the nose is from the middle of the eyes, along the line through the eyes.
        aside = ((nose - (right_eye + left_eye) / 2) * across.conjugate()).real
        turned = _ramp(abs(aside) / max(eyes * eyes, 1e-6), _TURN_FULL, _TURN_ZERO)
    else:
        turned = _ramp(pose.angle, _ANGLE_FULL, _ANGLE_ZERO)
        # The eyes of a turned face are as far apart as those of one that is not.
        eyes /= max(math.cos(math.radians(pose.yaw)), 0.5)
    gray = cv2.cvtColor(crop, cv2.COLOR_RGB2GRAY)
    edges = cv2.Laplacian(gray, cv2.CV_16S, ksize=1)
    energy = _variance(edges) / (_variance(gray) + 25.0)
    return Quality(
        size=_ramp(eyes, _EYES_ZERO_PX, _EYES_FULL_PX),
        sharpness=_ramp(energy, _SHARP_ZERO, _SHARP_FULL),
        pose=1.0 - turned,
    )


def _ramp(value: float, zero: float, full: float) -> float:
    """0 at `zero` and below, 1 at `full` and above, linear between."""
    return min(max((value - zero) / (full - zero), 0.0), 1.0)


def _variance(picture: cv2.typing.MatLike) -> float:
    return float(cv2.meanStdDev(picture)[1][0, 0]) ** 2
