"""Random grey pictures to train a face detector on: heads from photos over many kinds of background.

The photos are tight head shots, so shoulders, rooms and streets come from elsewhere: free pictures of
scikit-image and scikit-learn, "dead leaves" (overlapping shapes with edges and sizes like natural
scenes: Lee, Mumford and Huang, 2001), and noise. Heads are turned by any angle. Box and landmarks of a
face are known in its photo and follow every map that the photo undergoes; what covers a face is known
too. A canvas is a function of the random generator alone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise

import cv2
import numpy as np
from numpy.typing import NDArray

Picture = NDArray[np.uint8]
"""(H, W) uint8 grey."""
Area = tuple[int, int, int, int]
"""Top, bottom, left and right of a part of a picture."""


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


VISIBLE = 0.6
"""Share of a face that is visible where it has to be found."""
HIDDEN = 0.2
"""Share below which nothing has to be found; between the two a detector may do either."""
TINY_PX = 9.0
"""Mean side of the smallest faces that have to be found."""
_MIRRORED = [1, 0, 2, 4, 3]
"""The landmarks of a mirrored face: right and left change places."""


@dataclass(frozen=True, slots=True, eq=False)
class Faces:
    """Faces in a picture, in pixels.

    `boxes` (K, 4) float32 x0, y0, x1, y1; `landmarks` (K, 5, 2) float32 x, y; `certain` (K,) bool, False
    for a face that may be found or not.
    """

    boxes: NDArray[np.float32]
    landmarks: NDArray[np.float32]
    certain: NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class Head:
    """A grey photo with its faces, the main one first, and how far that head is turned.

    `turned` is 0 for a frontal face and about 1 for a profile.
    """

    pixels: Picture
    faces: Faces
    turned: float = 0.0

    @property
    def center(self) -> NDArray[np.float64]:
        """Center of the main face, x and y."""
        return np.asarray(self.faces.boxes[0].reshape(2, 2).mean(0), np.float64)

    @property
    def width(self) -> float:
        """Width of the main face."""
        return float(self.faces.boxes[0, 2] - self.faces.boxes[0, 0])


def moved(faces: Faces, linear: NDArray[np.float64], shift: NDArray[np.float64]) -> Faces:
    """The faces of a picture under the affine map x -> `linear` @ x + `shift`.

    A face is the ellipse in its box, and its new box is the box of the mapped ellipse: that of a head on
    its side is as wide as the upright one is high.
    """
    boxes = faces.boxes.astype(np.float64)
    center, half = (boxes[:, :2] + boxes[:, 2:]) / 2, (boxes[:, 2:] - boxes[:, :2]) / 2
    center, half = center @ linear.T + shift, np.sqrt(half**2 @ (linear**2).T)
    points = faces.landmarks @ linear.T + shift
    if np.linalg.det(linear) < 0:
        points = points[:, _MIRRORED]
    boxes = np.concatenate([center - half, center + half], 1)
    return Faces(boxes.astype(np.float32), points.astype(np.float32), faces.certain)


class Scene:
    """A picture that grows by pasting and drawing, with the faces in it and what is visible of each."""

    def __init__(self, pixels: Picture) -> None:
        """`pixels` (H, W) uint8 without faces; they are changed in place."""
        self.pixels = pixels
        self._owner = np.zeros(pixels.shape, np.uint8)
        """The number of the photo that each pixel shows, 0 for none."""
        self._photos: list[Faces] = []

    def photo(self, faces: Faces, inside: NDArray[np.bool_]) -> None:
        """Note that the pixels `inside` (H, W) now show a photo with these faces."""
        if len(faces.boxes):
            self._photos.append(faces)
        self._owner[inside] = len(self._photos) if len(faces.boxes) else 0

    def draw(self, drawing: Callable[[Picture], None]) -> None:
        """Change pixels; where they change, no photo shows any more."""
        before = self.pixels.copy() if self._photos else self.pixels
        drawing(self.pixels)
        if self._photos:
            self._owner[self.pixels != before] = 0

    def turn(self, quarters: int) -> Scene:
        """The scene turned by `quarters` times 90 degrees counterclockwise."""
        scene = self
        for _ in range(quarters):
            last = scene.pixels.shape[1] - 1
            turned = Scene(np.ascontiguousarray(np.rot90(scene.pixels)))
            turned._owner = np.ascontiguousarray(np.rot90(scene._owner))
            quarter, shift = np.array([[0.0, 1.0], [-1.0, 0.0]]), np.array([0.0, last])
            turned._photos = [moved(faces, quarter, shift) for faces in scene._photos]
            scene = turned
        return scene

    def faces(self) -> Faces:
        """Every face of which enough is visible; half-hidden and tiny ones are not certain."""
        boxes, points, certain = [], [], []
        for number, faces in enumerate(self._photos, 1):
            for box, landmarks, known in zip(
                faces.boxes, faces.landmarks, faces.certain, strict=True
            ):
                visible = self._visible(box, number)
                if visible < HIDDEN:
                    continue
                side = float(np.sqrt(np.prod(box[2:] - box[:2])))
                boxes.append(box)
                points.append(landmarks)
                certain.append(bool(known) and visible >= VISIBLE and side >= TINY_PX)
        return Faces(
            np.asarray(boxes, np.float32).reshape(-1, 4),
            np.asarray(points, np.float32).reshape(-1, 5, 2),
            np.asarray(certain, bool),
        )

    def _visible(self, box: NDArray[np.float32], number: int) -> float:
        """Share of the inner part of `box` (0.8 of each side) that shows photo `number`."""
        margin = 0.1 * (box[2:] - box[:2])
        x0, y0 = (int(v) for v in np.floor(box[:2] + margin))
        x1, y1 = (int(v) for v in np.ceil(box[2:] - margin))
        shown = self._owner[max(0, y0) : max(0, y1), max(0, x0) : max(0, x1)] == number
        return float(shown.sum()) / max(1, (x1 - x0) * (y1 - y0))


NO_FACES = Faces(np.zeros((0, 4), np.float32), np.zeros((0, 5, 2), np.float32), np.zeros(0, bool))


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

    def make(self, height: int, width: int, rng: np.random.Generator) -> tuple[Picture, Faces]:
        """One canvas (height, width) uint8, dimmed, blurred or noisy, and its faces."""
        quarters = int(rng.choice(4, p=(0.61, 0.13, 0.13, 0.13)))
        scene = self._scene(*((width, height) if quarters % 2 else (height, width)), rng)
        if rng.random() < 0.2:
            for _ in range(int(rng.integers(1, 4))):
                scene.draw(lambda pixels: _leaf(pixels, rng))
        scene = scene.turn(quarters)
        scene.pixels = degrade(relight_scene(scene.pixels, rng), rng)
        if rng.random() < 0.4:  # the bars of letterboxing, at the right or the bottom
            bar, low = int(rng.integers(1, 32)), rng.random() < 0.5
            scene.draw(lambda pixels: (pixels[-bar:] if low else pixels[:, -bar:]).fill(0))
        return scene.pixels, scene.faces()

    def _scene(self, height: int, width: int, rng: np.random.Generator) -> Scene:
        kind = rng.random()
        if kind < 0.08:
            scene = Scene(np.zeros((height, width), np.uint8))
            _window(scene, (0, height, 0, width), self._head(rng), rng)
        elif kind < 0.55:
            scene = self._mosaic(height, width, rng)
        else:
            scene = self._ground(height, width, rng)
            count = int(rng.choice((0, 1, 2, 4, 6, 9), p=(0.15, 0.2, 0.15, 0.2, 0.2, 0.1)))
            for _ in range(count):
                _place(scene, self._head(rng), 0.9 if count < 3 else 0.4, rng)
        return scene

    def _head(self, rng: np.random.Generator) -> Head:
        drawn = int(np.searchsorted(self._shares, rng.random()))
        return self._heads[min(drawn, len(self._heads) - 1)]

    def _mosaic(self, height: int, width: int, rng: np.random.Generator) -> Scene:
        """Head shots side by side, cut at random places: two large ones, or dozens of small ones."""
        scene = Scene(np.zeros((height, width), np.uint8))
        piece = _spread(45.0, 0.7 * max(height, width), rng)
        for top, bottom in pairwise(_cuts(height, max(1, round(height / piece)), rng)):
            for left, right in pairwise(_cuts(width, max(1, round(width / piece)), rng)):
                _window(scene, (top, bottom, left, right), self._head(rng), rng)
        return scene

    def _ground(self, height: int, width: int, rng: np.random.Generator) -> Scene:
        """A free picture, dead leaves or noise."""
        kind = rng.random()
        if kind < 0.45:
            scene = Scene(np.zeros((height, width), np.uint8))
            self._part(scene, (0, height, 0, width), rng)
            leaves = int(rng.integers(0, 6))
        else:
            scene = Scene(_clouds(height, width, rng))
            leaves = int(rng.integers(0, 80)) if kind < 0.85 else 0
        for _ in range(leaves):
            if rng.random() < 0.25:
                rows, columns = (int(side * rng.uniform(0.05, 0.5)) + 1 for side in (height, width))
                top, left = int(rng.integers(height - rows)), int(rng.integers(width - columns))
                self._part(scene, (top, top + rows, left, left + columns), rng)
            else:
                scene.draw(lambda pixels: _leaf(pixels, rng))
        return scene

    def _part(self, scene: Scene, area: Area, rng: np.random.Generator) -> None:
        """Fill an area with a part of a free picture, or sometimes a magnified detail of a head shot."""
        if rng.random() < 0.2:
            head, scale = self._head(rng), float(rng.uniform(2.5, 5.0))
        else:
            pixels = self._free[int(rng.integers(len(self._free)))]
            head, scale = Head(pixels, NO_FACES), _spread(0.5, 2.5, rng)
        rows, columns = head.pixels.shape
        middle = rng.uniform(0.1, 0.9, 2) * (columns, rows)
        linear = _linear(scale, _turn(rng), rng)
        size = np.array([area[3] - area[2], area[1] - area[0]])
        # A mirrored border would show faces that nobody knows of.
        border = cv2.BORDER_REPLICATE if len(head.faces.boxes) else cv2.BORDER_REFLECT_101
        _show(scene, area, head.pixels, head.faces, linear, middle, size / 2, border)


def _cuts(length: int, parts: int, rng: np.random.Generator) -> list[int]:
    inner = (np.arange(1, parts) + rng.uniform(-0.25, 0.25, parts - 1)) * length / parts
    return [0, *(int(at) for at in inner), length]


def _turn(rng: np.random.Generator) -> float:
    """Degrees: mostly upright, often tilted, sometimes any angle."""
    kind = rng.random()
    if kind < 0.6:
        return float(rng.normal(0, 9))
    return float(rng.uniform(-55, 55) if kind < 0.82 else rng.uniform(-180, 180))


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


def _show(
    scene: Scene,
    area: Area,
    pixels: Picture,
    faces: Faces,
    linear: NDArray[np.float64],
    source: NDArray[np.float64],
    target: NDArray[np.float64],
    border: int,
) -> None:
    """Fill an area with a photo under the map `linear` that takes point `source` of it to `target`."""
    top, bottom, left, right = area
    shape = bottom - top, right - left
    scene.pixels[top:bottom, left:right] = _warped(pixels, linear, source, target, shape, border)
    inside = np.zeros(scene.pixels.shape, bool)
    whole = np.full(pixels.shape, 255, np.uint8)
    shown = _warped(whole, linear, source, target, shape, cv2.BORDER_CONSTANT)
    inside[top:bottom, left:right] = shown > 127
    shift = target - linear @ source + (left, top)
    scene.photo(moved(faces, linear, shift), inside)


def _shrunk(head: Head, face_px: float) -> tuple[Head, float]:
    """The head and the remaining scale for a face of `face_px` pixels, without aliasing."""
    scale = min(face_px / head.width, LARGEST_ZOOM)
    if scale > 0.7:
        return head, scale
    small = cv2.resize(head.pixels, None, fx=scale, fy=scale, interpolation=cv2.INTER_AREA)
    faces = moved(head.faces, np.eye(2) * scale, np.zeros(2))
    return Head(np.asarray(small, np.uint8), faces), 1.0


def _spread(low: float, high: float, rng: np.random.Generator) -> float:
    """A number between `low` and `high`, log-uniform."""
    return float(np.exp(rng.uniform(np.log(low), np.log(high))))


def _window(scene: Scene, area: Area, head: Head, rng: np.random.Generator) -> None:
    """Fill an area with a head shot, whose border is stretched or black."""
    height, width = area[1] - area[0], area[3] - area[2]
    side = min(height, width)
    small, scale = _shrunk(head, _spread(0.35 * side, 1.15 * side, rng))
    border = (cv2.BORDER_REPLICATE, cv2.BORDER_CONSTANT)[int(rng.integers(2))]
    target = rng.uniform(0.2, 0.8, 2) * (width, height)
    linear = _linear(scale, _turn(rng), rng)
    _show(scene, area, small.pixels, small.faces, linear, small.center, target, border)


def _place(scene: Scene, head: Head, largest: float, rng: np.random.Generator) -> None:
    """Paste a head, at most `largest` sides of the canvas, with soft edges or as the whole photo, often over
    shoulders."""
    height, width = scene.pixels.shape
    tiny = rng.random() < 0.15
    low, high = (10.0, 24.0) if tiny else (SMALLEST_PX, largest * min(height, width))
    face_px = _spread(low, high, rng)
    small, scale = _shrunk(head, face_px)
    pixels, center = relight_head(small.pixels, rng), small.center
    target = rng.uniform(0.05, 0.95, 2) * (width, height)
    linear = _linear(scale, _turn(rng), rng)
    if rng.random() < 0.5:
        scene.draw(lambda onto: _shoulders(onto, target, face_px, rng))
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
    shift = target - linear @ center
    area = _reached(pixels.shape, linear, shift, scene.pixels.shape)
    part = scene.pixels[area]
    origin = np.array([area[1].start, area[0].start])
    pasted = _warped(pixels, linear, center, target - origin, part.shape, cv2.BORDER_REPLICATE)
    alpha = _warped(mask, linear, center, target - origin, part.shape, cv2.BORDER_CONSTANT)
    part[:] = cv2.blendLinear(pasted, part, alpha / np.float32(255), 1 - alpha / np.float32(255))
    inside = np.zeros(scene.pixels.shape, bool)
    inside[area] = alpha > 127
    scene.photo(moved(small.faces, linear, shift), inside)


def _reached(
    photo: tuple[int, ...],
    linear: NDArray[np.float64],
    shift: NDArray[np.float64],
    scene: tuple[int, ...],
) -> tuple[slice, slice]:
    """Rows and columns of a scene (height, width) that a mapped photo (height, width) reaches."""
    corners = np.array([[0, 0], [photo[1], 0], [0, photo[0]], photo[::-1]]) @ linear.T + shift
    limits = np.array(scene[::-1])
    low = np.clip(np.floor(corners.min(0)), 0, limits - 1).astype(int)
    high = np.clip(np.ceil(corners.max(0)) + 1, low + 1, limits).astype(int)
    return slice(low[1], high[1]), slice(low[0], high[0])


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
