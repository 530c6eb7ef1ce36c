"""`face_detector`: the small face detector of the embedded bundle, for heads turned by any angle.

It has YuNet's grids (strides 8, 16 and 32) and twelve outputs (Wu, Peng and Yu, 2023), so that each can
take the place of the other. It learns from canvases on which box and landmarks of every face are known,
whatever its angle. The network sees brightness only: most of the photos are grey.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn
from torchvision.ops import Conv2dNormActivation, distance_box_iou_loss

from affectstream.engines.bundle.shapes import YUNET_OUTPUTS
from affectstream.stream.faces.yunet import STRIDES, Proposals, box_iou, decode_proposals, nms
from affectstream.train.loader.batches import to_device
from affectstream.train.loader.canvas_batches import SHAPES, CanvasBatches, canvas_batch
from affectstream.train.loader.face_canvases import Canvases, free_pictures
from affectstream.train.loader.face_photos import find_heads, read_crops, read_photos
from affectstream.train.onnx.half_storage import store_weights_as_half
from affectstream.train.onnx.onnx_export import to_onnx
from affectstream.train.recipe import Batch, FitConfig, Loaders

PARTS = (("cls", 1), ("obj", 1), ("bbox", 4), ("kps", 10))
BACKGROUNDS = "backgrounds"
"""Folder of pictures without faces in the data folder; it may be absent."""
VALID_BATCHES = 16
VALID_SIZE = 16
"""Canvases of a validation batch."""
THRESHOLD = 0.5
"""Score of a face in validation."""
SIDES = {8: (0.0, 48.0), 16: (32.0, 112.0), 32: (80.0, math.inf)}
"""Mean sides, in pixels, of the faces that the cells of each stride find."""
LUMA = (0.299, 0.587, 0.114)

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


def _by_cell(grid: Tensor) -> Tensor:
    """A grid (N, K, h, w) as its cells (N, cells, K), in row order."""
    return grid.flatten(2).transpose(1, 2)


class FaceDetector(nn.Module):
    """Three grids of cells from one picture: a small backbone, a top-down path, a head for each grid."""

    luma: Tensor

    def __init__(
        self,
        widths: tuple[int, int, int, int] = (16, 48, 96, 128),
        depths: tuple[int, int, int, int] = (1, 3, 4, 4),
        head_depth: int = 2,
    ) -> None:
        super().__init__()
        fourth, eighth = widths[:2]
        self.stem = nn.Conv2d(1, fourth, 5, 4, 1, bias=False)
        self.register_buffer("luma", torch.tensor(LUMA).view(1, 3, 1, 1), persistent=False)
        self.norm = nn.BatchNorm2d(fourth)
        self.fine = nn.Sequential(*(Separable(fourth, fourth) for _ in range(depths[0])))
        self.stages = nn.ModuleList(
            nn.Sequential(
                Separable(inputs, outputs, 2),
                *(Separable(outputs, outputs) for _ in range(depth - 1)),
            )
            for inputs, outputs, depth in zip(widths, widths[1:], depths[1:], strict=False)
        )
        self.lateral = nn.ModuleList(nn.Conv2d(width, eighth, 1) for width in widths[1:])
        self.heads = nn.ModuleList(
            nn.Sequential(
                *(Separable(eighth, eighth) for _ in range(head_depth)),
                nn.Conv2d(eighth, sum(size for _, size in PARTS), 1),
            )
            for _ in STRIDES
        )
        for head in self.heads:  # faces are rare: the initial score is 1 %
            nn.init.constant_(head[-1].bias[:2], -4.6)  # type: ignore[index]

    def grids(self, pixels: Tensor, luma: Tensor) -> list[Tensor]:
        """Pictures (N, C, H, W) in [0, 255], whose brightness is the sum of the channels by `luma`
        (1, C, 1, 1), to raw values (N, 16, h, w) of the three strides."""
        # Of square roots dark and bright faces have about the same contrast, and they cost little.
        x = F.conv2d(pixels.sqrt(), self.stem.weight * luma, stride=4, padding=1)
        x = self.fine(F.relu(self.norm(x)))
        levels = []
        for stage, lateral in zip(self.stages, self.lateral, strict=True):
            x = stage(x)
            levels.append(lateral(x))
        for finer in (1, 0):
            levels[finer] = levels[finer] + F.interpolate(levels[finer + 1], scale_factor=2.0)
        return [head(level) for head, level in zip(self.heads, levels, strict=True)]

    def forward(self, image: Tensor) -> tuple[Tensor, ...]:
        """Pictures (N, H, W, 3) uint8 RGB, H and W multiples of 32, to YuNet's twelve outputs."""
        sizes = [size for _, size in PARTS]
        grids = self.grids(image.permute(0, 3, 1, 2).float(), self.luma)
        parts = [torch.split(grid, sizes, 1) for grid in grids]
        return tuple(
            _by_cell(grid[part].sigmoid() if size == 1 else grid[part])
            for part, size in enumerate(sizes)
            for grid in parts
        )


