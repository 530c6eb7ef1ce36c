"""One face in one frame, and what is kept of it to tell it from another."""

from __future__ import annotations

import math
from dataclasses import dataclass

import cv2
import numpy as np
from numpy.typing import NDArray

from affectstream.stream.faces.detect import Box
from affectstream.stream.faces.quality import Quality


@dataclass(frozen=True, slots=True, eq=False)
class Face:
    """A face as perceived in one frame, from that frame alone.

    `landmarks` is (5, 2) float32 in pixels; `embeddings` one (D,) float32 for each eye that looks at
    faces (see `Eyes`); `appearance` a unit vector that tells people in one recording apart, never
    written out.
    """

    box: Box
    landmarks: NDArray[np.float32]
    score: float
    quality: Quality
    embeddings: tuple[NDArray[np.float32], ...]
    appearance: NDArray[np.float32]

    @property
    def center(self) -> tuple[float, float]:
        """Middle of the box."""
        return (self.box[0] + self.box[2]) / 2, (self.box[1] + self.box[3]) / 2

    @property
    def side(self) -> float:
        """Geometric mean of the box's width and height, in pixels."""
        return math.sqrt(max(1.0, (self.box[2] - self.box[0]) * (self.box[3] - self.box[1])))


@dataclass(frozen=True, slots=True, eq=False)
class FrameObservation:
    """All faces of one frame, and the frame as a whole.

    `frame_size` is (width, height) of the picture that the faces' pixels refer to, and `scale` that
    picture's scale against the recording's own (1.0 unless it is very large). `frame_embeddings` holds one
    embedding (D,) float32 for each eye that looks at whole pictures (see `Eyes`).
    """

    pts_us: int
    frame_size: tuple[int, int]
    faces: tuple[Face, ...]
    scale: float = 1.0
    frame_embeddings: tuple[NDArray[np.float32], ...] = ()


def describe_appearance(
    rgb: NDArray[np.uint8], box: Box, crop: NDArray[np.uint8]
) -> NDArray[np.float32]:
    """What a person looks like today: colours around the face, and the face itself, coarsely.

    Half of the vector is the square root of a hue-saturation-value histogram of the box widened by
    hair and collar (so that a dot product is the Bhattacharyya coefficient), half a 10x10 grey
    thumbnail of the aligned crop with its mean taken out. It tells two people in one recording
    apart; it is not made to recognise anyone.
    """
    height, width = rgb.shape[:2]
    wide, tall = box[2] - box[0], box[3] - box[1]
    x0, x1 = int(max(0, box[0] - 0.3 * wide)), int(min(width, box[2] + 0.3 * wide))
    y0, y1 = int(max(0, box[1] - 0.3 * tall)), int(min(height, box[3] + 0.6 * tall))
    part = rgb[y0 : max(y1, y0 + 1), x0 : max(x1, x0 + 1)]
    step = max(1, min(part.shape[:2]) // 40)
    hsv = cv2.cvtColor(np.ascontiguousarray(part[::step, ::step]), cv2.COLOR_RGB2HSV)
    colours = cv2.calcHist([hsv], [0, 1, 2], None, [8, 4, 4], [0, 180, 0, 256, 0, 256]).ravel()
    colours = np.sqrt(colours / max(1.0, float(colours.sum())))
    thumb = cv2.resize(
        cv2.cvtColor(crop, cv2.COLOR_RGB2GRAY), (10, 10), interpolation=cv2.INTER_AREA
    )
    shape = np.subtract(thumb, cv2.mean(thumb)[0], dtype=np.float32).ravel()
    shape /= max(1e-6, math.sqrt(float(shape @ shape)))
    return np.concatenate([colours, shape]) * np.float32(math.sqrt(0.5))


def appearance_similarity(one: NDArray[np.float32], other: NDArray[np.float32]) -> float:
    """Cosine of two signatures: near 1 for the same person in the same light."""
    scale = math.sqrt(float(one @ one) * float(other @ other))
    return float(one @ other) / max(1e-6, scale)
