"""Random pictures to train a face detector on: heads from photos over pictures without people.

The photos are tight head shots, so rooms and streets come from elsewhere. Ellipses of them are pasted over
some of the heads too: hair, ears and shoulders alone are no face. A canvas is a function of the random
generator. Its heads are about upright, since the whole canvas is turned later.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from affectstream.train.loader.faces.degrade import Picture, relit

COUNTS = (0, 0, 1, 1, 1, 2, 2, 3, 4, 6, 9, 12)
"""Heads of a canvas, each number as often as it stands here."""
FEW, LARGEST, OF_MANY = 2, 2.5, 0.9
"""Widths of the largest photos in sides of the canvas: of up to `FEW` on it, and of more."""
PHOTO_PX, CROP_PX = 30.0, 12.0
"""Width of the smallest photos and crops on a canvas."""
PHOTO_ZOOM, CROP_ZOOM = 3.0, 2.0
"""How many times photos and crops may be enlarged: small pictures serve for small faces only."""
WHOLE_PHOTOS = 0.5
"""Share of the heads that are pasted as a whole photo; the others are cut out with soft edges."""


class Canvases:
    """Makes canvases from head shots and free pictures."""

    def __init__(
        self, photos: Sequence[Picture], crops: Sequence[Picture], free: Sequence[Picture]
    ) -> None:
        """`photos` (H, W, 3) uint8 RGB and `crops` (H, W) uint8 grey show a head each, `free` RGB pictures
        nobody. Raises `ValueError` without photos or without free pictures."""
        if not photos or not free:
            raise ValueError(
                f"canvases need pictures, found {len(photos)} photos, {len(free)} free"
            )
        self._photos, self._crops, self._free = photos, crops, free

    def make(self, side: int, rng: np.random.Generator) -> Picture:
        """One canvas (side, side, 3) uint8 RGB."""
        photo = _picked(self._free, rng)
        matrix = _placed(photo, np.full(2, side / 2), _spread(0.35, 2.5, rng), rng)
        border = cv2.BORDER_REFLECT_101
        canvas = np.asarray(
            cv2.warpAffine(photo, matrix, (side, side), borderMode=border), np.uint8
        )
        canvas = self._with_covers(canvas, int(rng.integers(0, 6)), rng)
        count = COUNTS[int(rng.integers(len(COUNTS)))]
        for _ in range(count):
            canvas = self._with_head(canvas, LARGEST if count <= FEW else OF_MANY, rng)
        canvas = self._with_covers(canvas, max(0, int(rng.integers(-6, 4))), rng)
        if rng.random() < 0.4:  # the bars of letterboxing, at the right or the bottom
            bar = slice(-int(rng.integers(1, 32)), None)
            canvas[(bar, slice(None)) if rng.random() < 0.5 else (slice(None), bar)] = 0
        return canvas

    def _with_head(self, canvas: Picture, largest: float, rng: np.random.Generator) -> Picture:
        """The canvas with a photo of at most `largest` sides of it, or with a smaller crop."""
        side = len(canvas)
        if self._crops and rng.random() < 0.5:
            head, limits, zoom = _picked(self._crops, rng), (CROP_PX, 0.5 * side), CROP_ZOOM
        else:
            head, limits, zoom = _picked(self._photos, rng), (PHOTO_PX, largest * side), PHOTO_ZOOM
        scale = min(_spread(*limits, rng) / head.shape[1], zoom)
        if scale <= 0.7:  # a map alone would skip pixels
            small = cv2.resize(head, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
            head, scale = np.asarray(small, np.uint8), 1.0
        head = _colored(relit(head, rng), rng)
        mask = _ellipse(head, rng.uniform(0.5, 0.8, 2) * head.shape[1::-1], rng.uniform(0.5, 6.0))
        if rng.random() < WHOLE_PHOTOS:
            mask[:] = 255
        target = rng.uniform(0.05, 0.95, 2) * side
        return _pasted(canvas, head, mask, _placed(head, target, scale, rng))

    def _with_covers(self, canvas: Picture, count: int, rng: np.random.Generator) -> Picture:
        """The canvas with ellipses of free pictures at random places."""
        side = len(canvas)
        for _ in range(count):
            photo, scale = _picked(self._free, rng), _spread(0.35, 2.5, rng)
            axes = rng.uniform(1.0, 1.5, 2) * _spread(0.05, 0.5, rng) * side / scale
            matrix = _placed(photo, rng.random(2) * side, scale, rng)
            canvas = _pasted(canvas, photo, _ellipse(photo, axes, 0.5), matrix)
        return canvas


def _picked(pictures: Sequence[Picture], rng: np.random.Generator) -> Picture:
    return pictures[int(rng.integers(len(pictures)))]


def _colored(head: Picture, rng: np.random.Generator) -> Picture:
    """A head in RGB: a grey one in the color of skin, more red than blue; some stay grey."""
    if head.ndim == 3:
        return head
    warmth = rng.uniform(0.1, 0.4) * (rng.random() < 0.8)
    gain = np.exp(np.array([1.0, 0.0, -0.8]) * warmth + rng.normal(0, 0.04, 3))
    return (head[..., None] * gain).clip(0, 255).astype(np.uint8)


def _ellipse(photo: Picture, axes: NDArray[np.float64], soft: float) -> Picture:
    """A mask (H, W) uint8 of an ellipse of the widths `axes` in the middle of a photo, its edge blurred by
    `soft` pixels."""
    height, width = photo.shape[:2]
    mask = np.zeros((height, width), np.uint8)
    cv2.ellipse(mask, ((width / 2, height / 2), axes.tolist(), 0.0), 255, -1)
    return np.asarray(cv2.GaussianBlur(mask, (0, 0), float(soft)), np.uint8)


def _placed(
    photo: Picture, target: NDArray[np.float64], scale: float, rng: np.random.Generator
) -> NDArray[np.float64]:
    """An affine map (2, 3) that takes the middle of a photo to `target`: scaled, rotated a little, mirrored,
    stretched; some squeeze a head as if it were turned."""
    angle, stretch = np.deg2rad(rng.normal(0, 8)), float(np.exp(rng.normal(0, 0.06)))
    if rng.random() < 0.2:
        stretch *= float(rng.uniform(0.55, 0.9))
    flip = -1.0 if rng.random() < 0.5 else 1.0
    cosine, sine = np.cos(angle) * scale, np.sin(angle) * scale
    linear = np.array([[cosine * flip * stretch, -sine], [sine * flip * stretch, cosine]])
    return np.column_stack([linear, target - linear @ (np.array(photo.shape[1::-1]) / 2)])


def _pasted(canvas: Picture, photo: Picture, mask: Picture, matrix: NDArray[np.float64]) -> Picture:
    """The canvas with a photo under the map `matrix` (2, 3), as opaque as `mask` (of its size)."""
    size = canvas.shape[1::-1]
    shown = cv2.warpAffine(photo, matrix, size, borderMode=cv2.BORDER_REPLICATE)
    share = cv2.warpAffine(mask, matrix, size) / np.float32(255)
    return np.asarray(cv2.blendLinear(shown, canvas, share, 1 - share), np.uint8)


def _spread(low: float, high: float, rng: np.random.Generator) -> float:
    """Between `low` and `high`, each octave as often."""
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))
