"""Shapes, letters and clouds that are drawn where no photo is: what a face detector must not take for a face.

"Dead leaves" (overlapping shapes with edges and sizes like natural scenes: Lee, Mumford and Huang, 2001),
noise, lines of text, and shoulders below a head.
"""

from __future__ import annotations

import string

import cv2
import numpy as np
from numpy.typing import NDArray

from affectstream.train.loader.faces.scene import Picture

_FONTS = (
    *(cv2.FONT_HERSHEY_SIMPLEX, cv2.FONT_HERSHEY_DUPLEX, cv2.FONT_HERSHEY_COMPLEX),
    *(cv2.FONT_HERSHEY_TRIPLEX, cv2.FONT_HERSHEY_SCRIPT_COMPLEX),
)


def draw_clouds(height: int, width: int, rng: np.random.Generator) -> Picture:
    """Smooth or blocky noise with a random grain, (height, width)."""
    rows, columns = (int(v) for v in np.exp(rng.uniform(0, np.log(40), 2)))
    coarse = rng.uniform(0, 255) + rng.normal(0, rng.uniform(2, 90), (rows, columns))
    how = (cv2.INTER_NEAREST, cv2.INTER_LINEAR, cv2.INTER_CUBIC)[int(rng.integers(3))]
    levels = coarse.clip(0, 255).astype(np.uint8)
    return np.asarray(cv2.resize(levels, (width, height), interpolation=how), np.uint8)


def draw_leaf(onto: Picture, rng: np.random.Generator) -> None:
    """Draw one shape; small ones are far more frequent."""
    height, width = onto.shape
    where, size = rng.random(4), 3.0 / rng.uniform(0.03, 1.0, 2)
    x, y, tone, kind = (int(v) for v in where * (width, height, 256, 4))
    a, b = int(size[0]), int(size[1])
    thick = (-1, -1, -1, 1, 3)[int(rng.integers(5))]
    if kind == 0:
        cv2.ellipse(onto, (x, y), (a, b), float(rng.uniform(0, 180)), 0, 360, tone, thick)
    elif kind == 1:
        cv2.rectangle(onto, (x, y), (x + a, y + b), tone, thick)
    elif kind == 2:
        end = int(rng.integers(width)), int(rng.integers(height))
        cv2.line(onto, (x, y), end, tone, abs(thick))
    else:
        corners = np.array([x, y]) + rng.normal(0, max(a, b), (int(rng.integers(3, 7)), 2))
        cv2.fillPoly(onto, [corners.astype(np.int32)], tone)


def draw_text(onto: Picture, rng: np.random.Generator) -> None:
    """Draw some random letters of one font, sometimes on a plain plate: captions, logos, signs."""
    height, width = onto.shape
    letters = "".join(
        rng.choice(list(string.ascii_letters + string.digits + "  ")) for _ in "abcdef"
    )
    letters = letters[: int(rng.integers(1, 7))] * int(rng.integers(1, 3))
    font, scale = _FONTS[int(rng.integers(len(_FONTS)))], float(np.exp(rng.uniform(-1.0, 1.2)))
    thick = max(1, round(scale * rng.uniform(0.8, 4)))
    (wide, tall), _ = cv2.getTextSize(letters, font, scale, thick)
    x, y = int(rng.uniform(-0.2, 0.9) * width), int(rng.uniform(0.1, 1.0) * height)
    tones = [int(v) for v in rng.integers(0, 256, 3)]
    if rng.random() < 0.4:
        margin = max(2, int(0.3 * tall))
        ends = (x - margin, y - tall - margin), (x + wide + margin, y + margin)
        cv2.rectangle(onto, ends[0], ends[1], tones[1], -1)
    if rng.random() < 0.3:
        cv2.putText(onto, letters, (x, y), font, scale, tones[2], thick + 3, cv2.LINE_AA)
    cv2.putText(onto, letters, (x, y), font, scale, tones[0], thick, cv2.LINE_AA)


def draw_shoulders(
    onto: Picture, face: NDArray[np.float64], width: float, rng: np.random.Generator
) -> None:
    """Draw a neck and a body below a face of this center and width."""
    x, y = (int(v) for v in face)
    tone, skin = (int(v) for v in rng.integers(0, 256, 2))
    neck = int(width * rng.uniform(0.25, 0.4))
    cv2.rectangle(onto, (x - neck, y), (x + neck, y + int(1.2 * width)), skin, -1)
    axes = (int(width * rng.uniform(1.0, 1.7)), int(width * rng.uniform(0.7, 1.6)))
    cv2.ellipse(onto, (x, y + int(0.9 * width) + axes[1]), axes, 0, 0, 360, tone, -1)
