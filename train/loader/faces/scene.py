"""A grey picture that grows by pasting and drawing, with the faces in it and what is visible of each."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

Picture = NDArray[np.uint8]
"""(H, W) uint8 grey; a photo may be (H, W, 3) RGB."""
Area = tuple[int, int, int, int]
"""Top, bottom, left and right of a part of a picture."""

ZOOM = 3.0
"""How many times a photo may be enlarged."""
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
    """Faces in a picture, in pixels: `boxes` (K, 4) float32 x0, y0, x1, y1; `landmarks` (K, 5, 2) float32 x,
    y; `certain` (K,) bool, False for a face that may be found or not."""

    boxes: NDArray[np.float32]
    landmarks: NDArray[np.float32]
    certain: NDArray[np.bool_]


NO_FACES = Faces(np.zeros((0, 4), np.float32), np.zeros((0, 5, 2), np.float32), np.zeros(0, bool))


@dataclass(frozen=True, slots=True, eq=False)
class Head:
    """A photo with its faces, the main one first. `turned` is 0 for a frontal face and about 1 for a profile;
    `zoom` is how many times the photo may be enlarged."""

    pixels: Picture
    faces: Faces
    turned: float = 0.0
    zoom: float = ZOOM

    @property
    def center(self) -> NDArray[np.float64]:
        """Center of the main face, x and y."""
        return np.asarray(self.faces.boxes[0].reshape(2, 2).mean(0), np.float64)

    @property
    def width(self) -> float:
        """Width of the main face."""
        return float(self.faces.boxes[0, 2] - self.faces.boxes[0, 0])


def moved(faces: Faces, linear: NDArray[np.float64], shift: NDArray[np.float64]) -> Faces:
    """The faces of a picture under the affine map x -> `linear` @ x + `shift`. A face is the ellipse in its
    box: the new box, that of the mapped ellipse, is as wide on a head's side as the upright one is high."""
    boxes = faces.boxes.astype(np.float64)
    center, half = (boxes[:, :2] + boxes[:, 2:]) / 2, (boxes[:, 2:] - boxes[:, :2]) / 2
    center, half = center @ linear.T + shift, np.sqrt(half**2 @ (linear**2).T)
    points = faces.landmarks @ linear.T + shift
    if linear[0, 0] * linear[1, 1] < linear[0, 1] * linear[1, 0]:
        points = points[:, _MIRRORED]
    boxes = np.concatenate([center - half, center + half], 1)
    return Faces(boxes.astype(np.float32), points.astype(np.float32), faces.certain)


def warp(
    pixels: Picture,
    linear: NDArray[np.float64],
    source: NDArray[np.float64],
    target: NDArray[np.float64],
    shape: tuple[int, ...],
    border: int = cv2.BORDER_REFLECT_101,
) -> Picture:
    """`pixels` under the map `linear` that takes point `source` to `target`; `shape` is (height, width)."""
    matrix = np.column_stack([linear, target - linear @ source])
    size = shape[1], shape[0]
    warped = cv2.warpAffine(pixels, matrix, size, flags=cv2.INTER_LINEAR, borderMode=border)
    return np.asarray(warped, np.uint8)


def reached(
    photo: tuple[int, ...],
    linear: NDArray[np.float64],
    shift: NDArray[np.float64],
    scene: tuple[int, ...],
) -> tuple[slice, slice]:
    """Rows and columns of a scene (height, width) that a mapped photo (height, width) reaches."""
    corners = np.array([[0, 0], [photo[1], 0], [0, photo[0]], photo[1::-1]]) @ linear.T + shift
    limits = np.array(scene[::-1])
    low = np.clip(np.floor(corners.min(0)), 0, limits - 1).astype(int)
    high = np.clip(np.ceil(corners.max(0)) + 1, low + 1, limits).astype(int)
    return slice(low[1], high[1]), slice(low[0], high[0])


class Scene:
    """A picture with the photos that were pasted into it."""

    def __init__(self, pixels: Picture) -> None:
        """`pixels` (H, W) uint8 without faces; they are changed in place."""
        self.pixels = pixels
        self._owner = np.zeros(pixels.shape, np.uint8)
        """The number of the photo that each pixel shows, 0 for none."""
        self._photos: list[Faces] = []

    def photo(
        self,
        faces: Faces,
        inside: NDArray[np.bool_],
        part: tuple[slice, slice] = (slice(None), slice(None)),
    ) -> None:
        """Note that the pixels `inside` (h, w) of a part of the scene now show a photo with these faces."""
        if len(faces.boxes):
            self._photos.append(faces)
        np.putmask(self._owner[part], inside, len(self._photos) if len(faces.boxes) else 0)

    def draw(self, drawing: Callable[[Picture], None]) -> None:
        """Change pixels; where they change, no photo shows any more."""
        before = self.pixels.copy() if self._photos else self.pixels
        drawing(self.pixels)
        if self._photos:
            np.putmask(self._owner, self.pixels != before, 0)

    def fill(
        self, area: Area, head: Head, linear: NDArray[np.float64], target: NDArray[np.float64],
        source: NDArray[np.float64], border: int,
    ) -> None:  # fmt: skip
        """Fill an area with a photo under the map `linear` that takes point `source` of it to `target`."""
        top, bottom, left, right = area
        part, shape = (slice(top, bottom), slice(left, right)), (bottom - top, right - left)
        self.pixels[part] = warp(head.pixels, linear, source, target, shape, border)
        whole = np.full(head.pixels.shape, 255, np.uint8)
        shown = warp(whole, linear, source, target, shape, cv2.BORDER_CONSTANT)
        shift = target - linear @ source + (left, top)
        self.photo(moved(head.faces, linear, shift), shown > 127, part)

    def blend(
        self, head: Head, mask: Picture, linear: NDArray[np.float64], target: NDArray[np.float64],
        source: NDArray[np.float64],
    ) -> None:  # fmt: skip
        """Paste a photo, as opaque as `mask` of its size, so that its point `source` comes to `target`."""
        shift = target - linear @ source
        area = reached(head.pixels.shape, linear, shift, self.pixels.shape)
        part = self.pixels[area]
        near = target - (area[1].start, area[0].start)
        pasted = warp(head.pixels, linear, source, near, part.shape, cv2.BORDER_REPLICATE)
        alpha = warp(mask, linear, source, near, part.shape, cv2.BORDER_CONSTANT)
        share = alpha / np.float32(255)
        part[:] = cv2.blendLinear(pasted, part, share, 1 - share)
        self.photo(moved(head.faces, linear, shift), alpha > 127, area)

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
        return float(np.count_nonzero(shown)) / max(1, (x1 - x0) * (y1 - y0))
