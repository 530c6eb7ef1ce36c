"""Faces as they come from bad cameras and rooms: how much of its accuracy an encoder keeps on them.

Each function takes a crop (S, S, 3) uint8 RGB and a generator of random numbers, and returns such a crop.
Eyes and mouth are where FER2013's pictures have them.
"""

from __future__ import annotations

from collections.abc import Callable

import cv2
import numpy as np
from numpy.typing import ArrayLike, NDArray

Crop = NDArray[np.uint8]
Random = np.random.Generator

EYES, MOUTH = ((0.32, 0.38), (0.68, 0.38)), (0.5, 0.78)
"""Where the eyes and the mouth are in a crop, as shares of its side."""
SKIN = (185, 145, 120)


def noise(crop: Crop, random: Random) -> Crop:
    """Noise of a deviation of 15 levels."""
    return _levels(crop + random.normal(0.0, 15.0, crop.shape[:2])[..., None])


def blur(crop: Crop, random: Random) -> Crop:
    """Out of focus: a Gaussian of 3 % of the side (1.5 of 48 pixels)."""
    return _levels(cv2.GaussianBlur(crop, (0, 0), crop.shape[0] / 32.0))


def few_pixels(crop: Crop, random: Random) -> Crop:
    """A face of 24 pixels."""
    small = cv2.resize(crop, (24, 24), interpolation=cv2.INTER_AREA)
    return _levels(cv2.resize(small, crop.shape[:2], interpolation=cv2.INTER_LINEAR))


def jpeg(crop: Crop, random: Random) -> Crop:
    """JPEG of quality 30."""
    blob = cv2.imencode(".jpg", crop[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, 30])[1]
    return np.asarray(cv2.imdecode(blob, cv2.IMREAD_COLOR_RGB), np.uint8)


def dark(crop: Crop, random: Random) -> Crop:
    """A fifth of the light, with the noise of a sensor (2 levels)."""
    return _levels(0.2 * crop + random.normal(0.0, 2.0, crop.shape[:2])[..., None])


def side_light(crop: Crop, random: Random) -> Crop:
    """Light from one side: a third of it on the other."""
    ramp = np.linspace(1.3, 0.35, crop.shape[1])[:: random.choice([-1, 1])]
    return _levels(crop * ramp[None, :, None])


def glasses(crop: Crop, random: Random) -> Crop:
    """Dark glasses."""
    size, covered = crop.shape[0], crop.copy()
    (left, height), (right, _) = EYES
    for x in (left, right):
        center = (round(x * size), round(height * size))
        cv2.ellipse(
            covered, center, (round(0.15 * size), round(0.1 * size)), 0, 0, 360, (25,) * 3, -1
        )
    first, last = ((round(x * size), round(height * size)) for x in (left, right))
    cv2.line(covered, first, last, (25, 25, 25), max(1, size // 24))
    return covered


def hand(crop: Crop, random: Random) -> Crop:
    """A hand on one side of the mouth and the chin."""
    size, covered = crop.shape[0], crop.copy()
    side = float(random.choice([-0.18, 0.18]))
    center = (round((MOUTH[0] + side) * size), round((MOUTH[1] + 0.08) * size))
    cv2.ellipse(covered, center, (round(0.2 * size), round(0.24 * size)), 0, 0, 360, SKIN, -1)
    return covered


def turned(crop: Crop, random: Random) -> Crop:
    """Turned by 30 degrees to either side, and not turned back."""
    size = crop.shape[0]
    angle = float(random.choice([-30.0, 30.0]))
    matrix = cv2.getRotationMatrix2D(((size - 1) / 2,) * 2, angle, 1.0)
    return _levels(cv2.warpAffine(crop, matrix, (size, size), borderMode=cv2.BORDER_REPLICATE))


def colored(crop: Crop, random: Random) -> Crop:
    """In the color of skin, with the brightness that it had."""
    tint = np.array(SKIN) / (np.array(SKIN) @ (0.299, 0.587, 0.114))
    return _levels(crop * tint)


def mirrored(crop: Crop, random: Random) -> Crop:
    """Left and right exchanged."""
    return np.ascontiguousarray(crop[:, ::-1])


DEGRADATIONS: dict[str, Callable[[Crop, Random], Crop]] = {
    "noise, 15 levels": noise,
    "blur": blur,
    "24 pixels": few_pixels,
    "JPEG 30": jpeg,
    "a fifth of the light": dark,
    "light from the side": side_light,
    "dark glasses": glasses,
    "hand at the mouth": hand,
    "turned by 30 degrees": turned,
    "in color": colored,
    "mirrored": mirrored,
}


def degrade(crops: NDArray[np.uint8], name: str) -> NDArray[np.uint8]:
    """Crops (n, S, S, 3) under the degradation `name`, the same on each call."""
    random = np.random.default_rng(0)
    return np.stack([DEGRADATIONS[name](crop, random) for crop in crops])


def _levels(values: ArrayLike) -> Crop:
    return np.asarray(np.clip(np.rint(values), 0, 255), np.uint8)