class FaceDetectorRecipe:
    """Trained on photos of 95 % of the people; canvases of the others choose the epoch."""

    name = "face_detector"
    summary = (
        "small face detector with landmarks, for heads at any angle: YuNet's grids and outputs"
    )
    defaults = FitConfig(
        epochs=24,
        batch_size=32,
        learning_rate=3e-3,
        weight_decay=1e-2,
        warmup_epochs=1.0,
        clip_norm=10.0,
        ema_decay=0.998,
    )

    def loaders(self, data: Path, config: FitConfig) -> Loaders:
        """Photos in memory (0.6 GB) with the faces that YuNet finds in them."""
        free = free_pictures(data / BACKGROUNDS)
        sides = zip(read_photos(data), read_crops(data), strict=True)
        train, held = (Canvases(find_heads(*side, data), free) for side in sides)
        valid = [
            canvas_batch(
                held, VALID_SIZE, np.random.default_rng([2024, k]), SHAPES[k % len(SHAPES)]
            )
            for k in range(VALID_BATCHES)
        ]
        return Loaders(CanvasBatches(train, config), valid)

    def module(self) -> nn.Module:
        """The network, random weights."""
        return FaceDetector()

    def loss(self, module: nn.Module, batch: Batch) -> Tensor:
        """Score loss in every cell; box and landmark losses in the cells at the center of a face."""
        assert isinstance(module, FaceDetector)
        grids = module.grids(batch["grey"].float(), torch.ones_like(module.luma[:, :1]))
        found = torch.cat([_by_cell(grid) for grid in grids], 1).float()
        cells = _cells(*batch["grey"].shape[2:]).to(batch["grey"].device)
        face, ignored = _assigned(cells, batch["faces"])
        picture, cell = (face >= 0).nonzero(as_tuple=True)
        rows = batch["faces"][picture, face[picture, cell]]
        boxes, points = _decoded(found[picture, cell], cells[cell])
        side = (rows[:, 2:4] - rows[:, :2]).prod(1).sqrt().unsqueeze(1)
        distance = distance_box_iou_loss(boxes / side, rows[:, :4] / side)
        # Alone, absolute errors are least for a mean face that stays upright; squared ones mind turned heads.
        error = (points - rows[:, 4:14]) / side
        landmarks = 20.0 * F.smooth_l1_loss(
            error, torch.zeros_like(error), beta=0.01, reduction="none"
        )
        landmarks = (landmarks + 100.0 * error.square()).mean(1)
        # `obj` finds centers of faces, and `cls` adds how well the box fits: the best box survives.
        targets = torch.zeros_like(found[..., :2])
        targets[picture, cell, 0] = (1 - distance.detach()).clamp(0.0, 1.0)
        targets[picture, cell, 1] = 1.0
        cross = F.binary_cross_entropy_with_logits(found[..., :2], targets, reduction="none")
        hard = 0.25 + (found[..., :2].detach().sigmoid() - targets).abs()
        cross = (cross * hard).sum(2)[~ignored].sum()
        regression = (5.0 * distance + landmarks).sum()
        loss: Tensor = (4.0 * cross + regression) / max(1, len(picture))
        return loss

    def validate(self, module: nn.Module, batches: Sequence[Batch]) -> dict[str, float]:
        """F1, recall, false positives per canvas (``alarms``) and the mean landmark distance of found faces
        in sides of the box (``landmarks``), at a score of `THRESHOLD`."""
        device = next((p.device for p in module.parameters()), torch.device("cpu"))
        hits, total, false, canvases, misplaced = 0, 0, 0, 0, 0.0
        for batch in batches:
            grey = to_device(batch, device)["grey"].permute(0, 2, 3, 1)
            found_by_cell = (part.cpu().numpy() for part in module(grey.expand(-1, -1, -1, 3)))
            outputs = dict(zip(YUNET_OUTPUTS, found_by_cell, strict=True))
            height, width = batch["grey"].shape[2:]
            found = decode_proposals(outputs, height, width, THRESHOLD)
            for proposals, rows in zip(found, batch["faces"].numpy(), strict=True):
                kept = proposals.pick(nms(proposals.boxes, proposals.scores, 0.3))
                matched, faces, alarms, error = _compared(kept, rows[rows[:, 14] >= 0])
                hits, total, false = hits + matched, total + faces, false + alarms
                misplaced, canvases = misplaced + error, canvases + 1
        recall, precision = hits / max(1, total), hits / max(1, hits + false)
        return {
            "f1": 2 * recall * precision / max(1e-9, recall + precision),
            "recall": recall,
            "alarms": false / max(1, canvases),
            "landmarks": misplaced / max(1, hits),
        }

    def export(self, module: nn.Module, folder: Path) -> list[Path]:
        """Write `face_detector.onnx`: uint8 RGB pictures in, YuNet's twelve outputs out; weights in FP16."""
        path = folder / "face_detector.onnx"
        image = torch.randint(0, 256, (2, 192, 320, 3), dtype=torch.uint8)
        axes = {name: {1: "cells_" + name.rpartition("_")[2]} for name in YUNET_OUTPUTS}
        free = {"image": {1: "H", 2: "W"}, **axes}
        to_onnx(module, (image,), path, inputs=["image"], outputs=YUNET_OUTPUTS, dynamic=free)
        store_weights_as_half(path)
        return [path]


