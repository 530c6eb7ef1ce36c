"""Random pictures to train a face detector on: heads from photos over many kinds of background.

The photos are tight head shots, so shoulders, rooms and streets come from elsewhere: free pictures,
drawings and noise. Some heads have lost their face: hair, ears and shoulders alone are none. A canvas is a
function of the random generator, painted in grey once for each color with the same random numbers.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from itertools import pairwise
from pathlib import Path

import cv2
import numpy as np
from numpy.typing import NDArray

from affectstream.train.loader.faces.paint import (
    degrade,
    draw_clouds,
    draw_leaf,
    draw_shoulders,
    draw_text,
    lit_in_color,
    relight_head,
    relight_scene,
    warmed,
)
from affectstream.train.loader.faces.scene import (
    NO_FACES,
    ZOOM,
    Area,
    Faces,
    Head,
    Picture,
    Scene,
    moved,
)

SMALLEST_PX = 18.0
"""Width of the smallest faces on a canvas, apart from a few even smaller ones."""
FACELESS = 0.03
"""Share of the heads whose face is gone."""
FAINT = 12.0
"""Standard deviation of the grey levels of a face below which it need not be found."""
FREE_PX = 640
"""Longest side of a free picture."""
FREE_PICTURES = (
    *("brick", "cell", "chelsea", "coffee", "coins", "grass", "gravel", "horse"),
    *("hubble_deep_field", "immunohistochemistry", "moon", "page", "retina", "rocket", "text"),
)
"""Pictures without people in `skimage.data`, all part of the installed package."""


def free_pictures(folder: Path | None = None) -> list[Picture]:
    """RGB pictures without faces: those of scikit-image and scikit-learn, and the JPEG files in `folder`
    where it exists, in the order of their names."""
    from skimage import data
    from sklearn.datasets import load_sample_images  # type: ignore[import-untyped]

    found = [np.asarray(getattr(data, name)()) for name in FREE_PICTURES]
    found += [np.asarray(side) for side in data.stereo_motorcycle()[:2]]  # type: ignore[no-untyped-call]
    found += list(load_sample_images().images)
    for path in sorted(folder.glob("*.jpg")) if folder is not None else ():
        read = cv2.imread(str(path), cv2.IMREAD_COLOR_RGB)
        if read is None:
            raise ValueError(f"{path}: not a picture that OpenCV can read")
        found.append(np.asarray(read))
    free = []
    for picture in found:
        levels = picture.astype(np.uint8) * 255 if picture.dtype == bool else picture
        levels = levels[..., :3] if levels.ndim == 3 else np.repeat(levels[..., None], 3, 2)
        scale = min(1.0, FREE_PX / max(levels.shape))
        small = cv2.resize(levels, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
        free.append(np.asarray(small, np.uint8))
    return free


class Canvases:
    """Makes canvases from head shots and free pictures."""

    def __init__(self, heads: Sequence[Head], free: Sequence[Picture]) -> None:
        """Both need at least one picture."""
        if not heads or not free:
            raise ValueError(f"canvases need pictures, found {len(heads)} heads, {len(free)} free")
        self._heads, self._free = heads, free
        self._channel = 0
        """The color that is being painted."""
        # Turned heads are rare in the photos and common in use: draw them more often. Small pictures serve
        # for small faces only.
        weights = np.array([1.0 + min(head.turned / 0.15, 5.0) ** 2 for head in heads])
        small = np.array([head.zoom < ZOOM for head in heads])
        self._shares = [_cumulated(weights * ~small), _cumulated(weights * small)]

    def make(self, height: int, width: int, rng: np.random.Generator) -> tuple[Picture, Faces]:
        """One canvas (height, width, 3) uint8 RGB, dimmed, blurred or noisy, and its faces, about upright."""
        seed = int(rng.integers(2**32))
        planes = [
            self._plane(height, width, channel, np.random.default_rng(seed)) for channel in range(3)
        ]
        canvas = lit_in_color(np.stack([picture for picture, _ in planes], 2), rng)
        return canvas, planes[1][1]  # most of the light is green

    def _plane(
        self, height: int, width: int, channel: int, rng: np.random.Generator
    ) -> tuple[Picture, Faces]:
        """One color of a canvas (height, width), and its faces."""
        self._channel = channel
        scene = self._scene(height, width, rng)
        if rng.random() < 0.2:
            for _ in range(int(rng.integers(1, 4))):
                scene.draw(lambda pixels: draw_leaf(pixels, rng))
        if rng.random() < 0.15:
            scene.draw(lambda pixels: draw_text(pixels, rng))
        scene.pixels = degrade(relight_scene(scene.pixels, rng), rng)
        if rng.random() < 0.4:  # the bars of letterboxing, at the right or the bottom
            bar, low = int(rng.integers(1, 32)), rng.random() < 0.5
            scene.draw(lambda pixels: (pixels[-bar:] if low else pixels[:, -bar:]).fill(0))
        return scene.pixels, _visible_light(scene.pixels, scene.faces())

    def _scene(self, height: int, width: int, rng: np.random.Generator) -> Scene:
        kind = rng.random()
        if kind < 0.08:
            scene = Scene(np.zeros((height, width), np.uint8))
            self._window(scene, (0, height, 0, width), rng)
        elif kind < 0.45:
            scene = self._mosaic(height, width, rng)
        else:
            scene = self._ground(height, width, rng)
            count = (0, 0, 0, 0, 1, 1, 1, 2, 2, 3, 4, 5, 6, 9)[int(rng.integers(14))]
            for _ in range(count):
                self._place(scene, 0.9 if count < 3 else 0.4, rng)
        return scene

    def _head(self, face_px: float, rng: np.random.Generator) -> tuple[Head, float]:
        """A random head in grey and the remaining scale for a face of `face_px` pixels, without aliasing."""
        large, small = self._shares
        shares = small if rng.random() < 0.5 and face_px < 80 else large
        if not shares[-1]:
            shares = large if shares is small else small
        drawn = int(np.searchsorted(shares, rng.random()))
        head = self._heads[min(drawn, len(self._heads) - 1)]
        scale = min(face_px / head.width, head.zoom)
        pixels, faces = head.pixels, head.faces
        if scale <= 0.7:
            small_picture = cv2.resize(
                pixels, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA
            )
            pixels = np.asarray(small_picture, np.uint8)
            faces, scale = moved(faces, np.eye(2) * scale, np.zeros(2)), 1.0
        pixels = warmed(self._one_color(pixels), self._channel, rng)
        return Head(pixels, faces, head.turned, head.zoom), scale

    def _one_color(self, pixels: Picture) -> Picture:
        return np.ascontiguousarray(pixels[..., self._channel]) if pixels.ndim == 3 else pixels

    def _without_face(self, head: Head, rng: np.random.Generator) -> Head:
        """The head with another texture where its face was, or with the face blurred beyond recognition."""
        pixels = head.pixels.copy()
        box = head.faces.boxes[0]
        center, half = (box[:2] + box[2:]) / 2, (box[2:] - box[:2]) / 2 * rng.uniform(0.85, 1.2)
        low = np.clip(np.floor(center - half), 0, None).astype(int)
        part = pixels[low[1] : int(center[1] + half[1]), low[0] : int(center[0] + half[0])]
        if part.size == 0:
            return Head(pixels, NO_FACES)
        kind = rng.random()
        if kind < 0.35:
            coarse = cv2.resize(part, (2, 3), interpolation=cv2.INTER_AREA)
            cover = np.asarray(cv2.resize(coarse, part.shape[::-1]), np.uint8)
        elif kind < 0.6:
            cover = np.full(part.shape, int(rng.integers(256)), np.uint8)
        else:
            free = self._one_color(self._free[int(rng.integers(len(self._free)))])
            cover = np.asarray(cv2.resize(free, part.shape[::-1]), np.uint8)
        mask = np.zeros(part.shape, np.uint8)
        middle = part.shape[1] // 2, part.shape[0] // 2
        cv2.ellipse(mask, middle, middle, 0.0, 0, 360, 255, -1)
        np.copyto(part, cover, where=mask > 0)
        return Head(pixels, NO_FACES)

    def _mosaic(self, height: int, width: int, rng: np.random.Generator) -> Scene:
        """Head shots side by side, cut at random places: two large ones, or dozens of small ones."""
        scene = Scene(np.zeros((height, width), np.uint8))
        piece = _spread(45.0, 0.7 * max(height, width), rng)
        for top, bottom in pairwise(_cuts(height, max(1, round(height / piece)), rng)):
            for left, right in pairwise(_cuts(width, max(1, round(width / piece)), rng)):
                self._window(scene, (top, bottom, left, right), rng)
        return scene

    def _window(self, scene: Scene, area: Area, rng: np.random.Generator) -> None:
        """Fill an area with a head shot, whose border is stretched or black; some with a free picture."""
        if rng.random() < 0.1:
            self._part(scene, area, rng)
            return
        height, width = area[1] - area[0], area[3] - area[2]
        side = min(height, width)
        head, scale = self._head(_spread(0.35 * side, 1.15 * side, rng), rng)
        border = (cv2.BORDER_REPLICATE, cv2.BORDER_CONSTANT)[int(rng.integers(2))]
        target, linear = rng.uniform(0.2, 0.8, 2) * (width, height), _linear(scale, _turn(rng), rng)
        center = head.center
        if rng.random() < FACELESS:
            head = self._without_face(head, rng)
        head = replace(head, pixels=relight_head(head.pixels, rng))
        scene.fill(area, head, linear, target, center, border)

    def _place(self, scene: Scene, largest: float, rng: np.random.Generator) -> None:
        """Paste a head, at most `largest` sides of the canvas, with soft edges or as the whole photo."""
        height, width = scene.pixels.shape
        tiny = rng.random() < 0.15
        low, high = (10.0, 24.0) if tiny else (SMALLEST_PX, largest * min(height, width))
        face_px = _spread(low, high, rng)
        head, scale = self._head(face_px, rng)
        pixels, center = relight_head(head.pixels, rng), head.center
        target = rng.uniform(0.05, 0.95, 2) * (width, height)
        linear = _linear(scale, _turn(rng), rng)
        if rng.random() < 0.5:
            scene.draw(lambda onto: draw_shoulders(onto, target, face_px, rng))
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
        head = Head(pixels, head.faces)
        if rng.random() < FACELESS:
            head = self._without_face(head, rng)
        scene.blend(head, mask, linear, target, center)

    def _ground(self, height: int, width: int, rng: np.random.Generator) -> Scene:
        """A free picture, dead leaves or noise, some with letters."""
        kind = rng.random()
        if kind < 0.6:
            scene = Scene(np.zeros((height, width), np.uint8))
            self._part(scene, (0, height, 0, width), rng)
            leaves = int(rng.integers(0, 6))
        else:
            scene = Scene(draw_clouds(height, width, rng))
            leaves = int(rng.integers(0, 60)) if kind < 0.9 else 0
        for _ in range(leaves):
            if rng.random() < 0.25:
                rows, columns = (int(side * rng.uniform(0.05, 0.5)) + 1 for side in (height, width))
                top, left = int(rng.integers(height - rows)), int(rng.integers(width - columns))
                self._part(scene, (top, top + rows, left, left + columns), rng)
            else:
                scene.draw(lambda pixels: draw_leaf(pixels, rng))
        if rng.random() < 0.2:
            scene.draw(lambda pixels: draw_text(pixels, rng))
        return scene

    def _part(self, scene: Scene, area: Area, rng: np.random.Generator) -> None:
        """Fill an area with a part of a free picture, or sometimes a magnified detail of a head shot."""
        if rng.random() < 0.1:
            head, scale = self._head(500.0, rng)
            scale *= float(rng.uniform(1.0, 2.0))
        else:
            pixels = self._one_color(self._free[int(rng.integers(len(self._free)))])
            head, scale = Head(pixels, NO_FACES), _spread(0.35, 2.5, rng)
        rows, columns = head.pixels.shape
        middle = rng.uniform(0.1, 0.9, 2) * (columns, rows)
        size = np.array([area[3] - area[2], area[1] - area[0]])
        # A mirrored border would show faces that nobody knows of.
        border = cv2.BORDER_REPLICATE if len(head.faces.boxes) else cv2.BORDER_REFLECT_101
        scene.fill(area, head, _linear(scale, _turn(rng), rng), size / 2, middle, border)


def _visible_light(picture: Picture, faces: Faces) -> Faces:
    """The faces; those with hardly any contrast left, in the dark, may be found or not."""
    certain = faces.certain.copy()
    for k, box in enumerate(faces.boxes):
        x0, y0, x1, y1 = (max(0, int(v)) for v in box)
        part = picture[y0:y1, x0:x1]
        certain[k] &= bool(part.size) and float(cv2.meanStdDev(part)[1][0, 0]) >= FAINT
    return Faces(faces.boxes, faces.landmarks, certain)


def _cumulated(weights: NDArray[np.float64]) -> NDArray[np.float64]:
    """Cumulated shares (n,), all 0 where no weight is positive."""
    return np.cumsum(weights / max(1e-9, float(weights.sum())))


def _cuts(length: int, parts: int, rng: np.random.Generator) -> list[int]:
    inner = (np.arange(1, parts) + rng.uniform(-0.25, 0.25, parts - 1)) * length / parts
    return [0, *(int(at) for at in inner), length]


def _turn(rng: np.random.Generator) -> float:
    """Degrees of a head: about upright, since the whole canvas is turned later."""
    return float(rng.normal(0, 8))


def _linear(scale: float, degrees: float, rng: np.random.Generator) -> NDArray[np.float64]:
    """Scale, rotation, flip and stretch as (2, 2); some squeeze the head as if it were turned."""
    angle, stretch = np.deg2rad(degrees), float(np.exp(rng.normal(0, 0.06)))
    if rng.random() < 0.2:
        stretch *= float(rng.uniform(0.55, 0.9))
    flip = -1.0 if rng.random() < 0.5 else 1.0
    cosine, sine = np.cos(angle) * scale, np.sin(angle) * scale
    return np.array([[cosine * flip * stretch, -sine], [sine * flip * stretch, cosine]])


def _spread(low: float, high: float, rng: np.random.Generator) -> float:
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))
