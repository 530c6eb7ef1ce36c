"""Cuts: looks between which the whole picture changes, so that no place means what it meant before."""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

_THUMBNAIL = (16, 9)
SAME_SHOT = 0.75
"""Lowest correlation of two looks of one shot."""


def describe_picture(rgb: NDArray[np.uint8]) -> NDArray[np.float32]:
    """A unit vector (144,) float32 of where a picture (H, W, 3) uint8 is bright, whatever its exposure.

    All zeros for a picture of one gray.
    """
    # A picture a tenth the size costs a hundredth, and the thumbnail is the same to the eye.
    step = max(1, min(rgb.shape[:2]) // 90)
    # Whole rows are turned gray and then thinned out: copying single pixels of three bytes takes longer.
    gray = np.ascontiguousarray(cv2.cvtColor(rgb[::step], cv2.COLOR_RGB2GRAY)[:, ::step])
    thumbnail = (
        cv2.resize(gray, _THUMBNAIL, interpolation=cv2.INTER_AREA).astype(np.float32).ravel()
    )
    thumbnail -= thumbnail.mean()
    return np.asarray(thumbnail / max(1e-6, float(np.linalg.norm(thumbnail))), np.float32)


class CutDetector:
    """Push the thumbnail of each look; whether a new shot begins with it."""

    def __init__(self) -> None:
        self._newest: NDArray[np.float32] | None = None

    def push(self, thumbnail: NDArray[np.float32] | None) -> bool:
        """None: nothing is known of the picture, and it is no cut."""
        before, self._newest = self._newest, thumbnail
        if before is None or thumbnail is None:
            return False
        return float(before @ thumbnail) < SAME_SHOT
