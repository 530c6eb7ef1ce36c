"""A decoded frame as an upright RGB picture, as a player shows it."""

from __future__ import annotations

import threading

import av
import numpy as np
from av.video.reformatter import VideoReformatter
from numpy.typing import NDArray

from affectstream.stream.media.types import Frame

MAX_SIDE = 1920
"""Longest side of a picture in pixels: faces that matter are found at this size, 4K only costs."""

_local = threading.local()


def to_rgb(
    frame: Frame, *, max_side: int = MAX_SIDE, pixel_aspect: float = 1.0
) -> NDArray[np.uint8]:
    """The picture of `frame`: (height, width, 3) uint8 RGB, upright, to be read only.

    Any pixel format and bit depth (swscale, fast bilinear). `pixel_aspect` is the width of a pixel over
    its height (anamorphic tape and discs). The longest side is at most `max_side` pixels. May be
    called on several threads, on different frames.
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
    """One for each thread: it keeps swscale's tables from frame to frame."""
    if not hasattr(_local, "reformatter"):
        _local.reformatter = VideoReformatter()
    reformatter: VideoReformatter = _local.reformatter
    return reformatter
