"""A small residual network from a face's square to landmarks, directions and openings.

Plain 3x3 convolutions: at this size they cost as much as separable ones in ONNX Runtime, and a third of them
in training.
"""

from __future__ import annotations

import math

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn
from torchvision.ops import Conv2dNormActivation

PARTS = {"landmarks": 64, "head": 3, "roll": 2, "openness": 3, "gaze": 3}
"""What the network predicts: landmarks (x, y in units of the square), the directions of the head and of the
eyes (x right, y down, z away from the camera), cosine and sine of roll, the opening of eyes and mouth."""
DEGREES = 180.0 / math.pi


class Residual(nn.Module):
    """Two 3x3 convolutions with a shortcut."""

    def __init__(self, inputs: int, outputs: int, stride: int = 1) -> None:
        super().__init__()
        self.first = Conv2dNormActivation(inputs, outputs, 3, stride)
        self.second = Conv2dNormActivation(outputs, outputs, 3, activation_layer=None)
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or inputs != outputs:
            self.shortcut = nn.Sequential(
                nn.AvgPool2d(stride),
                Conv2dNormActivation(inputs, outputs, 1, activation_layer=None),
            )

    def forward(self, x: Tensor) -> Tensor:
        """(N, Cin, H, W) to (N, Cout, H / stride, W / stride)."""
        return F.relu(self.second(self.first(x)) + self.shortcut(x))


class FaceLandmarks(nn.Module):
    """Grey squares of `side` pixels to `PARTS`; as an engine, RGB squares to landmarks and measures."""

    def __init__(self, side: int, widths: tuple[int, int, int, int] = (16, 24, 48, 88)) -> None:
        super().__init__()
        self.side = side
        stem, fine, middle, coarse = widths
        self.body = nn.Sequential(
            Conv2dNormActivation(1, stem, 3, 2),
            Conv2dNormActivation(stem, fine, 3, 2),
            Residual(fine, fine),
            Residual(fine, middle, 2),
            Residual(middle, middle),
            Residual(middle, coarse, 2),
            Residual(coarse, coarse),
            Conv2dNormActivation(coarse, 48, 1),
            nn.Flatten(),
        )
        self.hidden = nn.Linear(48 * (side // 16) ** 2, 144)
        self.head = nn.Linear(144, sum(PARTS.values()))
        self.slope: Tensor
        self.offset: Tensor
        self.register_buffer("slope", torch.ones(8))
        self.register_buffer("offset", torch.zeros(8))
        nn.init.normal_(self.head.weight, std=0.01)
        with torch.no_grad():
            self.head.bias.zero_()
            self.head.bias[:64] = 0.5

    def parts(self, grey: Tensor) -> dict[str, Tensor]:
        """Grey squares (N, 1, side, side) in [0, 255] to `PARTS` (N, size) float32 each."""
        mean = grey.mean((1, 2, 3), keepdim=True)
        centered = grey - mean
        deviation = (centered * centered).mean((1, 2, 3), keepdim=True).sqrt()
        features = self.body(centered / (deviation + 8.0))
        # In bfloat16 a landmark would be a third of a pixel off.
        with torch.autocast(grey.device.type, enabled=False):
            values = self.head(F.relu(self.hidden(features.float())))
        return dict(zip(PARTS, values.split(list(PARTS.values()), 1), strict=True))

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """Squares (N, side, side, 3) uint8 RGB to landmarks (N, 32, 2) and measures (N, 8), float32."""
        rgb = pixels.to(torch.float32)
        grey = 0.299 * rgb[..., 0] + 0.587 * rgb[..., 1] + 0.114 * rgb[..., 2]
        parts = self.parts(grey.unsqueeze(1))
        return parts["landmarks"].view(-1, 32, 2), measures(parts) * self.slope + self.offset


def measures(parts: dict[str, Tensor]) -> Tensor:
    """The engine's output `measures` (N, 8) of `PARTS`."""
    yaw, pitch = angles(parts["head"])
    gaze_yaw, gaze_pitch = angles(parts["gaze"])
    roll = DEGREES * torch.atan2(parts["roll"][:, 1], parts["roll"][:, 0])
    right, left, mouth = parts["openness"].unbind(1)
    columns = (yaw, pitch, roll, right, left, mouth, gaze_yaw - yaw, gaze_pitch - pitch)
    return torch.stack(columns, 1)


def angles(direction: Tensor) -> tuple[Tensor, Tensor]:
    """Yaw and pitch (N,) in degrees of directions (N, 3) that lead towards the camera, of any length."""
    x, y, z = direction.unbind(1)
    pitch = torch.atan2(-y, torch.sqrt(x * x + z * z + 1e-6))
    return DEGREES * torch.atan2(x, -z), DEGREES * pitch
