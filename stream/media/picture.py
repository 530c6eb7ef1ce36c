"""A decoded frame as an upright RGB picture, as a player shows it."""

from __future__ import annotations

import threading
from collections.abc import Mapping
from typing import cast

import av
import numpy as np
from av.buffer import Buffer
from av.video.reformatter import VideoReformatter
from numpy.typing import NDArray

from affectstream.stream.media.types import RIGHT_ANGLES, UPRIGHT, Frame, Rotation

MAX_SIDE = 1920
"""Longest side of a picture in pixels: the faces that matter are found at this size."""

_local = threading.local()


def to_rgb(
    frame: Frame, *, max_side: int = MAX_SIDE, pixel_aspect: float = 1.0
) -> NDArray[np.uint8]:
    """The picture of `frame`: (height, width, 3) uint8 RGB, upright, read-only.

    Takes any pixel format and bit depth (swscale, fast bilinear). `pixel_aspect` is the width of a
    pixel over its height (anamorphic tape and discs). Larger pictures are scaled until the longest side
    is `max_side` pixels. Several threads may call this at once, on different frames.
    """
    picture = frame.picture
    width, height = _size(picture.width, picture.height, pixel_aspect, max_side)
    converted = _reformatter().reformat(
        picture, width, height, "rgb24", interpolation="FAST_BILINEAR", threads=1
    )
    return frame.rotation.apply(_pixels(converted))


def _pixels(picture: av.VideoFrame) -> NDArray[np.uint8]:
    """The (H, W, 3) pixels of an rgb24 picture, not copied: the array keeps the picture alive."""
    plane = picture.planes[0]
    rows = np.frombuffer(memoryview(plane), np.uint8)
    rows = rows.reshape(picture.height, plane.line_size)
    return rows[:, : 3 * picture.width].reshape(picture.height, picture.width, 3)


def _size(width: int, height: int, pixel_aspect: float, max_side: int) -> tuple[int, int]:
    wide = width * pixel_aspect
    scale = min(1.0, max_side / max(wide, height))
    return max(1, round(wide * scale)), max(1, round(height * scale))


def _reformatter() -> VideoReformatter:
    """The reformatter of this thread, which keeps swscale's tables from frame to frame."""
    if not hasattr(_local, "reformatter"):
        _local.reformatter = VideoReformatter()
    reformatter: VideoReformatter = _local.reformatter
    return reformatter


class RotationReader:
    """Reads how a player turns the frames of one stream, from their display matrices.

    Phones write such a matrix instead of turning the pixels. It is read only when the angle changes:
    PyAV puts a frame whose side data is read into a reference cycle, which keeps the frame's pixels in
    memory until Python next collects cycles.
    """

    def __init__(self) -> None:
        self._angle: int | None = None
        self._rotation = UPRIGHT

    def read(self, picture: av.VideoFrame) -> Rotation:
        """The rotation of `picture`."""
        if picture.rotation != self._angle:
            self._angle, self._rotation = picture.rotation, _from_display_matrix(picture)
        return self._rotation


def _from_display_matrix(picture: av.VideoFrame) -> Rotation:
    """FFmpeg's matrix sends the point (x, y) to (a x + c y, b x + d y), y pointing down.

    Any other angle is rounded to the nearest of the four right angles.
    """
    try:
        side_data = cast(
            "Mapping[str, Buffer]", picture.side_data
        )  # PyAV's stub names one key only
    except ValueError:
        # Beside the matrix there is a kind of side data that PyAV does not know, such as EXIF. Then it
        # gives nothing but the angle, without mirroring.
        return RIGHT_ANGLES[round(picture.rotation / 90) % 4]
    if "DISPLAYMATRIX" not in side_data:
        return UPRIGHT
    raw = np.frombuffer(bytes(side_data["DISPLAYMATRIX"]), np.int32)
    a, b, c, d = (int(raw[i]) for i in (0, 1, 3, 4))
    if abs(a) + abs(d) >= abs(b) + abs(c):
        return Rotation(False, a < 0, d < 0)
    return Rotation(True, c < 0, b < 0)
