"""How a player turns the pictures of a recording that was made with the camera on its side."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import cast

import av
import numpy as np
from av.buffer import Buffer
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Rotation:
    """What makes a stored picture upright: transpose it, then mirror left-right, then top-bottom."""

    transpose: bool = False
    mirror: bool = False
    flip: bool = False

    @property
    def degrees(self) -> int:
        """Counter-clockwise; a mirrored picture has the angle of its unmirrored twin."""
        if self.transpose:
            return 90 if self.flip else 270
        return 180 if self.flip else 0

    def apply(self, rgb: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """The upright picture of `rgb` (H, W, 3): itself, or a contiguous copy."""
        if self == UPRIGHT:
            return rgb
        if self.transpose:
            rgb = rgb.transpose(1, 0, 2)
        if self.mirror:
            rgb = rgb[:, ::-1]
        if self.flip:
            rgb = rgb[::-1]
        return np.ascontiguousarray(rgb)


UPRIGHT = Rotation()


def read_rotation(picture: av.VideoFrame) -> Rotation:
    """From the display matrix of a frame, which phones write instead of turning the pixels.

    FFmpeg's matrix sends the point (x, y) to (a x + c y, b x + d y), y pointing down; an angle
    between the four right ones goes to the nearest. PyAV ties the frame into a reference cycle here,
    which keeps its pixels until Python next looks for such: ask for one frame, not for all.
    """
    side_data = cast("Mapping[str, Buffer]", picture.side_data)  # PyAV's stub names one key only
    if "DISPLAYMATRIX" not in side_data:
        return UPRIGHT
    raw = np.frombuffer(bytes(side_data["DISPLAYMATRIX"]), np.int32)
    a, b, c, d = (int(raw[i]) for i in (0, 1, 3, 4))
    if abs(a) + abs(d) >= abs(b) + abs(c):
        return Rotation(False, a < 0, d < 0)
    return Rotation(True, c < 0, b < 0)
