"""Pictures of samples: which of them a network gets, at what size, and how training augments them."""

from __future__ import annotations

import math
from collections.abc import Sequence

import cv2
import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from numpy.typing import NDArray
from torch import Tensor

MAX_ROTATION = math.radians(15.0)
MIN_CROP = 0.8
"""Side of the smallest random crop, as a share of the picture's."""
JITTER = 0.25
"""Brightness, contrast and saturation change by up to this share."""


def pictures_on_grid(
    times_us: Sequence[int], start_us: int, frames: int, frame_hz: int
) -> dict[int, int]:
    """Which picture is at which point of a window's grid: {point: number in `times_us`}.

    As in serving, a point takes the newest picture at or before it, unless that is older than a grid
    step. Times may be off by a microsecond, because they are rounded.
    """
    points: dict[int, int] = {}
    for number, time_us in enumerate(times_us):
        first = -((start_us + 1 - time_us) * frame_hz // 1_000_000)
        last = (time_us + 1 - start_us) * frame_hz // 1_000_000 + 1
        points |= dict.fromkeys(range(max(0, first), min(frames, last + 1)), number)
    return points


def pick_evenly(count: int, most: int) -> list[int]:
    """At most `most` of the numbers below `count`, in the middle of equal parts."""
    if count <= most:
        return list(range(count))
    return [(2 * i + 1) * count // (2 * most) for i in range(most)]


def resize(picture: NDArray[np.uint8], size: int) -> NDArray[np.uint8]:
    """A square picture, color or grey, at `size` pixels a side; the same array if it has that size."""
    if picture.shape[0] == size:
        return picture
    how = cv2.INTER_AREA if picture.shape[0] > size else cv2.INTER_LINEAR
    return np.asarray(cv2.resize(picture, (size, size), interpolation=how), np.uint8)


def warp(planes: Tensor, across: Sequence[Tensor], down: Sequence[Tensor], padding: str) -> Tensor:
    """Planes (M, C, H, W), each under the affine map whose rows are `across` and `down`, three (M,) each."""
    theta = torch.stack([torch.stack(list(row), 1) for row in (across, down)], 1)
    grid = F.affine_grid(theta, list(planes.shape), align_corners=False)
    return F.grid_sample(planes, grid, padding_mode=padding, align_corners=False)


def augment(pixels: Tensor, owner: Tensor, generator: torch.Generator) -> Tensor:
    """Random flip, rotation, crop, brightness, contrast and saturation of pictures.

    `pixels` (M, S, S, 3) float32 in [0, 255], returned likewise. Pictures with the same number in `owner`
    (M,) int64 are changed alike. A grey picture stays grey.
    """
    count = int(owner.max()) + 1

    def uniform(low: float, high: float) -> Tensor:
        return (torch.rand(count, generator=generator) * (high - low) + low)[owner]

    flip = torch.where(uniform(0, 1) < 0.5, -1.0, 1.0)
    angle, side = uniform(-MAX_ROTATION, MAX_ROTATION), uniform(MIN_CROP, 1.0)
    cosine, sine = torch.cos(angle) * side, torch.sin(angle) * side
    right, down = ((1.0 - side) * uniform(-1, 1) for _ in range(2))
    across, along = (cosine * flip, -sine, right), (sine * flip, cosine, down)
    moved = warp(pixels.permute(0, 3, 1, 2), across, along, "border")
    light, contrast, saturation = (
        uniform(1 - JITTER, 1 + JITTER).view(-1, 1, 1, 1) for _ in range(3)
    )
    grey = moved.mean(1, keepdim=True)
    moved = grey + saturation * (moved - grey)
    mean = moved.mean((1, 2, 3), keepdim=True)
    moved = light * (mean + contrast * (moved - mean))
    return moved.clamp(0, 255).permute(0, 2, 3, 1).contiguous()
