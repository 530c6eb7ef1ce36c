"""How a face looks, as a vector that tells people in one recording apart."""

from __future__ import annotations

import math

import cv2
import numpy as np
from numpy.typing import NDArray

from affectstream.stream.faces.box import Box


def describe_appearance(
    rgb: NDArray[np.uint8], box: Box, crop: NDArray[np.uint8]
) -> NDArray[np.float32]:
    """A unit vector (228,) float32 of how a face looks: the colors around it, and its coarse shape.

    `crop` is the aligned crop of the face at `box` in `rgb` (H, W, 3) uint8. Half of the vector is the
    square root of a hue-saturation-value histogram of the box widened by hair and collar, so that a dot
    product is the Bhattacharyya coefficient. The other half is a 10x10 gray thumbnail of the crop minus
    its mean. It tells two people in one recording apart, and is not made to recognize anyone.
    """
    height, width = rgb.shape[:2]
    wide, tall = box[2] - box[0], box[3] - box[1]
    x0, x1 = int(max(0, box[0] - 0.3 * wide)), int(min(width, box[2] + 0.3 * wide))
    y0, y1 = int(max(0, box[1] - 0.3 * tall)), int(min(height, box[3] + 0.6 * tall))
    part = rgb[y0 : max(y1, y0 + 1), x0 : max(x1, x0 + 1)]
    step = max(1, min(part.shape[:2]) // 40)
    hsv = cv2.cvtColor(np.ascontiguousarray(part[::step, ::step]), cv2.COLOR_RGB2HSV)
    colors = cv2.calcHist([hsv], [0, 1, 2], None, [8, 4, 4], [0, 180, 0, 256, 0, 256]).ravel()
    colors = np.sqrt(colors / max(1.0, float(colors.sum())))
    thumb = cv2.resize(
        cv2.cvtColor(crop, cv2.COLOR_RGB2GRAY), (10, 10), interpolation=cv2.INTER_AREA
    )
    shape = np.subtract(thumb, cv2.mean(thumb)[0], dtype=np.float32).ravel()
    shape /= max(1e-6, math.sqrt(float(shape @ shape)))
    return np.concatenate([colors, shape]) * np.float32(math.sqrt(0.5))


def appearance_similarity(one: NDArray[np.float32], other: NDArray[np.float32]) -> float:
    """Cosine of two appearance vectors: near 1 for the same person in the same light."""
    scale = math.sqrt(float(one @ one) * float(other @ other))
    return float(one @ other) / max(1e-6, scale)
