"""`pocket_detector`: the face detector of the pocket bundle, taught cell by cell by YuNet.

Student and teacher have the same grids (strides 8, 16 and 32) and the same twelve outputs, so every
cell of a random canvas is a lesson and no label file is needed. The teacher sees the canvas clear,
the student sees it dimmed, blurred or noisy, so that it learns to see what is hard to see: binary
cross entropy against the teacher's soft class and objectness everywhere, IoU and landmark losses
where the teacher sees a face. The teacher is ``models/yunet_n_dynamic.onnx`` under the data folder;
only its answers are used. The network looks at brightness alone: the photos are mostly grey.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn

from affectstream.stream.faces.detect import STRIDES, Proposals, box_iou, decode_proposals, nms
from affectstream.train.recipe import Batch, FitConfig, Loaders
from affectstream.train.recipes.pocket import faces_in_context
from affectstream.train.recipes.pocket.distill import SHAPES, TaughtCanvases, Teacher
from affectstream.train.recipes.pocket.face_canvases import Canvases, free_pictures

PARTS = (("cls", 1), ("obj", 1), ("bbox", 4), ("kps", 10))
OUTPUTS = tuple(f"{name}_{stride}" for name, _ in PARTS for stride in STRIDES)
VALID_BATCHES = 24
FACE = 0.3
"""Teacher score from which a cell is taught a box and landmarks."""
GATE = 0.1
"""Below this teacher score the class target is 0: YuNet's class means nothing where it sees no
object, since it was only trained inside faces."""


def _conv(inputs: int, outputs: int, size: int, stride: int = 1, groups: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(inputs, outputs, size, stride, size // 2, groups=groups, bias=False),
        nn.BatchNorm2d(outputs),
    )


class Separable(nn.Module):
    """Depthwise 3x3 and pointwise 1x1 convolution, with a shortcut where the shape stays."""

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
    """Three grids of cells from one picture: a small backbone, a top-down path, a head a grid."""

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
        for head in self.heads:  # faces are rare: start with a score of 1 %
            nn.init.constant_(head[-1].bias[:2], -4.6)  # type: ignore[index]

    def grids(self, grey: Tensor) -> list[Tensor]:
        """Pictures (N, 1, H, W) in [0, 255] to raw values (N, cells, 16) of the three strides."""
        # On a logarithmic scale a face in the dark has nearly the contrast of one in the light.
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


def _corners(bbox: Tensor) -> tuple[Tensor, Tensor]:
    half = bbox[:, 2:].clamp(max=5.0).exp() / 2
    return bbox[:, :2] - half, bbox[:, :2] + half


def _distance_iou(found: Tensor, wanted: Tensor) -> Tensor:
    """1 - DIoU of boxes (K, 4) in the units of their own cell (Zheng et al., 2020); (K,)."""
    (low, high), (low2, high2) = _corners(found), _corners(wanted)
    shared = (torch.minimum(high, high2) - torch.maximum(low, low2)).clamp(min=0).prod(1)
    both = (high - low).prod(1) + (high2 - low2).prod(1) - shared
    hull = (torch.maximum(high, high2) - torch.minimum(low, low2)).square().sum(1)
    apart = (found[:, :2] - wanted[:, :2]).square().sum(1)
    return 1 - shared / both + apart / hull


class PocketDetectorRecipe:
    """Photos of 95 % of the people to train, canvases of the others to choose the epoch."""

    name = "pocket_detector"
    summary = "face detector of `pocket`: three-stride grid with landmarks, taught by YuNet"
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
        train, held = (
            Canvases(teacher.heads(photos), free) for photos in faces_in_context.read(data)
        )
        exam = TaughtCanvases(held, teacher, config)
        valid = [
            exam.batch(np.random.default_rng([2024, k]), SHAPES[k % len(SHAPES)])
            for k in range(VALID_BATCHES)
        ]
        return Loaders(TaughtCanvases(train, teacher, config), valid)

    def module(self) -> nn.Module:
        """The network, random weights."""
        return PocketDetector()

    def loss(self, module: nn.Module, batch: Batch) -> Tensor:
        """Scores in every cell; boxes and landmarks where the teacher sees a face."""
        assert isinstance(module, PocketDetector)
        found = torch.cat(module.grids(batch["grey"].float()), 1).float()
        cls, obj, bbox, kps = (
            torch.cat([batch[f"{name}_{stride}"] for stride in STRIDES], 1) for name, _ in PARTS
        )
        score = (cls * obj).sqrt()
        faces = score[..., 0] > FACE
        weight = score[..., 0][faces]
        mass = weight.sum().clamp(min=1.0)
        wanted = torch.cat([cls * (score > GATE), obj], 2)
        # Both scores have to fall where there is no face, and the hard cells count most.
        cross = F.binary_cross_entropy_with_logits(found[..., :2], wanted, reduction="none")
        hard = 0.25 + (found[..., :2].detach().sigmoid() - wanted).abs()
        span = bbox[faces][:, 2:].exp().mean(1, keepdim=True)
        landmarks = F.smooth_l1_loss(
            found[..., 6:][faces] / span, kps[faces] / span, reduction="none", beta=0.05
        ).mean(1)
        boxes = _distance_iou(found[..., 2:6][faces], bbox[faces])
        placed = (weight * (5.0 * boxes + 20.0 * landmarks)).sum()
        loss: Tensor = (4.0 * (cross * hard).sum() + placed) / mass
        return loss

    def validate(self, module: nn.Module, batches: Sequence[Batch]) -> dict[str, float]:
        """F1 against the teacher's faces (score 0.6), false alarms a canvas, landmark error.

        The landmark error is the mean distance over matched faces, in shares of the box's width.
        """
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
        from affectstream.train.graphs.onnx_export import to_onnx

        path = folder / "face_detector.onnx"
        image = torch.randint(0, 256, (2, 192, 320, 3), dtype=torch.uint8)
        axes = {name: {1: "cells_" + name.rpartition("_")[2]} for name in OUTPUTS}
        free = {"image": {1: "H", 2: "W"}, **axes}
        to_onnx(module, (image,), path, inputs=["image"], outputs=OUTPUTS, dynamic=free)
        return [path]


def _merged(candidates: Proposals) -> Proposals:
    return candidates.pick(nms(candidates.boxes, candidates.scores, 0.3))


def _compared(mine: Proposals, theirs: Proposals) -> tuple[int, int, int, float]:
    """Matches, the teacher's sure faces, false alarms and summed landmark error of one picture.

    A box of ours that meets one of the teacher's weaker faces (0.4 to 0.6) counts as neither.
    """
    hits = total = 0
    error = 0.0
    answered = np.zeros(len(mine.scores), bool)
    for box, points, score in zip(theirs.boxes, theirs.landmarks, theirs.scores, strict=True):
        shared = box_iou(box, mine.boxes)
        answered |= shared >= 0.5
        total += int(score >= 0.6)
        if score >= 0.6 and shared.max(initial=0.0) >= 0.5:
            hits += 1
            apart = mine.landmarks[int(shared.argmax())] - points
            error += float(np.hypot(apart[:, 0], apart[:, 1]).mean() / (box[2] - box[0]))
    return hits, total, int((~answered).sum()), error


RECIPE = PocketDetectorRecipe()
