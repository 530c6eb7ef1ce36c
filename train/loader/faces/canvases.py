"""Random pictures to train a face detector on: heads from photos over pictures without people.

The photos are tight head shots, so rooms and streets come from elsewhere. Something is pasted over some faces
and over parts of others: hair, ears and shoulders alone are none. A canvas is a function of the random
generator. Its heads are about upright, since the whole canvas is turned later.
"""

from __future__ import annotations

from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from affectstream.train.loader.faces.degrade import (
    Picture,
    blurred,
    noisy_jpeg,
    relit,
    under_lamps,
)
from affectstream.train.loader.faces.heads import NO_FACES, ZOOM, Faces, Head

COUNTS = (0, 0, 1, 1, 1, 2, 2, 3, 4, 6, 9, 12)
"""Heads of a canvas, each number as often as it stands here."""
FEW, LARGEST, OF_MANY = 2, 1.15, 0.4
"""Widths of the largest faces in sides of the canvas: of up to `FEW`, and of more."""
WHOLE_PHOTOS = 0.5
"""Share of the heads that are pasted as a whole photo; the others are cut out with soft edges."""
TINY, TINY_SHARE = (10.0, 24.0), 0.15
"""Widths of a few small faces in pixels, and how many they are."""
SMALLEST_PX = 18.0
"""Width of the smallest of the other faces."""
FACELESS = 0.03
"""Share of the heads whose face is gone."""

VISIBLE = 0.6
"""Share of a face that is visible where it has to be found."""
HIDDEN = 0.2
"""Share below which nothing has to be found; between the two a detector may do either."""
LEAST_PX = 9.0
"""Mean side of the smallest faces that have to be found."""
FAINT = 12.0
"""Standard deviation of the levels of a face below which it need not be found."""


class Canvas:
    """A square picture that grows by pasting, with the faces in it and what is visible of each."""

    def __init__(self, ground: Picture) -> None:
        """`ground` (S, S, 3) uint8 RGB has no faces."""
        self.pixels = ground
        self._owner = np.zeros(ground.shape[:2], np.uint8)
        """The number of the photo that each pixel shows, 0 for none."""
        self._photos: list[Faces] = []

    def paste(
        self, photo: Picture, mask: Picture, matrix: NDArray[np.float64], faces: Faces = NO_FACES
    ) -> None:
        """Paste an RGB photo under the affine map `matrix` (2, 3), as opaque as `mask` (of its size)."""
        size = self._owner.shape
        shown = cv2.warpAffine(photo, matrix, size, borderMode=cv2.BORDER_REPLICATE)
        alpha = cv2.warpAffine(mask, matrix, size)
        share = alpha / np.float32(255)
        self.pixels = np.asarray(cv2.blendLinear(shown, self.pixels, share, 1 - share), np.uint8)
        self._photos.append(faces.moved(matrix))
        self._owner[alpha > 127] = len(self._photos)

    def blacken(self, area: tuple[slice, slice]) -> None:
        """Paint over some rows and columns."""
        self.pixels[area], self._owner[area] = 0, 0

    def faces(self) -> Faces:
        """Every face of which enough is visible; half-hidden, tiny and faint ones are not certain."""
        found = []
        for number, faces in enumerate(self._photos, 1):
            for face in zip(faces.boxes, faces.landmarks, faces.certain, strict=True):
                box, landmarks, certain = face
                if (visible := self._visible(box, number)) >= HIDDEN:
                    large = np.prod(box[2:] - box[:2]) >= LEAST_PX**2
                    clear = visible >= VISIBLE and self._contrast(box) >= FAINT
                    found.append((box, landmarks, bool(certain and large and clear)))
        if not found:
            return NO_FACES
        boxes, points, sure = zip(*found, strict=True)
        return Faces(np.stack(boxes), np.stack(points), np.array(sure))

    def _visible(self, box: NDArray[np.float32], number: int) -> float:
        """Share of the inner part of `box` (0.8 of each side) that shows photo `number`."""
        margin = 0.1 * (box[2:] - box[:2])
        x0, y0 = (int(v) for v in np.floor(box[:2] + margin))
        x1, y1 = (int(v) for v in np.ceil(box[2:] - margin))
        shown = self._owner[max(0, y0) : max(0, y1), max(0, x0) : max(0, x1)] == number
        return float(np.count_nonzero(shown)) / max(1, (x1 - x0) * (y1 - y0))

    def _contrast(self, box: NDArray[np.float32]) -> float:
        """Standard deviation of the green levels in `box`: most of the light is green."""
        x0, y0, x1, y1 = np.maximum(box, 0).astype(int)
        part = self.pixels[y0:y1, x0:x1, 1]
        return float(part.std()) if part.size else 0.0


