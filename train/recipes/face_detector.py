"""`face_detector`: the face detector of the pocket bundle, distilled from YuNet cell by cell.

Student and teacher have the same grids (strides 8, 16 and 32) and the same twelve outputs, so every cell of a
random canvas is a training sample and no label file is needed. The teacher sees the clear canvas, the
student a dimmed, blurred or noisy one. The loss is binary cross entropy against the teacher's class and
objectness in every cell, and IoU and landmark losses in cells where the teacher sees a face. The network
sees brightness only: the photos are mostly grey.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn
from torchvision.ops import Conv2dNormActivation, box_convert, distance_box_iou_loss

from affectstream.stream.faces.yunet import STRIDES, Proposals, box_iou, decode_proposals, nms
from affectstream.train.loader.face_canvases import Canvases, free_pictures
from affectstream.train.loader.face_photos import (
    SHAPES,
    CanvasBatches,
    Teacher,
    labeled,
    read_photos,
)
from affectstream.train.onnx.onnx_export import to_onnx
from affectstream.train.recipe import Batch, FitConfig, Loaders

PARTS = (("cls", 1), ("obj", 1), ("bbox", 4), ("kps", 10))
OUTPUTS = tuple(f"{name}_{stride}" for name, _ in PARTS for stride in STRIDES)
VALID_BATCHES = 24
FACE = 0.3
"""Teacher score from which a cell has box and landmark losses."""
GATE = 0.1
"""Below this teacher score the class target is 0: YuNet's class was trained inside faces only."""


_conv = partial(Conv2dNormActivation, activation_layer=None)


class Separable(nn.Module):
    """Depthwise 3x3 and pointwise 1x1 convolution, with a shortcut if the shape stays."""

    def __init__(self, inputs: int, outputs: int, stride: int = 1) -> None:
        super().__init__()
        self.depthwise = _conv(inputs, inputs, 3, stride, groups=inputs)
        self.pointwise = _conv(inputs, outputs, 1)
        self.shortcut = stride == 1 and inputs == outputs

    def forward(self, x: Tensor) -> Tensor:
        """(N, Cin, H, W) to (N, Cout, H / stride, W / stride)."""
        y = self.pointwise(F.relu(self.depthwise(x)))
        return F.relu(x + y if self.shortcut else y)


class PocketDetector(nn.Module):
    """Three grids of cells from one picture: a small backbone, a top-down path, a head for each grid."""

    def __init__(self, widths: tuple[int, int, int, int, int] = (16, 32, 64, 64, 96)) -> None:
        super().__init__()
        stem, fine, eighth, sixteenth, coarse = widths
        self.stem = nn.Sequential(
            _conv(1, stem, 3, 2),
            nn.ReLU(),
            _conv(stem, fine, 3, 2),
            nn.ReLU(),
            Separable(fine, fine),
        )
        self.stages = nn.ModuleList(
            [
                nn.Sequential(
                    _conv(fine, eighth, 3, 2),
                    nn.ReLU(),
                    Separable(eighth, eighth),
                    Separable(eighth, eighth),
                ),
                nn.Sequential(
                    Separable(eighth, sixteenth, 2),
                    *(Separable(sixteenth, sixteenth) for _ in range(3)),
                ),
                nn.Sequential(
                    Separable(sixteenth, coarse, 2), *(Separable(coarse, coarse) for _ in range(3))
                ),
            ]
        )
        self.lateral = nn.ModuleList(
            nn.Conv2d(width, eighth, 1) for width in (eighth, sixteenth, coarse)
        )
        self.heads = nn.ModuleList(
            nn.Sequential(
                Separable(eighth, eighth),
                Separable(eighth, eighth),
                nn.Conv2d(eighth, sum(size for _, size in PARTS), 1),
            )
            for _ in STRIDES
        )
        for head in self.heads:  # faces are rare: the initial score is 1 %
            nn.init.constant_(head[-1].bias[:2], -4.6)  # type: ignore[index]

    def grids(self, grey: Tensor) -> list[Tensor]:
        """Pictures (N, 1, H, W) in [0, 255] to raw values (N, cells, 16) of the three strides."""
        # On a logarithmic scale dark and bright faces have nearly the same contrast.
        x = self.stem(torch.log1p(grey / 16.0) - 1.6)
        levels = []
        for stage, lateral in zip(self.stages, self.lateral, strict=True):
            x = stage(x)
            levels.append(lateral(x))
        for finer in (1, 0):
            levels[finer] = levels[finer] + F.interpolate(levels[finer + 1], scale_factor=2.0)
        return [
            head(level).permute(0, 2, 3, 1).flatten(1, 2)
            for head, level in zip(self.heads, levels, strict=True)
        ]

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        """Pictures (N, H, W, 3) uint8 RGB, H and W multiples of 32, to YuNet's twelve outputs."""
        rgb = image.to(torch.float32)
        grey = 0.299 * rgb[..., 0] + 0.587 * rgb[..., 1] + 0.114 * rgb[..., 2]
        sizes = [size for _, size in PARTS]
        grids = [torch.split(grid, sizes, dim=2) for grid in self.grids(grey.unsqueeze(1))]
        return tuple(
            grid[part].sigmoid() if name in ("cls", "obj") else grid[part]
            for part, (name, _) in enumerate(PARTS)
            for grid in grids
        )


def _distance_iou(found: Tensor, target: Tensor) -> Tensor:
    """1 - DIoU (Zheng et al., 2020) of boxes (K, 4): center and log size in units of their cell; (K,)."""
    boxes = (
        box_convert(torch.cat([b[:, :2], b[:, 2:].clamp(max=5.0).exp()], 1), "cxcywh", "xyxy")
        for b in (found, target)
    )
    return distance_box_iou_loss(*boxes)


