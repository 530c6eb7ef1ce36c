"""Random grey pictures to train a face detector on: heads from photos over many kinds of background.

The photos are tight head shots, so shoulders, rooms and streets come from elsewhere: free pictures of
scikit-image and scikit-learn, "dead leaves" (overlapping shapes with edges and sizes like natural
scenes: Lee, Mumford and Huang, 2001), and noise. The teacher labels the canvas before it is degraded by light
and camera effects. A canvas is a function of the random generator alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import pairwise

import cv2
import numpy as np
from numpy.typing import NDArray

Picture = NDArray[np.uint8]
"""(H, W) uint8 grey."""


def relight_head(pixels: Picture, rng: np.random.Generator) -> Picture:
    """Change the light on a head: exposure, contrast, one side in the shade, out of focus."""
    levels = pixels
    if rng.random() < 0.4:
        ramp = np.linspace(0, 1, 256) ** np.exp(rng.normal(0, 0.25)) * rng.uniform(0.35, 1.2)
        ramp = 255 * (ramp + rng.uniform(0, 0.3))
        levels = np.asarray(cv2.LUT(levels, ramp.clip(0, 255).astype(np.uint8)), np.uint8)
    if rng.random() < 0.35:
        ends = rng.permutation((float(rng.uniform(0.25, 0.8)), 1.2))
        side = np.linspace(ends[0], ends[1], levels.shape[1])
        levels = (levels * side.astype(np.float32)).clip(0, 255).astype(np.uint8)
    if rng.random() < 0.15:
        sigma = float(rng.uniform(0.01, 0.04)) * max(levels.shape)
        levels = np.asarray(cv2.GaussianBlur(levels, (0, 0), sigma), np.uint8)
    return levels


def relight_scene(picture: Picture, rng: np.random.Generator) -> Picture:
    """Change contrast and gamma, or dim the scene, by one table of 256 values."""
    kind = rng.random()
    if kind < 0.25:
        return picture.copy()
    ramp = np.linspace(0, 1, 256) ** np.exp(rng.normal(0, 0.35))
    if kind < 0.5:
        ramp = ramp * rng.uniform(0.1, 0.6)
    else:
        ramp = (ramp - 0.5) * rng.uniform(0.45, 1.3) + 0.5 + rng.normal(0, 0.1)
    return np.asarray(cv2.LUT(picture, (255 * ramp).clip(0, 255).astype(np.uint8)), np.uint8)


def degrade(picture: Picture, rng: np.random.Generator) -> Picture:
    """Apply blur or sharpening, sensor noise and JPEG blocks, each with some probability."""
    kind = rng.random()
    if kind < 0.2:
        picture = np.asarray(cv2.GaussianBlur(picture, (0, 0), rng.uniform(0.4, 1.6)), np.uint8)
    elif kind < 0.5:  # enlarged photos are soft; real large faces are not
        soft = cv2.GaussianBlur(picture, (0, 0), rng.uniform(0.8, 2.5))
        amount = rng.uniform(0.3, 1.5)
        picture = np.asarray(cv2.addWeighted(picture, 1 + amount, soft, -amount, 0), np.uint8)
    if rng.random() < 0.2:
        noise = rng.standard_normal(picture.shape, np.float32) * np.float32(rng.uniform(1, 9))
        picture = (picture + noise).clip(0, 255).astype(np.uint8)
    if rng.random() < 0.3:
        quality = [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(15, 85))]
        blob = cv2.imencode(".jpg", picture, quality)[1]
        picture = np.asarray(cv2.imdecode(blob, cv2.IMREAD_GRAYSCALE), np.uint8)
    return picture


SMALLEST_PX = 18.0
"""Width of the smallest faces on a canvas, apart from a few even smaller ones."""
LARGEST_ZOOM = 3.0
FREE_PICTURES = (
    *("brick", "cell", "chelsea", "coffee", "coins", "grass", "gravel", "horse"),
    *("hubble_deep_field", "immunohistochemistry", "moon", "page", "retina", "rocket", "text"),
)
"""Pictures without people in `skimage.data`, all part of the installed package."""


@dataclass(frozen=True, slots=True, eq=False)
class Head:
    """A grey photo, its face (center x, y and width in pixels) and how far the head is turned.

    `turned` is 0 for a frontal face and about 1 for a profile.
    """

    pixels: Picture
    face: tuple[float, float, float]
    turned: float = 0.0


def free_pictures() -> list[Picture]:
    """Grey pictures without faces that come with scikit-image and scikit-learn."""
    from skimage import data
    from sklearn.datasets import load_sample_images  # type: ignore[import-untyped]

    found = [np.asarray(getattr(data, name)()) for name in FREE_PICTURES]
    found += [np.asarray(side) for side in data.stereo_motorcycle()[:2]]  # type: ignore[no-untyped-call]
    found += list(load_sample_images().images)
    grey = []
    for picture in found:
        levels = picture.astype(np.uint8) * 255 if picture.dtype == bool else picture
        if levels.ndim == 3:
            levels = np.asarray(cv2.cvtColor(levels[..., :3], cv2.COLOR_RGB2GRAY))
        scale = min(1.0, 640 / max(levels.shape))
        small = cv2.resize(levels, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        grey.append(np.asarray(small, np.uint8))
    return grey


class Canvases:
    """Makes canvases from head shots and free pictures."""

    def __init__(self, heads: Sequence[Head], free: Sequence[Picture]) -> None:
        """Both need at least one picture."""
        if not heads or not free:
            raise ValueError(f"canvases need pictures, found {len(heads)} heads, {len(free)} free")
        self._heads, self._free = heads, free
        # Turned heads are rare in the photos and common in use: draw them more often.
        weights = np.array([1.0 + min(head.turned / 0.15, 5.0) ** 2 for head in heads])
        self._shares = np.cumsum(weights / weights.sum())

    def make(self, height: int, width: int, rng: np.random.Generator) -> tuple[Picture, Picture]:
        """One canvas (height, width) uint8, twice: clear, and dimmed, blurred or noisy."""
        kind = rng.random()
        if kind < 0.12:
            result = _window(self._head(rng), height, width, rng)
        elif kind < 0.32:
            result = self._mosaic(height, width, rng)
        else:
            result = self._ground(height, width, rng)
            for _ in range(int(rng.choice(7, p=(0.14, 0.28, 0.2, 0.14, 0.1, 0.08, 0.06)))):
                _place(result, self._head(rng), rng)
        if rng.random() < 0.2:
            for _ in range(int(rng.integers(1, 4))):
                _leaf(result, rng)
        degraded = degrade(relight_scene(result, rng), rng)
        if rng.random() < 0.4:  # the bars of letterboxing, at the right or the bottom
            bar, low = int(rng.integers(1, 32)), rng.random() < 0.5
            for picture in (result, degraded):
                (picture[-bar:] if low else picture[:, -bar:])[...] = 0
        return result, degraded

    def _head(self, rng: np.random.Generator) -> Head:
        drawn = int(np.searchsorted(self._shares, rng.random()))
        return self._heads[min(drawn, len(self._heads) - 1)]

    def _mosaic(self, height: int, width: int, rng: np.random.Generator) -> Picture:
        """Two to six head shots side by side, cut at random places."""
        result = np.zeros((height, width), np.uint8)
        rows = _cuts(height, int(rng.integers(1, 3)), rng)
        for top, bottom in pairwise(rows):
            columns = _cuts(width, int(rng.integers(1 if len(rows) > 2 else 2, 4)), rng)
            for left, right in pairwise(columns):
                piece = _window(self._head(rng), bottom - top, right - left, rng)
                result[top:bottom, left:right] = piece
        return result

    def _ground(self, height: int, width: int, rng: np.random.Generator) -> Picture:
        """A free picture, dead leaves or noise."""
        kind = rng.random()
        if kind < 0.45:
            result = self._part(height, width, rng)
            leaves = int(rng.integers(0, 6))
        else:
            result = _clouds(height, width, rng)
            leaves = int(rng.integers(0, 80)) if kind < 0.85 else 0
        for _ in range(leaves):
            if rng.random() < 0.25:
                self._patch(result, rng)
            else:
                _leaf(result, rng)
        return result

    def _part(self, height: int, width: int, rng: np.random.Generator) -> Picture:
        """A part of a free picture, or sometimes a magnified detail of a head shot."""
        if rng.random() < 0.2:
            pixels, scale = self._head(rng).pixels, float(rng.uniform(2.5, 5.0))
        else:
            pixels = self._free[int(rng.integers(len(self._free)))]
            scale = float(np.exp(rng.uniform(np.log(0.5), np.log(2.5))))
        rows, columns = pixels.shape
        middle = rng.uniform(0.1, 0.9, 2) * (columns, rows)
        linear = _linear(scale, _turn(rng), rng)
        return _warped(pixels, linear, middle, np.array([width, height]) / 2, (height, width))

    def _patch(self, onto: Picture, rng: np.random.Generator) -> None:
        height, width = onto.shape
        rows, columns = (int(side * rng.uniform(0.05, 0.5)) + 1 for side in (height, width))
        top, left = int(rng.integers(height - rows)), int(rng.integers(width - columns))
        onto[top : top + rows, left : left + columns] = self._part(rows, columns, rng)


def _cuts(length: int, parts: int, rng: np.random.Generator) -> list[int]:
    inner = (np.arange(1, parts) + rng.uniform(-0.25, 0.25, parts - 1)) * length / parts
    return [0, *(int(at) for at in inner), length]


def _turn(rng: np.random.Generator) -> float:
    """Degrees: mostly upright, sometimes tilted, seldom any angle."""
    kind = rng.random()
    if kind < 0.85:
        return float(rng.normal(0, 8))
    return float(rng.uniform(-45, 45) if kind < 0.96 else rng.uniform(-180, 180))


def _linear(scale: float, degrees: float, rng: np.random.Generator) -> NDArray[np.float64]:
    """Scale, rotation, flip and stretch as (2, 2); some squeeze the head as if it were turned."""
    angle, stretch = np.deg2rad(degrees), float(np.exp(rng.normal(0, 0.06)))
    if rng.random() < 0.25:
        stretch *= float(rng.uniform(0.55, 0.9))
    flip = -1.0 if rng.random() < 0.5 else 1.0
    cosine, sine = np.cos(angle) * scale, np.sin(angle) * scale
    return np.array([[cosine * flip * stretch, -sine], [sine * flip * stretch, cosine]])


def _warped(
    pixels: Picture,
    linear: NDArray[np.float64],
    source: NDArray[np.float64],
    target: NDArray[np.float64],
    shape: tuple[int, int],
    border: int = cv2.BORDER_REFLECT_101,
) -> Picture:
    """`pixels` under the map `linear` that takes point `source` to `target`; `shape` is (height, width)."""
    matrix = np.column_stack([linear, target - linear @ source])
    return np.asarray(
        cv2.warpAffine(pixels, matrix, shape[::-1], flags=cv2.INTER_LINEAR, borderMode=border),
        np.uint8,
    )


def _shrunk(head: Head, face_px: float) -> tuple[Picture, NDArray[np.float64], float]:
    """Pixels, face center and remaining scale for a face of `face_px` pixels, without aliasing."""
    x, y, span = head.face
    scale = min(face_px / span, LARGEST_ZOOM)
    if scale > 0.7:
        return head.pixels, np.array([x, y]), scale
    small = cv2.resize(head.pixels, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    return np.asarray(small, np.uint8), np.array([x, y]) * scale, 1.0


def _spread(low: float, high: float, rng: np.random.Generator) -> float:
    """A number between `low` and `high`, log-uniform."""
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))


def _window(head: Head, height: int, width: int, rng: np.random.Generator) -> Picture:
    """A (height, width) window onto a head shot, whose border is mirrored, stretched or black."""
    side = min(height, width)
    pixels, center, scale = _shrunk(head, _spread(0.3 * side, 1.2 * side, rng))
    border = (cv2.BORDER_REFLECT_101, cv2.BORDER_REPLICATE, cv2.BORDER_CONSTANT)
    target = rng.uniform(0.05, 0.95, 2) * (width, height)
    linear = _linear(scale, _turn(rng), rng)
    return _warped(pixels, linear, center, target, (height, width), border[int(rng.integers(3))])


def _place(onto: Picture, head: Head, rng: np.random.Generator) -> None:
    """Paste a head onto `onto`, with soft edges or as the whole photo, often over shoulders."""
    height, width = onto.shape
    small = rng.random() < 0.15
    low, high = (10.0, 24.0) if small else (SMALLEST_PX, 0.9 * min(height, width))
    face_px = _spread(low, high, rng)
    pixels, center, scale = _shrunk(head, face_px)
    pixels = relight_head(pixels, rng)
    target = rng.uniform(0.05, 0.95, 2) * (width, height)
    linear = _linear(scale, _turn(rng), rng)
    if rng.random() < 0.5:
        _shoulders(onto, target, face_px, rng)
    moved = _warped(pixels, linear, center, target, (height, width), cv2.BORDER_REPLICATE)
    mask = np.zeros(pixels.shape, np.uint8)
    if rng.random() < 0.35:
        mask[1:-1, 1:-1] = 255
    else:
        axes = rng.uniform(0.55, 0.85, 2) * (1.0, 1.35) * face_px / scale
        center_x = center[0] + rng.normal(0, 0.12) * face_px / scale
        middle, span = (float(center_x), float(center[1])), (float(v) for v in 2 * axes)
        cv2.ellipse(mask, (middle, tuple(span), 0.0), 255, -1)
        soft = float(rng.uniform(0.5, 6.0) / scale)
        mask = np.asarray(cv2.GaussianBlur(mask, (0, 0), soft), np.uint8)
        mask[[0, -1]], mask[:, [0, -1]] = 0, 0
    alpha = _warped(mask, linear, center, target, (height, width), cv2.BORDER_CONSTANT)
    onto[:] = cv2.blendLinear(moved, onto, alpha / np.float32(255), 1 - alpha / np.float32(255))


def _shoulders(
    onto: Picture, face: NDArray[np.float64], width: float, rng: np.random.Generator
) -> None:
    x, y = (int(v) for v in face)
    tone, skin = (int(v) for v in rng.integers(0, 256, 2))
    neck = int(width * rng.uniform(0.25, 0.4))
    cv2.rectangle(onto, (x - neck, y), (x + neck, y + int(1.2 * width)), skin, -1)
    axes = (int(width * rng.uniform(1.0, 1.7)), int(width * rng.uniform(0.7, 1.6)))
    cv2.ellipse(onto, (x, y + int(0.9 * width) + axes[1]), axes, 0, 0, 360, tone, -1)


def _clouds(height: int, width: int, rng: np.random.Generator) -> Picture:
    """Smooth or blocky noise with a random grain."""
    rows, columns = (int(v) for v in np.exp(rng.uniform(0, np.log(40), 2)))
    coarse = rng.uniform(0, 255) + rng.normal(0, rng.uniform(2, 90), (rows, columns))
    how = (cv2.INTER_NEAREST, cv2.INTER_LINEAR, cv2.INTER_CUBIC)[int(rng.integers(3))]
    levels = coarse.clip(0, 255).astype(np.uint8)
    return np.asarray(cv2.resize(levels, (width, height), interpolation=how), np.uint8)


def _leaf(onto: Picture, rng: np.random.Generator) -> None:
    """Draw one shape; small ones are far more frequent."""
    height, width = onto.shape
    x, y, tone = int(rng.integers(width)), int(rng.integers(height)), int(rng.integers(256))
    a, b = (int(v) for v in 3.0 / rng.uniform(0.03, 1.0, 2))
    thick = int(rng.choice((-1, -1, -1, 1, 3)))
    kind = int(rng.integers(4))
    if kind == 0:
        cv2.ellipse(onto, (x, y), (a, b), float(rng.uniform(0, 180)), 0, 360, tone, thick)
    elif kind == 1:
        cv2.rectangle(onto, (x, y), (x + a, y + b), tone, thick)
    elif kind == 2:
        cv2.line(
            onto, (x, y), (int(rng.integers(width)), int(rng.integers(height))), tone, abs(thick)
        )
    else:
        corners = np.array([x, y]) + rng.normal(0, max(a, b), (int(rng.integers(3, 7)), 2))
        cv2.fillPoly(onto, [corners.astype(np.int32)], tone)
