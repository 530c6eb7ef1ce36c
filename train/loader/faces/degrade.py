"""What light, lenses and cameras do to a picture, each with some probability.

Photos in which people pose are sharp and bright. Stages, cars and webcams at night are neither. A picture is
(H, W) uint8 grey or (H, W, 3) uint8 RGB, and stays so.
"""

from __future__ import annotations

import cv2
import numpy as np
from numpy.typing import NDArray

Picture = NDArray[np.uint8]


def degraded(picture: Picture, rng: np.random.Generator) -> Picture:
    """An RGB picture under other light, blurred, noisy and compressed."""
    lit = relit(under_lamps(picture, rng), rng)
    return noisy_jpeg(blurred(lit, rng, 1.8), rng, (0.2, 9), (0.25, 85))


def relit(picture: Picture, rng: np.random.Generator) -> Picture:
    """Another exposure and gamma, and one side in the shade."""
    if rng.random() < 0.6:
        ramp = np.linspace(0, 1, 256) ** np.exp(rng.normal(0, 0.4))
        ramp = 255 * (rng.uniform(0.35, 1.15) * ramp + rng.uniform(-0.05, 0.2))
        picture = np.asarray(cv2.LUT(picture, ramp.clip(0, 255).astype(np.uint8)), np.uint8)
    if rng.random() < 0.25:
        first, last = rng.uniform(0.3, 1.2, 2).tolist()
        axis = 0 if rng.random() < 0.3 else 1
        shape = [1] * picture.ndim
        shape[axis] = picture.shape[axis]
        shade = np.linspace(first, last, shape[axis], dtype=np.float32).reshape(shape)
        picture = (picture * shade).clip(0, 255).astype(np.uint8)
    return picture


def under_lamps(picture: Picture, rng: np.random.Generator) -> Picture:
    """An RGB picture in grey, dimmed, under colored light, or under lamps of several colors: blue light makes
    skin darker and flatter, red light brighter."""
    kind = rng.random()
    if kind < 0.12:
        grey = cv2.cvtColor(picture, cv2.COLOR_RGB2GRAY)
        return np.asarray(cv2.cvtColor(grey, cv2.COLOR_GRAY2RGB), np.uint8)
    lamps = np.full((3, 3, 3), rng.uniform(0.12, 0.7) if rng.random() < 0.15 else 1.0)
    if kind > 0.45:
        strength, many = rng.uniform(0.05, 0.5), kind > 0.75
        lamps *= np.exp(rng.normal(0, strength, (3, 3, 3) if many else 3))
    size = picture.shape[1], picture.shape[0]
    light = cv2.resize(lamps.astype(np.float32), size, interpolation=cv2.INTER_LINEAR)
    return (picture * light).clip(0, 255).astype(np.uint8)


def blurred(picture: Picture, rng: np.random.Generator, most: float) -> Picture:
    """Blurred by a movement, or out of focus by at most `most` pixels (standard deviation)."""
    if rng.random() < 0.15:
        length = int(rng.integers(2, 9))
        kernel = np.zeros((length, length), np.float32)
        kernel[length // 2] = 1 / length
        kernel = kernel.T if rng.random() < 0.5 else kernel
        return np.asarray(cv2.filter2D(picture, -1, kernel), np.uint8)
    if rng.random() < 0.3:
        return np.asarray(cv2.GaussianBlur(picture, (0, 0), rng.uniform(0.5, most)), np.uint8)
    return picture


def noisy_jpeg(
    picture: Picture, rng: np.random.Generator, noise: tuple[float, float], jpeg: tuple[float, int]
) -> Picture:
    """`picture` with noise, and compressed as JPEG: how often each, the largest deviation in gray levels, and
    what the quality is below."""
    if rng.random() < noise[0]:
        grain = rng.standard_normal(picture.shape, np.float32) * np.float32(
            rng.uniform(1, noise[1])
        )
        picture = (picture + grain).clip(0, 255).astype(np.uint8)
    if rng.random() < jpeg[0]:
        quality = [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(15, jpeg[1]))]
        blob = cv2.imencode(".jpg", picture, quality)[1]
        picture = np.asarray(cv2.imdecode(blob, cv2.IMREAD_UNCHANGED), np.uint8)
    return picture