class PocketDetectorRecipe:
    """Trained on photos of 95 % of the people; canvases of the others choose the epoch."""

    name = "face_detector"
    summary = "face detector of `pocket`: three-stride grid with landmarks, distilled from YuNet"
    defaults = FitConfig(
        epochs=16,
        batch_size=16,
        learning_rate=3e-3,
        weight_decay=1e-2,
        warmup_epochs=1.0,
        clip_norm=10.0,
        ema_decay=0.998,
        precision="bf16-mixed",
    )

    def loaders(self, data: Path, config: FitConfig) -> Loaders:
        """Photos in memory (0.6 GB) and the teacher beside them."""
        teacher, free = Teacher(data), free_pictures()
        train, held = (Canvases(teacher.heads(photos), free) for photos in read_photos(data))
        size = config.batch_size
        valid = [
            labeled(held, teacher, size, np.random.default_rng([2024, k]), SHAPES[k % len(SHAPES)])
            for k in range(VALID_BATCHES)
        ]
        return Loaders(CanvasBatches(train, teacher, size, config.seed), valid)

    def module(self) -> nn.Module:
        """The network, random weights."""
        return PocketDetector()

    def loss(self, module: nn.Module, batch: Batch) -> Tensor:
        """Score loss in every cell; box and landmark losses where the teacher sees a face."""
        assert isinstance(module, PocketDetector)
        found = torch.cat(module.grids(batch["grey"].float()), 1).float()
        cls, obj, bbox, kps = (
            torch.cat([batch[f"{name}_{stride}"] for stride in STRIDES], 1) for name, _ in PARTS
        )
        score = (cls * obj).sqrt()
        faces = score[..., 0] > FACE
        weight = score[..., 0][faces]
        mass = weight.sum().clamp(min=1.0)
        targets = torch.cat([cls * (score > GATE), obj], 2)
        # Both scores have to fall where there is no face, and hard cells count most.
        cross = F.binary_cross_entropy_with_logits(found[..., :2], targets, reduction="none")
        hard = 0.25 + (found[..., :2].detach().sigmoid() - targets).abs()
        span = bbox[faces][:, 2:].exp().mean(1, keepdim=True)
        landmarks = F.smooth_l1_loss(
            found[..., 6:][faces] / span, kps[faces] / span, reduction="none", beta=0.05
        ).mean(1)
        boxes = _distance_iou(found[..., 2:6][faces], bbox[faces])
        regression = (weight * (5.0 * boxes + 20.0 * landmarks)).sum()
        loss: Tensor = (4.0 * (cross * hard).sum() + regression) / mass
        return loss

    def validate(self, module: nn.Module, batches: Sequence[Batch]) -> dict[str, float]:
        """F1 and recall against the teacher's faces (score 0.6), false positives per canvas
        (``alarms``), and the mean landmark distance of matched faces in box widths."""
        matched = faces = alarms = canvases = 0
        misplaced = 0.0
        for batch in batches:
            height, width = batch["grey"].shape[2:]
            rgb = batch["grey"].permute(0, 2, 3, 1).expand(-1, -1, -1, 3)
            outputs = dict(zip(OUTPUTS, (o.numpy() for o in module(rgb)), strict=True))
            teacher = {name: batch[name].numpy() for name in OUTPUTS}
            for mine, theirs in zip(
                decode_proposals(outputs, height, width, 0.6),
                decode_proposals(teacher, height, width, 0.4),
                strict=True,
            ):
                hits, total, false, error = _compared(_merged(mine), _merged(theirs))
                matched, faces, alarms = matched + hits, faces + total, alarms + false
                misplaced, canvases = misplaced + error, canvases + 1
        recall = matched / max(1, faces)
        precision = matched / max(1, matched + alarms)
        return {
            "f1": 2 * recall * precision / max(1e-9, recall + precision),
            "recall": recall,
            "alarms": alarms / max(1, canvases),
            "landmarks": misplaced / max(1, matched),
        }

    def export(self, module: nn.Module, folder: Path) -> list[Path]:
        """Write `face_detector.onnx`: uint8 RGB pictures in, YuNet's twelve outputs out."""
        path = folder / "face_detector.onnx"
        image = torch.randint(0, 256, (2, 192, 320, 3), dtype=torch.uint8)
        axes = {name: {1: "cells_" + name.rpartition("_")[2]} for name in OUTPUTS}
        free = {"image": {1: "H", 2: "W"}, **axes}
        to_onnx(module, (image,), path, inputs=["image"], outputs=OUTPUTS, dynamic=free)
        return [path]


def _merged(candidates: Proposals) -> Proposals:
    return candidates.pick(nms(candidates.boxes, candidates.scores, 0.3))


def _compared(mine: Proposals, theirs: Proposals) -> tuple[int, int, int, float]:
    """Matches, the teacher's faces (score 0.6), false positives and summed landmark error of one picture.

    A box that overlaps one of the teacher's weaker faces (0.4 to 0.6) counts as neither.
    """
    hits = total = 0
    error = 0.0
    explained = np.zeros(len(mine.scores), bool)
    for box, points, score in zip(theirs.boxes, theirs.landmarks, theirs.scores, strict=True):
        shared = box_iou(box, mine.boxes)
        explained |= shared >= 0.5
        total += int(score >= 0.6)
        if score >= 0.6 and shared.max(initial=0.0) >= 0.5:
            hits += 1
            offsets = mine.landmarks[int(shared.argmax())] - points
            error += float(np.linalg.norm(offsets, axis=1).mean() / (box[2] - box[0]))
    return hits, total, int((~explained).sum()), error


RECIPE = PocketDetectorRecipe()
