"""Pixel normalization: the first part of every video encoder, without trained weights.

It is part of the exported graph, so that serving normalizes as training did.
"""

from __future__ import annotations

from dataclasses import dataclass

import torch
from torch import Tensor

LUMA = (0.299, 0.587, 0.114)
"""Shares of red, green and blue in the brightness of a picture (ITU-R BT.601)."""
SOFTEST = 0.03
"""Added to a picture's deviation, so that the noise of a uniform picture is not amplified."""


@dataclass(frozen=True, slots=True)
class Normalization:
    """Mean and deviation of red, green and blue in [0, 1] over the pictures that a backbone learned from."""

    mean: tuple[float, float, float]
    deviation: tuple[float, float, float]


IMAGENET = Normalization((0.485, 0.456, 0.406), (0.229, 0.224, 0.225))
"""Of torchvision's ImageNet weights."""


def normalize_pixels(
    pixels: Tensor, *, grey: bool, normalization: Normalization | None = None
) -> Tensor:
    """Pictures (M, S, S, 3), uint8 or float32 in [0, 255], RGB, to planes (M, 3, S, S) float32.

    With `normalization` as the backbone learned it. Without, each picture gets zero mean and (nearly) unit
    variance over all its planes, so that a network from scratch need not learn the light. `grey`
    replaces color by three planes of brightness, for networks whose training pictures have none.
    """
    rgb = pixels.to(torch.float32).permute(0, 3, 1, 2) / 255.0
    if grey:
        red, green, blue = LUMA
        luma = red * rgb[:, 0:1] + green * rgb[:, 1:2] + blue * rgb[:, 2:3]
        rgb = luma.repeat(1, 3, 1, 1)
    if normalization is not None:
        mean, deviation = (
            torch.tensor(values, device=rgb.device).view(1, 3, 1, 1)
            for values in (normalization.mean, normalization.deviation)
        )
        return (rgb - mean) / deviation
    centered = rgb - rgb.mean((1, 2, 3), keepdim=True)
    spread = (centered * centered).mean((1, 2, 3), keepdim=True).sqrt()
    return centered / (spread + SOFTEST)