def _cells(height: int, width: int) -> Tensor:
    """Column, row and stride (C, 3) of every cell of a picture, in the order of the outputs."""
    grids = []
    for stride in STRIDES:
        row, column = torch.meshgrid(
            torch.arange(height // stride), torch.arange(width // stride), indexing="ij"
        )
        grids.append(torch.stack([column, row, torch.full_like(row, stride)], 2).reshape(-1, 3))
    return torch.cat(grids).float()


def _assigned(cells: Tensor, faces: Tensor) -> tuple[Tensor, Tensor]:
    """The face (N, C) that each cell has to find, -1 for none, and which cells (N, C) may score as they like:
    those around these cells, and those in faces that may be found or not. `faces` is (N, K, 15)."""
    stride = cells[:, 2].view(1, -1, 1)
    limits = cells.new_tensor([SIDES[s] for s in STRIDES])
    sides = limits[(cells[:, 2] / STRIDES[0]).log2().long()].T.view(2, 1, -1, 1)
    centers = (cells[:, :2] + 0.5) * cells[:, 2:]
    box, state = faces[..., :4], faces[:, None, :, 14]
    half = (box[..., 2:] - box[..., :2]).clamp(min=1.0)[:, None] / 2
    side = 2 * half.prod(3).sqrt()
    away = (centers[:, None] - (box[:, None, :, :2] + half)).abs()
    reach = torch.maximum(0.9 * stride, 0.18 * side)
    distance = away.amax(3)
    fits = (side >= sides[0]) & (side < sides[1])
    assigned = (state == 1) & fits & (distance <= reach)
    near = (side >= 0.7 * sides[0]) & (side < 1.4 * sides[1]) & (distance <= 1.6 * reach)
    ignored = ((state == 1) & near) | ((state == 0) & (away <= half).all(3))
    nearest = (distance / side).where(assigned, torch.inf).min(2)
    face = nearest.indices.where(nearest.values.isfinite(), -1)
    return face, ignored.any(2) & (face < 0)


def _decoded(found: Tensor, cells: Tensor) -> tuple[Tensor, Tensor]:
    """Boxes (K, 4) x0, y0, x1, y1 and landmarks (K, 10) in pixels, of raw values (K, 16) of `cells`."""
    place, stride = cells[:, :2], cells[:, 2:]
    center, half = (found[:, 2:4] + place) * stride, found[:, 4:6].clamp(max=5.0).exp() * stride / 2
    points = (found[:, 6:].reshape(-1, 5, 2) + place[:, None]) * stride[:, None]
    return torch.cat([center - half, center + half], 1), points.flatten(1)


def _compared(found: Proposals, rows: np.ndarray) -> tuple[int, int, int, float]:
    """Matches, faces that have to be found, false positives and summed landmark error of one picture.

    A box that overlaps a face that may be found or not counts as neither. `rows` is (K, 15).
    """
    hits, error, explained = 0, 0.0, np.zeros(len(found.scores), bool)
    for row in rows:
        shared = box_iou(row[:4], found.boxes)
        if row[14] == 0:  # partly hidden: its box is a matter of taste
            explained |= shared >= 0.2
            continue
        explained |= shared >= 0.5
        if shared.max(initial=0.0) >= 0.5:
            hits += 1
            offsets = found.landmarks[int(shared.argmax())] - row[4:14].reshape(5, 2)
            error += float(
                np.linalg.norm(offsets, axis=1).mean() / math.sqrt(np.prod(row[2:4] - row[:2]))
            )
    return hits, int((rows[:, 14] == 1).sum()), int((~explained).sum()), error


RECIPE = FaceDetectorRecipe()
