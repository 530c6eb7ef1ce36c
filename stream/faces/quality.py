"""How good a look at a face one frame gives: size, sharpness and pose, each in [0, 1]."""

from __future__ import annotations

from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

MIN_QUALITY = 0.25
"""A face below this is tracked but not read: its emotion would be a guess."""

_EYES_NONE, _EYES_FULL = 6.0, 18.0
"""Pixels between the eyes at which size counts nothing and everything. A FER2013 face has 16."""
_SHARP_NONE, _SHARP_FULL = 0.03, 0.15
"""Laplacian energy over variance of the crop."""
_TURN_FULL, _TURN_NONE = 0.25, 0.75
"""Offset of the nose from the middle of the eyes, in eye distances: about 20 and 60 degrees."""


@dataclass(frozen=True, slots=True)
class Quality:
    """Three figures in [0, 1] and the least of them."""

    size: float
    sharpness: float
    pose: float

    @property
    def value(self) -> float:
        """The least: one bad figure is enough to spoil a look."""
        return min(self.size, self.sharpness, self.pose)

    @property
    def reason(self) -> str:
        """The reason to give when `value` is too low."""
        worst = min(
            (self.size, "tiny_face"), (self.pose, "turned_face"), (self.sharpness, "blurred_face")
        )
        return worst[1]


def assess_quality(crop: NDArray[np.uint8], landmarks: NDArray[np.float32]) -> Quality:
    """Quality of a face from its aligned `crop` (S, S, 3) uint8 RGB and frame `landmarks` (5, 2)."""
    right_eye, left_eye, nose = (complex(x, y) for x, y in landmarks[:3].tolist())
    across = left_eye - right_eye
    eyes = abs(across)
    # How far along the line of the eyes the nose is from their middle.
    aside = ((nose - (right_eye + left_eye) / 2) * across.conjugate()).real
    turn = abs(aside) / max(eyes * eyes, 1e-6)
    grey = cv2.cvtColor(crop, cv2.COLOR_RGB2GRAY)
    edges = cv2.Laplacian(grey, cv2.CV_16S, ksize=1)
    energy = _variance(edges) / (_variance(grey) + 25.0)
    return Quality(
        size=_ramp(eyes, _EYES_NONE, _EYES_FULL),
        sharpness=_ramp(energy, _SHARP_NONE, _SHARP_FULL),
        pose=1.0 - _ramp(turn, _TURN_FULL, _TURN_NONE),
    )


def _ramp(value: float, none: float, full: float) -> float:
    return min(max((value - none) / (full - none), 0.0), 1.0)


def _variance(picture: cv2.typing.MatLike) -> float:
    return float(cv2.meanStdDev(picture)[1][0, 0]) ** 2
