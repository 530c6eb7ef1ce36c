"""`pocket_face`: the face encoder of the pocket bundle, a squeeze-excite ResNet on 48x48 crops.

FER2013's faces have one loose layout, and serving crops faces to it by their landmarks. Training shifts,
rotates and scales the pictures at random, because landmarks are never exact.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise
from pathlib import Path

import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn
from torchvision.ops import Conv2dNormActivation

from affectstream.engines.labels import EMOTIONS_7
from affectstream.train.data.readers import fer2013
from affectstream.train.loader.pictures import warp
from affectstream.train.metrics import classification
from affectstream.train.onnx.onnx_export import to_onnx
from affectstream.train.recipe import Batch, FitConfig, Loaders
from affectstream.train.recipes.pocket.batches import shuffled, split_batches

EMBEDDING = 160


class SqueezeExcite(nn.Module):
    """Channel gates from the global average (Hu et al., 2018)."""

    def __init__(self, channels: int) -> None:
        super().__init__()
        self.squeeze = nn.Conv2d(channels, channels // 8, 1)
        self.excite = nn.Conv2d(channels // 8, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(N, C, H, W) to the same shape."""
        gate = self.excite(F.relu(self.squeeze(x.mean((2, 3), keepdim=True))))
        return x * torch.sigmoid(gate)


class Block(nn.Module):
    """Two 3x3 convolutions with a squeeze-excite gate and a shortcut."""

    def __init__(self, inputs: int, outputs: int, stride: int) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(inputs, outputs, 3, stride, 1, bias=False),
            nn.BatchNorm2d(outputs),
            nn.ReLU(inplace=True),
            nn.Conv2d(outputs, outputs, 3, 1, 1, bias=False),
            nn.BatchNorm2d(outputs),
            SqueezeExcite(outputs),
        )
        self.shortcut: nn.Module = nn.Identity()
        if stride != 1 or inputs != outputs:
            self.shortcut = nn.Sequential(
                nn.AvgPool2d(stride) if stride != 1 else nn.Identity(),
                nn.Conv2d(inputs, outputs, 1, bias=False),
                nn.BatchNorm2d(outputs),
            )

    def forward(self, x: Tensor) -> Tensor:
        """(N, Cin, H, W) to (N, Cout, H / stride, W / stride)."""
        return F.relu(self.body(x) + self.shortcut(x))


class PocketFace(nn.Module):
    """Pixels to an embedding and emotion logits."""

    def __init__(self, widths: tuple[int, int, int] = (40, 80, EMBEDDING)) -> None:
        super().__init__()
        first, second, third = widths
        self.stem = Conv2dNormActivation(1, 24, 3)
        steps = pairwise((24, first, first, second, second, third, third))
        blocks = (Block(*sizes, stride) for sizes, stride in zip(steps, 3 * (2, 1), strict=True))
        self.stages = nn.Sequential(*blocks)
        self.dropout = nn.Dropout(0.3)
        self.head = nn.Linear(third, len(EMOTIONS_7))

    def embed(self, grey: Tensor) -> Tensor:
        """Grey pictures (N, 1, 48, 48) float32 in [0, 255] to embeddings (N, D)."""
        mean = grey.mean((1, 2, 3), keepdim=True)
        centered = grey - mean
        deviation = (centered * centered).mean((1, 2, 3), keepdim=True).sqrt()
        x = self.stages(self.stem(centered / (deviation + 8.0)))
        return x.mean((2, 3))

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """Crops (N, 48, 48, 3) uint8 RGB to embeddings (N, D) and logits (N, 7), float32."""
        rgb = pixels.to(torch.float32)
        grey = 0.299 * rgb[..., 0] + 0.587 * rgb[..., 1] + 0.114 * rgb[..., 2]
        embedding = self.embed(grey.unsqueeze(1))
        return embedding, self.head(embedding)


