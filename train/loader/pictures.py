"""Pictures of samples: which of them a network gets, at what size, and how training augments them."""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor

MAX_ROTATION = math.radians(15.0)
MIN_CROP, MAX_CROP = 0.8, 1.15
"""Sides of the smallest and largest random crop, as shares of the picture's."""
MIN_SHIFT = 0.1
"""A crop moves by at least up to this share of half the side: landmarks are never exact."""
JITTER = 0.25
"""Brightness, contrast and saturation change by up to this share."""
SIDE_LIGHT = 0.6
"""Largest change of brightness at the border of a picture by light from one side, as a share."""
GAMMA = 0.4
"""Largest logarithm of the exponent of a bad exposure, to either side."""
NOISE = 12.0
"""Largest deviation of the noise, in levels of 0 to 255."""
MAX_ERASED = 0.5
"""Side of the largest rectangle that is covered, as a share of the picture's."""

DRAWS = 32
"""At least as many as the random numbers that `augment` takes for a picture."""

Uniform = Callable[[float, float], Tensor]
"""Random numbers between two, one for each picture."""


def pictures_on_grid(
    times_us: Sequence[int], start_us: int, frames: int, frame_hz: int
) -> dict[int, int]:
    """Which picture is at which point of a window's grid: {point: number in `times_us`}.

    As in serving, a point takes the newest picture at or before it, unless that is older than a grid step.
    Times may be off by a microsecond, because they are rounded.
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


def warp(planes: Tensor, across: Sequence[Tensor], down: Sequence[Tensor], padding: str) -> Tensor:
    """Planes (M, C, H, W), each under the affine map whose rows are `across` and `down`, three (M,) each."""
    theta = torch.stack([torch.stack(list(row), 1) for row in (across, down)], 1)
    grid = F.affine_grid(theta, list(planes.shape), align_corners=False)
    return F.grid_sample(planes, grid, padding_mode=padding, align_corners=False)


def augment(
    pixels: Tensor,
    owner: Tensor,
    generator: torch.Generator,
    *,
    erasing: float = 0.0,
    degrading: float = 0.0,
) -> Tensor:
    """Random flip, rotation, crop, brightness, contrast and saturation of pictures.

    `pixels` (M, S, S, C) float32 in [0, 255], returned likewise, are on the device of `generator`. Pictures
    with the same number in `owner` (M,) int64, on the CPU, are changed alike. A grey picture stays grey. With
    probability `erasing` a rectangle is covered, and with probability `degrading` each of `degrade` happens.
    """
    # Drawn at once: a GPU takes as long to start one draw as to make them all.
    draws = torch.rand(DRAWS, int(owner.max()) + 1, generator=generator, device=pixels.device)
    left = iter(draws[:, owner.to(pixels.device)])

    def uniform(low: float, high: float) -> Tensor:
        return next(left) * (high - low) + low

    flip = torch.where(uniform(0, 1) < 0.5, -1.0, 1.0)
    angle, side = uniform(-MAX_ROTATION, MAX_ROTATION), uniform(MIN_CROP, MAX_CROP)
    cosine, sine = torch.cos(angle) * side, torch.sin(angle) * side
    reach = (1.0 - side).clamp(min=MIN_SHIFT)
    right, down = (reach * uniform(-1, 1) for _ in range(2))
    across, along = (cosine * flip, -sine, right), (sine * flip, cosine, down)
    moved = warp(pixels.permute(0, 3, 1, 2), across, along, "reflection")
    light, contrast, saturation = (
        uniform(1 - JITTER, 1 + JITTER).view(-1, 1, 1, 1) for _ in range(3)
    )
    grey = moved.mean(1, keepdim=True)
    moved = grey + saturation * (moved - grey)
    mean = moved.mean((1, 2, 3), keepdim=True)
    moved = (light * (mean + contrast * (moved - mean))).clamp(0, 255)
    if degrading:
        moved = degrade(moved, uniform, degrading, generator)
    if erasing:
        moved = erase(moved, uniform, erasing)
    return moved.permute(0, 2, 3, 1).contiguous()


def degrade(
    planes: Tensor, uniform: Uniform, probability: float, generator: torch.Generator
) -> Tensor:
    """Planes (M, C, S, S) in [0, 255] under a light from one side, badly exposed, blurred as at half the
    size, and with noise, each with `probability`."""

    def strength(most: float) -> Tensor:
        happens = uniform(0, 1) < probability
        return (uniform(0, most) * happens).view(-1, 1, 1, 1)

    axis = torch.linspace(-1.0, 1.0, planes.shape[-1], device=planes.device)
    angle = uniform(0, 2 * math.pi).view(-1, 1, 1, 1)
    slope = torch.cos(angle) * axis + torch.sin(angle) * axis.unsqueeze(1)
    lit = (planes * (1.0 + strength(SIDE_LIGHT) * slope)).clamp(0, 255)
    exposed = 255.0 * (lit / 255.0) ** torch.exp(strength(GAMMA) - strength(GAMMA))
    half = F.avg_pool2d(exposed, 2, ceil_mode=True)
    soft = F.interpolate(half, planes.shape[-2:], mode="bilinear", align_corners=False)
    blurred = torch.lerp(exposed, soft, strength(1.0))
    noise = torch.randn(blurred.shape, generator=generator, device=planes.device)
    return (blurred + strength(NOISE) * noise).clamp(0, 255)


def erase(planes: Tensor, uniform: Uniform, probability: float) -> Tensor:
    """Planes (M, C, S, S) with a rectangle of one grey level in some (random erasing: Zhong et al., 2020)."""
    size = planes.shape[-1]
    side = uniform(0, MAX_ERASED) * size * (uniform(0, 1) < probability)
    ratio, grey = uniform(0.6, 1.6), uniform(0, 255).view(-1, 1, 1, 1)
    axis = torch.arange(float(size), device=planes.device)

    def covered(extent: Tensor) -> Tensor:
        center = uniform(0, size).unsqueeze(1)
        return (axis - center).abs() * 2 < extent.unsqueeze(1)

    hole = covered(side / ratio).unsqueeze(2) & covered(side * ratio).unsqueeze(1)
    return torch.where(hole.unsqueeze(1), grey, planes)


def mix(
    batch: dict[str, Tensor],
    shares: Mapping[str, Tensor],
    alpha: float,
    generator: torch.Generator,
) -> dict[str, Tensor]:
    """`batch` with each picture, or sound, blended with another one of it, and its class `shares` likewise,
    in half of the batches. Mixup (Zhang et al., 2018): the weight is drawn from a Beta distribution of
    `alpha` and `alpha`, once for the batch. Sounds are made equally loud first. `generator` is on the CPU."""
    if torch.rand((), generator=generator) < 0.5:
        return {**batch, **shares}
    seed = int(torch.randint(2**31, (), generator=generator))
    weight = float(np.random.default_rng(seed).beta(alpha, alpha))
    name = "pixels" if "pixels" in batch else "samples"
    values = batch[name].float()
    other = torch.randperm(len(values), generator=generator).to(values.device)
    if name == "samples":
        values = values * (0.05 / values.square().mean(1, keepdim=True).sqrt().clamp(min=1e-6))
    mixed = torch.lerp(values[other], values, weight)
    if name == "pixels":
        mixed = mixed.round().to(torch.uint8)
    blended = {task: torch.lerp(part[other], part, weight) for task, part in shares.items()}
    return {**batch, name: mixed, **blended}