class Canvases:
    """Makes canvases from head shots and free pictures."""

    def __init__(self, heads: Sequence[Head], free: Sequence[Picture]) -> None:
        """Both need at least one picture; those in `free` are RGB, without people."""
        if not heads or not free:
            raise ValueError(f"canvases need pictures, found {len(heads)} heads, {len(free)} free")
        self._heads, self._free = heads, free
        # Turned heads are rare in the photos and common in use: draw them more often. Small pictures serve
        # for small faces only.
        weights = np.array([1.0 + min(head.turned / 0.15, 5.0) ** 2 for head in heads])
        small = np.array([head.zoom < ZOOM for head in heads])
        kinds = (w if w.any() else weights for w in (weights * ~small, weights * small))
        self._shares = [kind / kind.sum() for kind in kinds]

    def make(self, side: int, rng: np.random.Generator) -> tuple[Picture, Faces]:
        """One canvas (side, side, 3) uint8 RGB, dimmed, blurred or noisy, and its faces, about upright."""
        photo, middle = self._part(rng)
        matrix = _placed(middle, np.full(2, side / 2), _spread(0.35, 2.5, rng), rng)
        border = cv2.BORDER_REFLECT_101
        ground = cv2.warpAffine(photo, matrix, (side, side), borderMode=border)
        canvas = Canvas(np.asarray(ground, np.uint8))
        self._clutter(canvas, int(rng.integers(0, 6)), rng)
        count = COUNTS[int(rng.integers(len(COUNTS)))]
        for _ in range(count):
            self._add_head(canvas, LARGEST if count <= FEW else OF_MANY, rng)
        if rng.random() < 0.3:
            self._clutter(canvas, int(rng.integers(1, 4)), rng)
        lit = relit(under_lamps(canvas.pixels, rng), rng)
        canvas.pixels = noisy_jpeg(blurred(lit, rng, 1.8), rng, (0.2, 9), (0.25, 85))
        if rng.random() < 0.4:  # the bars of letterboxing, at the right or the bottom
            bar = slice(-int(rng.integers(1, 32)), None)
            canvas.blacken((bar, slice(None)) if rng.random() < 0.5 else (slice(None), bar))
        return canvas.pixels, canvas.faces()

    def _add_head(self, canvas: Canvas, largest: float, rng: np.random.Generator) -> None:
        """Paste a head with a face of at most `largest` sides of the canvas."""
        side = len(canvas.pixels)
        limits = TINY if rng.random() < TINY_SHARE else (SMALLEST_PX, largest * side)
        head, scale = self._draw(_spread(*limits, rng), rng)
        axes, soft = rng.uniform(1.1, 1.7, 2) * (1.0, 1.35) * head.width, rng.uniform(0.5, 6.0)
        mask = _ellipse(head.pixels, head.center, axes, soft / scale)
        if rng.random() < WHOLE_PHOTOS:
            mask[:] = 255
        target = rng.uniform(0.05, 0.95, 2) * side
        canvas.paste(head.pixels, mask, _placed(head.center, target, scale, rng), head.faces)
        if rng.random() < FACELESS:
            self._cover(canvas, target, head.width * scale, rng)

    def _cover(
        self, canvas: Canvas, target: NDArray[np.float64], px: float, rng: np.random.Generator
    ) -> None:
        """Paste an ellipse of a free picture, `px` wide or somewhat more, with its middle at `target`."""
        scale = _spread(0.35, 2.5, rng)
        photo, middle = self._part(rng)
        mask = _ellipse(photo, middle, rng.uniform(1.0, 1.5, 2) * px / scale, 0.5 / scale)
        canvas.paste(photo, mask, _placed(middle, target, scale, rng))

    def _clutter(self, canvas: Canvas, count: int, rng: np.random.Generator) -> None:
        """Cover `count` places."""
        side = len(canvas.pixels)
        for _ in range(count):
            self._cover(canvas, rng.random(2) * side, _spread(0.05, 0.5, rng) * side, rng)

    def _part(self, rng: np.random.Generator) -> tuple[Picture, NDArray[np.float64]]:
        """A free picture, and a place in it, x and y."""
        photo = self._free[int(rng.integers(len(self._free)))]
        return photo, rng.uniform(0.1, 0.9, 2) * photo.shape[1::-1]

    def _draw(self, face_px: float, rng: np.random.Generator) -> tuple[Head, float]:
        """A random head, relit, in color, and the remaining scale for a face of `face_px` pixels."""
        shares = self._shares[rng.random() < 0.5 and face_px < 80]
        head = self._heads[int(rng.choice(len(shares), p=shares))]
        scale = min(face_px / head.width, head.zoom)
        pixels, faces = relit(head.pixels, rng), head.faces
        if scale <= 0.7:  # a map alone would skip pixels
            matrix = np.array([[scale, 0, scale / 2 - 0.5], [0, scale, scale / 2 - 0.5]])
            how = cv2.INTER_AREA
            small = cv2.resize(pixels, None, fx=scale, fy=scale, interpolation=how)
            pixels, faces, scale = np.asarray(small, np.uint8), faces.moved(matrix), 1.0
        if pixels.ndim == 2:  # the color of skin, more red than blue; some stay grey
            warmth = rng.uniform(0.1, 0.4) * (rng.random() < 0.8)
            gain = np.exp(np.array([1.0, 0.0, -0.8]) * warmth + rng.normal(0, 0.04, 3))
            pixels = (pixels[..., None] * gain).clip(0, 255).astype(np.uint8)
        return Head(pixels, faces), scale


