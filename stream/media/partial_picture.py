"""Pictures of which only what is looked at is converted: everything at the detector's size, and parts.

A face takes a small part of a large picture. The whole of it is halved plane by plane, as the decoder gives
it, before anything is converted to RGB; parts are converted at full detail.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Protocol

import av
import cv2
import numpy as np
from numpy.typing import NDArray

from affectstream.stream.media.picture import MAX_SIDE, to_rgb
from affectstream.stream.media.types import Frame, Rotation

LARGE_PIXELS = 1280 * 720
"""Pictures from this size on are converted in parts. Below, planning the parts costs what it saves."""
_FORMATS = ("yuv420p", "yuvj420p")
"""Luma, and two planes of color of half its width and height: what nearly all recordings hold."""
_EDGE = 32
"""Parts begin and end at multiples of this: a part is then converted exactly as the whole would be."""

Area = tuple[float, float, float, float]
"""x0, y0, x1, y1 in pixels of the picture."""


@dataclass(frozen=True, slots=True, eq=False)
class Part:
    """The pixels `rgb` (h, w, 3) uint8 of a picture; the first one lies at (`x`, `y`) in it."""

    rgb: NDArray[np.uint8]
    x: int = 0
    y: int = 0


class Picture(Protocol):
    """An upright picture of `shape` (height, width). For use by one thread at a time."""

    shape: tuple[int, int]

    def whole(self) -> NDArray[np.uint8]:
        """All of it: (H, W, 3) uint8 RGB."""
        ...

    def reduced(self, height: int, width: int) -> tuple[NDArray[np.uint8], float]:
        """All of it at a size from `height` and `width` up, and how many pixels of the picture one of these
        stands for. Less than one of its pixels may be missing at an edge."""
        ...

    def part(self, area: Area) -> Part:
        """Pixels of at least `area`, as far as it lies in the picture; at least one pixel."""
        ...


class WholePicture:
    """A picture that has been converted."""

    def __init__(self, rgb: NDArray[np.uint8]) -> None:
        self._rgb = rgb
        self.shape = rgb.shape[0], rgb.shape[1]

    def whole(self) -> NDArray[np.uint8]:
        """See `Picture`."""
        return self._rgb

    def reduced(self, height: int, width: int) -> tuple[NDArray[np.uint8], float]:
        """See `Picture`."""
        return self._rgb, 1.0

    def part(self, area: Area) -> Part:
        """See `Picture`."""
        return Part(self._rgb)


class LargePicture:
    """A decoded picture in luma and color planes, `factor` times as wide and tall as what is seen of it."""

    def __init__(self, frame: Frame, factor: int = 1) -> None:
        self._frame, self._factor = frame, factor
        picture = frame.picture
        self._stored = picture.height // factor, picture.width // factor
        self.shape = self._stored[::-1] if frame.rotation.transpose else self._stored
        self._planes = [_plane(picture, number) for number in range(3)]
        self._parts: dict[Area, Part] = {}
        self._reduced: dict[int, NDArray[np.uint8]] = {}
        """By the number of halvings."""

    def whole(self) -> NDArray[np.uint8]:
        """See `Picture`."""
        return to_rgb(self._frame)

    def reduced(self, height: int, width: int) -> tuple[NDArray[np.uint8], float]:
        """See `Picture`."""
        if self._frame.rotation.transpose:
            height, width = width, height
        luma, halvings = self._planes[0], 0
        while min(luma.shape[0] / height, luma.shape[1] / width) >= 2 << halvings:
            halvings += 1
        if halvings not in self._reduced:
            rgb = self._converted((0, 0, luma.shape[1], luma.shape[0]), halvings)
            self._reduced[halvings] = self._frame.rotation.apply(rgb)
        return self._reduced[halvings], (1 << halvings) / self._factor

    def part(self, area: Area) -> Part:
        """See `Picture`."""
        if area not in self._parts:
            self._parts[area] = self._part(area)
        return self._parts[area]

    def _part(self, area: Area) -> Part:
        height, width = self.shape
        x0, x1 = _rounded(area[0], area[2], width)
        y0, y1 = _rounded(area[1], area[3], height)
        rotation, factor = self._frame.rotation, self._factor
        left, top, right, bottom = _before(rotation, (x0, y0, x1, y1), height, width)
        stored = factor * left, factor * top, factor * right, factor * bottom
        return Part(rotation.apply(self._converted(stored, factor.bit_length() - 1)), x0, y0)

    def _converted(self, area: tuple[int, int, int, int], halvings: int) -> NDArray[np.uint8]:
        """The stored pixels of `area`, which begins and ends at even pixels, halved so many times."""
        x0, y0, x1, y1 = area
        step = 1 << halvings
        width, height = (x1 - x0) // step, (y1 - y0) // step
        picture = self._frame.picture
        cut = av.VideoFrame(width + width % 2, height + height % 2, picture.format.name)
        cut.colorspace, cut.color_range = picture.colorspace, picture.color_range
        for number, plane in enumerate(self._planes):
            by = 2 if number else 1
            out = _plane(cut, number)
            rows, columns = out.shape
            top, left = y0 // by, x0 // by
            pixels = plane[top : top + rows * step, left : left + columns * step]
            small = _halved(pixels, halvings)
            out[: small.shape[0], : small.shape[1]] = small
            # swscale converts an odd number of pixels in another way, so the last ones are repeated.
            out[small.shape[0] :] = out[small.shape[0] - 1]
            out[:, small.shape[1] :] = out[:, small.shape[1] - 1 : small.shape[1]]
        return to_rgb(Frame(0, cut))[:height, :width]


def open_picture(frame: Frame, pixel_aspect: float = 1.0) -> Picture:
    """The picture of `frame`, as `to_rgb` would give it.

    It is converted at once, unless it is large and comes in planes that can be cut. Where its longest side is
    a power of two times `MAX_SIDE`, it is scaled down by averages, and not by `to_rgb`.
    """
    picture = frame.picture
    factor = max(1, -(-max(picture.width, picture.height) // MAX_SIDE))
    cuttable = (
        picture.format.name in _FORMATS
        and pixel_aspect == 1.0
        and picture.width * picture.height >= LARGE_PIXELS
        and factor & (factor - 1) == 0
        and picture.width % (2 * factor) == picture.height % (2 * factor) == 0
        and (factor == 1 or max(picture.width, picture.height) == factor * MAX_SIDE)
    )
    if cuttable:
        return LargePicture(frame, factor)
    return WholePicture(to_rgb(frame, pixel_aspect=pixel_aspect))


def as_pictures(pictures: Sequence[NDArray[np.uint8] | Picture]) -> list[Picture]:
    """Arrays (H, W, 3) uint8 RGB as pictures."""
    return [WholePicture(p) if isinstance(p, np.ndarray) else p for p in pictures]


def _plane(picture: av.VideoFrame, number: int) -> NDArray[np.uint8]:
    """Luma (0) or one plane of color, not copied: the array keeps the picture alive."""
    plane = picture.planes[number]
    rows = np.frombuffer(memoryview(plane), np.uint8)
    return rows.reshape(-1, plane.line_size)[: plane.height, : plane.width]


def _halved(plane: NDArray[np.uint8], times: int) -> NDArray[np.uint8]:
    for _ in range(times):
        rows, columns = plane.shape[0] // 2, plane.shape[1] // 2
        even = plane[: 2 * rows, : 2 * columns]
        plane = np.asarray(
            cv2.resize(even, (columns, rows), interpolation=cv2.INTER_AREA), np.uint8
        )
    return plane


def _rounded(low: float, high: float, limit: int) -> tuple[int, int]:
    """The pixels from `low` to `high` in [0, `limit`), from one multiple of `_EDGE` to another."""
    first = min(max(0, int(low // _EDGE) * _EDGE), (limit - 1) // _EDGE * _EDGE)
    return first, min(limit, max(first + _EDGE, int(-(-high // _EDGE)) * _EDGE))


def _before(
    rotation: Rotation, area: tuple[int, int, int, int], height: int, width: int
) -> tuple[int, int, int, int]:
    """Where the pixels of `area`, in an upright picture of this size, lie in the stored picture."""
    x0, y0, x1, y1 = area
    if rotation.flip:
        y0, y1 = height - y1, height - y0
    if rotation.mirror:
        x0, x1 = width - x1, width - x0
    return (y0, x0, y1, x1) if rotation.transpose else (x0, y0, x1, y1)
