"""How a face looks, as a vector that tells people in one recording apart."""

from __future__ import annotations

import math
from itertools import pairwise

import cv2
import numpy as np
from numpy.typing import NDArray

from affectstream.stream.faces.box import Box

_SAMPLES = 8
"""Looks that are remembered of one person: from the front, turned, smiling, in other light."""
_ANOTHER = 0.9
"""A face less similar than this to all of them is remembered beside them."""
_REFRESH = 0.2
"""Weight of the newest face in the remembered look that it is most similar to."""


_BINS = (6, 7, 7)
"""Steps of lightness, and of the two axes of color."""
_COLORS = (100.0, 156.0)
"""Range of these axes in 8 bits: skin, hair, walls and most clothes. Colors beyond it count as its ends."""
_LIMITED = np.stack(
    [np.arange(256), *2 * [np.clip(np.arange(256), _COLORS[0], _COLORS[1] - 1)]], axis=1
).astype(np.uint8)[None]
"""A table that does so."""
_BANDS = (0.0, 0.3, 0.65, 1.0)
"""Forehead and hair, middle of the face, mouth and collar: shares of the height of the taller box."""
_FACE_LIGHT = 130.0
"""The face is made as light as this on average, so that a lamp or a cloud changes little."""
_SHAPE = 0.4
"""Share of the face's shape in the similarity; the rest is color."""


def describe_appearance(
    rgb: NDArray[np.uint8], box: Box, crop: NDArray[np.uint8]
) -> NDArray[np.float32]:
    """A unit vector (982,) float32 of how a face looks: the colors around it, and its coarse shape.

    `crop` is the aligned crop of the face at `box` in `rgb` (H, W, 3) uint8. The larger part are square
    roots of color histograms (CIELAB) of three bands of the box made taller by hair and collar, so that a dot
    product is a Bhattacharyya coefficient. The other part is a 10x10 gray thumbnail of the crop minus its
    mean. It tells two people in one recording apart, and is not made to recognize anyone.
    """
    gray = cv2.cvtColor(crop, cv2.COLOR_RGB2GRAY)
    edge = len(gray) // 4
    light = cv2.mean(gray[edge:-edge, edge:-edge])[0]
    part = cv2.convertScaleAbs(_around(rgb, box), alpha=_FACE_LIGHT / max(8.0, light))
    lab = cv2.cvtColor(part, cv2.COLOR_RGB2LAB)
    lab = cv2.LUT(lab, _LIMITED)
    rows = [int(share * len(lab)) for share in _BANDS]
    bands = [lab[top : max(top + 1, bottom)] for top, bottom in pairwise(rows)]
    color = np.concatenate([_histogram(np.ascontiguousarray(band)) for band in bands])
    thumbnail = cv2.resize(gray, (10, 10), interpolation=cv2.INTER_AREA)
    shape = np.subtract(thumbnail, cv2.mean(thumbnail)[0], dtype=np.float32).ravel()
    parts = math.sqrt(1 - _SHAPE) * _unit(color), math.sqrt(_SHAPE) * _unit(shape)
    return np.concatenate(parts).astype(np.float32)


def _around(rgb: NDArray[np.uint8], box: Box) -> NDArray[np.uint8]:
    """The face with hair and collar, and little of what is behind. A large one is thinned out."""
    height, width = rgb.shape[:2]
    x0, x1, tall = int(max(0, box[0])), int(min(width, box[2])), box[3] - box[1]
    y0, y1 = int(max(0, box[1] - 0.3 * tall)), int(min(height, box[3] + 0.6 * tall))
    part = rgb[y0 : max(y1, y0 + 1), x0 : max(x1, x0 + 1)]
    step = max(1, min(part.shape[:2]) // 40)
    return np.ascontiguousarray(part[::step, ::step])


def _histogram(lab: NDArray[np.uint8]) -> NDArray[np.float32]:
    ranges = [0, 256, *_COLORS, *_COLORS]
    counts = cv2.calcHist([lab], [0, 1, 2], None, list(_BINS), ranges).ravel()
    return np.asarray(np.sqrt(counts / (lab.shape[0] * lab.shape[1])), np.float32)


class Appearances:
    """The different ways in which one person looked: up to eight unit vectors, the newest last."""

    def __init__(self, first: NDArray[np.float32]) -> None:
        self._samples = _unit(first)[None]

    def similarity(self, appearance: NDArray[np.float32]) -> float:
        """Of `appearance` to the most similar sample."""
        return float((self._samples @ _unit(appearance)).max())

    def add(self, appearance: NDArray[np.float32]) -> None:
        """Remember another face of the person; the sample that was not needed for longest goes."""
        newest, samples = _unit(appearance), self._samples
        alike = samples @ newest
        best = int(alike.argmax())
        if alike[best] >= _ANOTHER:
            newest = _unit((1 - _REFRESH) * samples[best] + _REFRESH * newest)
            samples = np.delete(samples, best, axis=0)
        self._samples = np.concatenate([samples[-(_SAMPLES - 1) :], newest[None]])


def _unit(vector: NDArray[np.float32]) -> NDArray[np.float32]:
    return vector / np.float32(max(1e-6, math.sqrt(float(vector @ vector))))