def augment(grey: Tensor, generator: torch.Generator) -> Tensor:
    """Random flip, affine, light, blur and erased patch; (N, 1, 48, 48) float32 in [0, 255].

    The affine map covers the deviations of serving's five-point crop from FER2013's layout.
    """
    count = grey.shape[0]

    def uniform(low: float, high: float) -> Tensor:
        return torch.rand(count, generator=generator) * (high - low) + low

    angle, scale = uniform(-0.3, 0.3), torch.exp(uniform(-0.18, 0.18))
    stretch = torch.exp(uniform(-0.08, 0.08))
    flip = torch.where(uniform(0, 1) < 0.5, -1.0, 1.0)
    cosine, sine = torch.cos(angle) * scale, torch.sin(angle) * scale
    right, down = uniform(-0.16, 0.16), uniform(-0.16, 0.16)
    rows = (cosine * flip * stretch, -sine, right), (sine * flip, cosine / stretch, down)
    moved = warp(grey, *rows, "reflection")
    gamma = torch.exp(uniform(-0.4, 0.4)).view(-1, 1, 1, 1)
    moved = 255.0 * (moved.clamp(0, 255) / 255.0) ** gamma
    soft = F.avg_pool2d(F.pad(moved, (1, 1, 1, 1), mode="reflect"), 3, 1)
    blur = uniform(-1.0, 1.0).clamp(0, 1).view(-1, 1, 1, 1)
    moved = moved + blur * (soft - moved)
    side = uniform(-10, 18).clamp(min=0)
    left, top = uniform(0, 48), uniform(0, 48)
    axis = torch.arange(48.0)
    across = (axis - left[:, None]).abs() * 2 < side[:, None]
    down = (axis - top[:, None]).abs() * 2 < side[:, None]
    hole = (down[:, :, None] & across[:, None, :]).unsqueeze(1)
    return torch.where(hole, moved.mean((2, 3), keepdim=True), moved)


def _augmented(batch: dict[str, Tensor], generator: torch.Generator) -> Batch:
    """Augmented pictures and one-hot targets, with mixup in half of the batches."""
    grey = augment(batch["pixels"].unsqueeze(1).to(torch.float32), generator)
    target = F.one_hot(batch["label"], len(EMOTIONS_7)).to(torch.float32)
    if torch.rand((), generator=generator) < 0.5:
        weight = float(torch.rand((), generator=generator)) * 0.5
        other = torch.randperm(len(grey), generator=generator)
        grey = (1 - weight) * grey + weight * grey[other]
        target = (1 - weight) * target + weight * target[other]
    return {"grey": grey, "target": target}


class PocketFaceRecipe:
    """Trained on FER2013 Training; PublicTest chooses the epoch."""

    name = "pocket_face"
    summary = "face encoder of `pocket`: squeeze-excite ResNet, 48x48 crops, FER2013"
    defaults = FitConfig(
        epochs=30,
        batch_size=128,
        learning_rate=3e-3,
        weight_decay=5e-2,
        warmup_epochs=2.0,
        precision="bf16-mixed",
    )

    def loaders(self, data: Path, config: FitConfig) -> Loaders:
        """FER2013 in memory: 66 MB of training pictures."""
        train, held = (
            dict(zip(("pixels", "label"), map(torch.from_numpy, part), strict=True))
            for part in (fer2013.read(data, split, EMOTIONS_7) for split in ("train", "test"))
        )
        held["pixels"] = held["pixels"].unsqueeze(3).expand(-1, -1, -1, 3)
        return Loaders(shuffled(train, config, _augmented), split_batches(held, 256))

    def module(self) -> nn.Module:
        """The network, random weights."""
        return PocketFace()

    def loss(self, module: nn.Module, batch: Batch) -> Tensor:
        """Cross entropy with 0.1 label smoothing, against FER2013's label noise."""
        assert isinstance(module, PocketFace)
        grey = batch["grey"].to(memory_format=torch.channels_last)
        logits = module.head(module.dropout(module.embed(grey)))
        return F.cross_entropy(logits, batch["target"], label_smoothing=0.1)

    def validate(self, module: nn.Module, batches: Sequence[Batch]) -> dict[str, float]:
        """Accuracy and unweighted average recall."""
        guess = torch.cat([module(batch["pixels"])[1].argmax(1) for batch in batches])
        truth = torch.cat([batch["label"] for batch in batches])
        found = classification(truth.numpy(), guess.numpy())
        return {"accuracy": found["accuracy"], "recall": found["uar"]}

    def export(self, module: nn.Module, folder: Path) -> list[Path]:
        """Write `face_encoder.onnx`: uint8 RGB crops in, embedding and logits out."""
        path = folder / "face_encoder.onnx"
        pixels = torch.randint(0, 256, (2, 48, 48, 3), dtype=torch.uint8)
        to_onnx(module, (pixels,), path, inputs=["pixels"], outputs=["embedding", "logits"])
        return [path]


RECIPE = PocketFaceRecipe()
