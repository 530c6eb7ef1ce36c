"""A small network in two looks, from a face's square to landmarks, directions and openings.

The first look, at a quarter of the pixels, places all landmarks. The second takes upright patches around both
eyes and the mouth from the full square, where lids and irises can be told apart. The left eye is mirrored, so
that one network serves both. Plain 3x3 convolutions: at this size they cost as much as separable ones in ONNX
Runtime, and a third of them in training.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn
from torchvision.ops import Conv2dNormActivation

from affectstream.engines.landmarks import LANDMARKS

PARTS = {"landmarks": 64, "head": 3, "roll": 2, "openness": 3, "gaze": 3}
"""What the network predicts: landmarks (x, y in units of the square), the directions of the head and of the
eyes (x right, y down, z away from the camera), cosine and sine of roll, the opening of eyes and mouth."""
DEGREES = 180.0 / math.pi
FIRST = {"landmarks": 64, "head": 3, "roll": 2}
"""Of these, what the first look predicts."""
EYES = tuple(
    tuple(
        LANDMARKS.index(f"{side}_{point}")
        for point in ("eye_outer", "eye_inner", "lid_upper", "lid_lower", "iris")
    )
    for side in ("right", "left")
)
MOUTH = tuple(
    LANDMARKS.index(name)
    for name in ("mouth_right", "mouth_left", "lip_upper_inner", "lip_lower_inner")
)
EYE_SIZE, MOUTH_SIZE = 0.62, 1.0
"""Widths of the patches in distances of the outer eye corners; they are three quarters as high."""
ROWS, COLUMNS = 24, 32
_HEIGHT = (LANDMARKS.index("forehead"), LANDMARKS.index("chin"))


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


def _patch_features(size: int) -> nn.Sequential:
    """Patches (N, 1, ROWS, COLUMNS) to features (N, size)."""
    return nn.Sequential(
        Conv2dNormActivation(1, 16, 3),
        Conv2dNormActivation(16, 16, 3, 2),
        Conv2dNormActivation(16, 32, 3, 2),
        Conv2dNormActivation(32, 32, 3),
        nn.Flatten(),
        nn.Linear(32 * (ROWS // 4) * (COLUMNS // 4), size),
        nn.ReLU(),
    )


class FaceLandmarks(nn.Module):
    """Grey squares of `side` pixels to `PARTS`; as an engine, RGB squares to landmarks and measures."""

    def __init__(self, side: int, widths: tuple[int, int, int, int] = (16, 32, 48, 80)) -> None:
        super().__init__()
        stem, fine, middle, coarse = widths
        self.body = nn.Sequential(
            Conv2dNormActivation(1, stem, 3, 2),
            Conv2dNormActivation(stem, fine, 3, 2),
            Residual(fine, middle, 2),
            Residual(middle, middle),
            Residual(middle, coarse, 2),
            Residual(coarse, coarse),
            Conv2dNormActivation(coarse, 48, 1),
            nn.Flatten(),
        )
        self.hidden = nn.Linear(48 * (side // 32) ** 2, 128)
        self.head = nn.Linear(128, sum(FIRST.values()))
        self.eye, self.mouth = _patch_features(48), _patch_features(32)
        # Where the points are from where they were expected, and the opening.
        self.eye_points = nn.Linear(48, 2 * len(EYES[0]) + 1)
        self.mouth_points = nn.Linear(32, 2 * len(MOUTH) + 1)
        self.gaze = nn.Sequential(nn.Linear(2 * 48 + 5, 32), nn.ReLU(), nn.Linear(32, 2))
        self.slope: Tensor
        self.offset: Tensor
        self.register_buffer("slope", torch.ones(8))
        self.register_buffer("offset", torch.zeros(8))
        rows = 0.75 * ((torch.arange(ROWS) + 0.5) / ROWS - 0.5)
        columns = (torch.arange(COLUMNS) + 0.5) / COLUMNS - 0.5
        places = torch.stack([columns.repeat(ROWS), rows.repeat_interleave(COLUMNS)], 1)
        self.places: Tensor
        self.luma: Tensor
        self.register_buffer("places", places, persistent=False)
        self.register_buffer("luma", torch.tensor([[0.299], [0.587], [0.114]]), persistent=False)
        for layer in (self.head, self.eye_points, self.mouth_points):
            nn.init.normal_(layer.weight, std=0.01)
        with torch.no_grad():
            self.head.bias.zero_()
            self.head.bias[:64] = 0.5

    def parts(self, grey: Tensor) -> dict[str, Tensor]:
        """Grey squares (N, 1, side, side) in [0, 255] to `PARTS` (N, size) float32 each, and ``first``, the
        landmarks (N, 64) of the first look."""
        mean = grey.mean((1, 2, 3), keepdim=True)
        centered = grey - mean
        deviation = (centered * centered).mean((1, 2, 3), keepdim=True).sqrt()
        pixels = centered / (deviation + 8.0)
        features = self.body(F.avg_pool2d(pixels, 2))
        # In bfloat16 a landmark would be half a pixel off.
        with torch.autocast(grey.device.type, enabled=False):
            values = self.head(F.relu(self.hidden(features.float())))
            parts = dict(zip(FIRST, values.split(list(FIRST.values()), 1), strict=True))
        return {**parts, **self._second_look(pixels, parts), "first": parts["landmarks"]}

    def _second_look(self, pixels: Tensor, parts: dict[str, Tensor]) -> dict[str, Tensor]:
        """Landmarks with eyes and mouth placed anew, openings and gaze."""
        points = parts["landmarks"].detach().view(-1, len(LANDMARKS), 2)
        across = parts["roll"].detach()
        across = across / across.norm(dim=1, keepdim=True).clamp(min=1e-3)
        eyes = (points[:, EYES[0][0]] - points[:, EYES[1][0]]).norm(dim=1, keepdim=True)
        height = (points[:, _HEIGHT[0]] - points[:, _HEIGHT[1]]).norm(dim=1, keepdim=True)
        # In profile the outer corners nearly coincide.
        unit = torch.maximum(eyes, 0.5 * height).clamp(min=0.05)
        down = torch.stack([-across[:, 1], across[:, 0]], 1)
        frames = [
            (_middle(points, EYES[0][:2]), across * unit, down * unit),
            (_middle(points, EYES[1][:2]), -across * unit, down * unit),
            (_middle(points, MOUTH), across * unit, down * unit),
        ]
        right, left, mouth = (
            self._patch(pixels, *frame, size)
            for frame, size in zip(frames, (EYE_SIZE, EYE_SIZE, MOUTH_SIZE), strict=True)
        )
        features = self.eye(torch.cat([right, left]))
        mouth_features = self.mouth(mouth)
        with torch.autocast(pixels.device.type, enabled=False):
            features, mouth_features = features.float(), mouth_features.float()
            right_eye, left_eye = features.unflatten(0, (2, -1))
            right, left = self.eye_points(features).unflatten(0, (2, -1))
            mouth = self.mouth_points(mouth_features)
            head, roll = parts["head"].detach(), parts["roll"].detach()
            turn = self.gaze(torch.cat([right_eye, left_eye, head, roll], 1))
        columns = list(parts["landmarks"].view(-1, len(LANDMARKS), 2).unbind(1))
        for frame, chosen, found in zip(frames, (*EYES, MOUTH), (right, left, mouth), strict=True):
            center, x_axis, y_axis = (part.unsqueeze(1) for part in frame)
            x, y = found[:, :-1].unflatten(1, (-1, 2)).split(1, 2)
            placed = (center + x * x_axis + y * y_axis).unbind(1)
            for index, place in zip(chosen, placed, strict=True):
                columns[index] = place
        side = head[:, :2] + turn[:, :1] * across + turn[:, 1:] * down
        forward = -torch.sqrt((1.0 - (side * side).sum(1, keepdim=True)).clamp(min=0.03))
        return {
            "landmarks": torch.stack(columns, 1).flatten(1),
            "openness": torch.cat([right[:, -1:], left[:, -1:], mouth[:, -1:]], 1),
            "gaze": torch.cat([side, forward], 1),
        }

    def _patch(
        self, pixels: Tensor, center: Tensor, x_axis: Tensor, y_axis: Tensor, size: float
    ) -> Tensor:
        """An upright patch (N, 1, ROWS, COLUMNS) around `center` (N, 2), `size` axes wide."""
        # From -1 to 1 over the square, as `grid_sample` wants them.
        axes = 2.0 * size * torch.stack([x_axis, y_axis], 1)
        places = self.places @ axes + (2.0 * center - 1.0).unsqueeze(1)
        places = places.view(-1, ROWS, COLUMNS, 2)
        return F.grid_sample(pixels, places, padding_mode="border", align_corners=False)

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """Squares (N, side, side, 3) uint8 RGB to landmarks (N, 32, 2) and measures (N, 8), float32."""
        grey = (pixels.to(torch.float32) @ self.luma).squeeze(3)
        parts = self.parts(grey.unsqueeze(1))
        landmarks = parts["landmarks"].view(-1, len(LANDMARKS), 2)
        yaw, pitch, roll, *openness, gaze_yaw, gaze_pitch = (
            measures(parts) * self.slope + self.offset
        ).unbind(1)
        openness = [value.clamp(min=0.0) for value in openness]
        return landmarks, torch.stack([yaw, pitch, roll, *openness, gaze_yaw, gaze_pitch], 1)


def _middle(points: Tensor, chosen: Sequence[int]) -> Tensor:
    """Mean (N, 2) of some landmarks (N, 32, 2)."""
    return points[:, list(chosen)].mean(1)


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