def _ellipse(
    photo: Picture, middle: NDArray[np.float64], axes: NDArray[np.float64], soft: float
) -> Picture:
    """A mask (H, W) uint8 of an ellipse of the widths `axes`, its edge blurred by `soft` pixels."""
    mask = np.zeros(photo.shape[:2], np.uint8)
    cv2.ellipse(mask, (middle.tolist(), axes.tolist(), 0.0), 255, -1)
    mask = np.asarray(cv2.GaussianBlur(mask, (0, 0), float(soft)), np.uint8)
    mask[[0, -1]], mask[:, [0, -1]] = 0, 0
    return mask


def _placed(
    source: NDArray[np.float64], target: NDArray[np.float64], scale: float, rng: np.random.Generator
) -> NDArray[np.float64]:
    """An affine map (2, 3) that takes `source` to `target`: scaled, rotated a little, mirrored, stretched;
    some squeeze a head as if it were turned."""
    angle, stretch = np.deg2rad(rng.normal(0, 8)), float(np.exp(rng.normal(0, 0.06)))
    if rng.random() < 0.2:
        stretch *= float(rng.uniform(0.55, 0.9))
    flip = -1.0 if rng.random() < 0.5 else 1.0
    cosine, sine = np.cos(angle) * scale, np.sin(angle) * scale
    linear = np.array([[cosine * flip * stretch, -sine], [sine * flip * stretch, cosine]])
    return np.column_stack([linear, target - linear @ source])


def _spread(low: float, high: float, rng: np.random.Generator) -> float:
    """Between `low` and `high`, each octave as often."""
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))
