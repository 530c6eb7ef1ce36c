"""Random light and camera effects on grey pictures: shade, contrast, blur, noise, JPEG blocks."""

from __future__ import annotations

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
