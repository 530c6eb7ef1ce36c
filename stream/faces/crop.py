"""The crops that face encoders take, cut by the same code for serving and training.

`align_face` cuts a face by a similarity transform of its five landmarks, and `cut_square` an unturned square
around it, for the engine that finds its landmarks; `cut_leaning` turns the square. `person_crop` cuts the
face's box made three times as wide and tall, and `frame_crop` takes the whole picture; both fit the longest
side, the rest is black. `equalize` makes the histogram of a crop uniform.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import cv2
import numpy as np
from numpy.typing import NDArray

from affectstream.engines.manifest import Tone
from affectstream.stream.faces.box import Box

Points = NDArray[np.float32]

Template = tuple[tuple[float, float], ...]
"""Where the five landmarks lie in a crop, in pixels."""

TEMPLATE: Template = ((15.3, 18.7), (32.7, 18.7), (24.0, 28.6), (16.8, 36.7), (31.2, 36.7))
"""Where `pocket` 0.1 put right eye, left eye, nose tip and mouth corners (the subject's right is on the left
of the picture) in a 48x48 crop. These are the median positions that its own detector finds in 400 training
pictures of FER2013, made symmetric: the crop reaches from forehead to chin, as those pictures do."""

TEMPLATE_SIZE = 48
"""Side in pixels of the crop that `TEMPLATE` is for."""
PERSON = 3.0
"""How many times wider than the face a `person` crop is."""


def fit_similarity(source: Points, target: Points) -> NDArray[np.float64]:
    """The (2, 3) similarity transform that takes `source` (n, 2) closest to `target` (n, 2).

    Closed form of the least-squares problem without reflection (Umeyama, 1991). Here a point is a
    complex number, and the similarity is ``w = a z + b``. Raises `ValueError` where all source points
    coincide.
    """
    # Plain numbers are faster than arrays for five points, and this runs for every face.
    z, w = [complex(x, y) for x, y in source.tolist()], [complex(x, y) for x, y in target.tolist()]
    z_mean, w_mean = sum(z) / len(z), sum(w) / len(w)
    spread = sum(abs(p - z_mean) ** 2 for p in z)
    if spread < 1e-9:
        raise ValueError("the landmarks coincide: no similarity can be fitted")
    pairs = zip(z, w, strict=True)
    a = sum((p - z_mean).conjugate() * (q - w_mean) for p, q in pairs) / spread
    b = w_mean - a * z_mean
    return np.array([[a.real, -a.imag, b.real], [a.imag, a.real, b.imag]])


def turn_clockwise(points: Points, quarters: int, height: float, width: float) -> Points:
    """Where `points` (n, 2) of a picture of this size lie once it is turned by so many quarters. The left and
    upper edges of the picture are 0, before and after."""
    for _ in range(quarters):
        points = np.stack([height - points[:, 1], points[:, 0]], 1)
        height, width = width, height
    return points


def align_face(
    rgb: NDArray[np.uint8], landmarks: Points, template: Points, size: int
) -> NDArray[np.uint8]:
    """Cut a face from `rgb` (H, W, 3) uint8 so that its landmarks lie on `template`: (size, size, 3) uint8.

    Outside the frame its border is repeated.
    """
    return _cut(rgb, fit_similarity(landmarks, template), size)


def cut_square(rgb: NDArray[np.uint8], square: Box, size: int) -> NDArray[np.uint8]:
    """The part of `rgb` (H, W, 3) uint8 in `square`, resized to (size, size, 3) uint8.

    Outside the frame its border is repeated.
    """
    scale = size / (square[2] - square[0])
    # Pixel centers are whole numbers for OpenCV; the edges of a box lie half a pixel off.
    x = (0.5 - square[0]) * scale - 0.5
    y = (0.5 - square[1]) * scale - 0.5
    return _cut(rgb, np.array([[scale, 0, x], [0, scale, y]]), size)


def cut_leaning(rgb: NDArray[np.uint8], square: Box, size: int, lean: float) -> NDArray[np.uint8]:
    """`square` turned clockwise around its middle by `lean` degrees, as (size, size, 3) uint8: a head that
    leans so is upright in it.

    Outside the frame its border is repeated.
    """
    scale, angle = size / (square[2] - square[0]), math.radians(lean)
    turn = scale * np.array(
        [[math.cos(angle), math.sin(angle)], [-math.sin(angle), math.cos(angle)]]
    )
    middle = np.array([(square[0] + square[2]) / 2, (square[1] + square[3]) / 2])
    # The edges of a square lie half a pixel off the centers of pixels.
    shift = turn @ (0.5 - middle) + size / 2 - 0.5
    return _cut(rgb, np.column_stack([turn, shift]), size)


def _cut(rgb: NDArray[np.uint8], matrix: NDArray[np.float64], size: int) -> NDArray[np.uint8]:
    """Warp `rgb` by the similarity `matrix` (2, 3) into a crop (size, size, 3) uint8.

    A large face is first scaled down by area averages, as the training pictures were: bilinear sampling
    alone would skip pixels.
    """
    scale = float(np.hypot(matrix[0, 0], matrix[1, 0]))
    shrink = int(1.0 / scale)
    if shrink >= 2:
        rgb, matrix = _shrunk(rgb, matrix, size, shrink)
    crop = cv2.warpAffine(
        rgb, matrix, (size, size), flags=cv2.INTER_LINEAR, borderMode=cv2.BORDER_REPLICATE
    )
    return np.asarray(crop, np.uint8)


def _shrunk(
    rgb: NDArray[np.uint8], matrix: NDArray[np.float64], size: int, factor: int
) -> tuple[NDArray[np.uint8], NDArray[np.float64]]:
    """The part of `rgb` that the crop needs, `factor` times smaller, and the matrix for it."""
    back = cv2.invertAffineTransform(matrix)
    x0, x1 = _span(back[0].tolist(), size, factor, rgb.shape[1])
    y0, y1 = _span(back[1].tolist(), size, factor, rgb.shape[0])
    columns, rows = max(1, (x1 - x0) // factor), max(1, (y1 - y0) // factor)
    part = rgb[y0 : min(y1, y0 + rows * factor), x0 : min(x1, x0 + columns * factor)]
    small = cv2.resize(part, (columns, rows), interpolation=cv2.INTER_AREA)
    fx, fy = part.shape[1] / columns, part.shape[0] / rows
    # Pixel centers: full = (small + 0.5) * f - 0.5 + origin.
    up = np.array([[fx, 0, x0 + fx / 2 - 0.5], [0, fy, y0 + fy / 2 - 0.5], [0, 0, 1.0]])
    return np.asarray(small, np.uint8), matrix @ up


def _span(row: list[float], size: int, margin: int, limit: int) -> tuple[int, int]:
    """First and last pixel of a crop along one axis, from that row of the inverse transform."""
    along, across, shift = row
    low = shift + min(0.0, along * size) + min(0.0, across * size)
    high = shift + max(0.0, along * size) + max(0.0, across * size)
    first = min(max(math.floor(low) - margin, 0), limit - 1)
    return first, min(max(math.ceil(high) + margin, first + 1), limit)


def apply_tone(crops: Sequence[NDArray[np.uint8]], tone: Tone) -> Sequence[NDArray[np.uint8]]:
    """Crops (S, S, 3) uint8 in the tone of an encoder, from crops in their own tone."""
    return [equalize(crop) for crop in crops] if tone == "equalized" else crops


def equalize(rgb: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """The brightness of a picture (S, S, 3) uint8 with all levels equally frequent, in three equal planes.

    Histogram equalization (Gonzalez and Woods, Digital Image Processing) keeps only the order of the
    levels, so light and the camera's tone curve no longer matter.
    """
    levels = cv2.equalizeHist(cv2.cvtColor(rgb, cv2.COLOR_RGB2GRAY))
    return np.asarray(cv2.cvtColor(levels, cv2.COLOR_GRAY2RGB), np.uint8)


def scaled_template(size: int, template: Template = TEMPLATE) -> Template:
    """`template` for a crop of `size` pixels with the same content; pixel centers are whole numbers."""
    scale = size / TEMPLATE_SIZE
    return tuple(((x + 0.5) * scale - 0.5, (y + 0.5) * scale - 0.5) for x, y in template)


def person_crop(rgb: NDArray[np.uint8], box: Box, size: int) -> NDArray[np.uint8]:
    """The face `box` made `PERSON` times as wide and tall, fitted as by `frame_crop`.

    The crop ends at the edge of the picture.
    """
    x, y = (box[0] + box[2]) / 2, (box[1] + box[3]) / 2
    wide, tall = PERSON * (box[2] - box[0]) / 2, PERSON * (box[3] - box[1]) / 2
    height, width = rgb.shape[:2]
    x0, x1 = _inside(x - wide, x + wide, width)
    y0, y1 = _inside(y - tall, y + tall, height)
    return frame_crop(rgb[y0:y1, x0:x1], size)


def _inside(low: float, high: float, limit: int) -> tuple[int, int]:
    """The pixels from `low` to `high` that lie in the picture; one pixel where none of them do."""
    first = min(max(0, round(low)), limit - 1)
    return first, max(min(limit, round(high)), first + 1)


def frame_crop(rgb: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    """The whole picture with its longest side at `size`, centered on black: (size, size, 3) uint8."""
    height, width = rgb.shape[:2]
    scale = size / max(height, width)
    rows, columns = max(1, round(height * scale)), max(1, round(width * scale))
    how = cv2.INTER_AREA if scale < 1 else cv2.INTER_LINEAR
    canvas = np.zeros((size, size, 3), np.uint8)
    top, left = (size - rows) // 2, (size - columns) // 2
    canvas[top : top + rows, left : left + columns] = cv2.resize(
        rgb, (columns, rows), interpolation=how
    )
    return canvas
