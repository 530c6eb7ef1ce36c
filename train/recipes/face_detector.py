"""`face_detector`: the small face detector of the embedded bundle, YuNet that has learned to turn its head.

It starts as YuNet and learns from YuNet: what YuNet answers on an upright picture, the network has to answer
on the picture turned by any angle and seen by a worse camera, with the answer turned along. So nothing has to
be labeled, and upright faces are found as before.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from torch import Tensor, nn
from torchvision.ops import distance_box_iou_loss

from affectstream.engines.bundle.shapes import YUNET_OUTPUTS
from affectstream.stream.faces.detection.yunet import (
    STRIDES,
    Proposals,
    box_iou,
    decode_proposals,
    nms,
)
from affectstream.train.errors import DataMissing
from affectstream.train.loader.batches import to_device
from affectstream.train.loader.faces.batches import SIDES, CanvasBatches, canvas_batch
from affectstream.train.loader.faces.canvases import Canvases
from affectstream.train.loader.faces.photos import YUNET, free_pictures, read_crops, read_photos
from affectstream.train.networks.yunet import YuNet, by_cell, read_yunet
from affectstream.train.onnx.onnx_export import to_onnx
from affectstream.train.onnx.stored_weights import store_weights_as_half
from affectstream.train.recipe import Batch, FitConfig, Loaders

BACKGROUNDS = "backgrounds"
"""Folder of pictures without faces in the data folder; it may be absent."""
VALID_BATCHES = 16
VALID_SIZE = 16
"""Canvases of a validation batch."""
THRESHOLD = 0.6
"""Score of a face in validation."""
WEAK = 0.3
"""Score of the teacher from which a face may be found or not; from `THRESHOLD` on it has to be found."""
TAUGHT = 0.25
"""Score of the teacher from which a cell also learns its box and landmarks."""


class FaceDetectorRecipe:
    """Trained on photos of 95 % of the people; canvases of the others choose the epoch."""

    name = "face_detector"
    summary = "small face detector with landmarks, for heads at any angle: YuNet, taught by itself"
    defaults = FitConfig(
        epochs=96,
        batch_size=32,
        learning_rate=1e-3,
        weight_decay=1e-4,
        warmup_epochs=0.5,
        clip_norm=10.0,
        ema_decay=0.995,
    )

    def loaders(self, data: Path, config: FitConfig) -> Loaders:
        """Photos in memory (0.6 GB). Raises `DataMissing` without them or without YuNet."""
        if not (data / YUNET).exists():
            raise DataMissing(f"the teacher is missing: expected YuNet's graph as {data / YUNET}")
        teacher = read_yunet(data / YUNET).eval().requires_grad_(False).grids
        free = free_pictures(data / BACKGROUNDS)
        sides = zip(read_photos(data), read_crops(data), strict=True)
        train, held = (Canvases(*side, free) for side in sides)
        valid = []
        for k in range(VALID_BATCHES):
            rng, side = np.random.default_rng([2024, k]), SIDES[k % len(SIDES)]
            valid.append(canvas_batch(held, teacher, VALID_SIZE, side, rng))
        return Loaders(CanvasBatches(train, teacher, config), valid)

    def module(self) -> nn.Module:
        """The network, random weights."""
        return YuNet()

    def load_pretrained(self, module: nn.Module, data: Path) -> None:
        """Start from the weights of YuNet in the data folder."""
        module.load_state_dict(read_yunet(data / YUNET).state_dict())

    def loss(self, module: nn.Module, batch: Batch) -> Tensor:
        """Score loss in every cell; box and landmark losses in the cells that see a face."""
        assert isinstance(module, YuNet)
        grids = module.grids(batch["turned"].float())
        found = torch.cat([by_cell(grid) for grid in grids], 1).float()
        cells = _cells(*batch["turned"].shape[2:]).to(found.device)
        scores, taught = _turned_answers(batch)
        # The teacher learned `cls` at faces only; `obj` tells where these are.
        sure = scores.prod(2).sqrt()
        cross = F.binary_cross_entropy_with_logits(found[..., :2], scores, reduction="none")
        hard = 0.25 + (found[..., :2].detach().sigmoid() - scores).abs()
        hard = hard * torch.stack([0.1 + sure, torch.ones_like(sure)], 2)
        cross = (cross * hard).sum()
        picture, cell = (sure >= TAUGHT).nonzero(as_tuple=True)
        weight, rows = sure[picture, cell], taught[picture, cell]
        boxes, points = _decoded(found[picture, cell], cells[cell])
        side = (rows[:, 2:4] - rows[:, :2]).prod(1).sqrt().unsqueeze(1)
        distance = distance_box_iou_loss(boxes / side, rows[:, :4] / side)
        # Alone, absolute errors are least for a mean face that stays upright; squared ones mind turned heads.
        error = (points.flatten(1) - rows[:, 4:]) / side
        landmarks = 20.0 * F.smooth_l1_loss(
            error, torch.zeros_like(error), beta=0.01, reduction="none"
        )
        landmarks = (landmarks + 100.0 * error.square()).mean(1)
        regression = ((5.0 * distance + landmarks) * weight).sum()
        loss: Tensor = (4.0 * cross + regression) / sure.sum().clamp(min=1.0)
        return loss

    def validate(self, module: nn.Module, batches: Sequence[Batch]) -> dict[str, float]:
        """F1, recall, false positives per canvas (``alarms``) and the mean landmark distance of found faces
        in sides of the box (``landmarks``), at a score of `THRESHOLD`."""
        device = next((p.device for p in module.parameters()), torch.device("cpu"))
        compared = []
        for batch in batches:
            pictures = to_device(batch, device)["turned"].permute(0, 2, 3, 1)
            found_by_cell = (part.cpu().numpy() for part in module(pictures))
            outputs = dict(zip(YUNET_OUTPUTS, found_by_cell, strict=True))
            height, width = batch["turned"].shape[2:]
            found = decode_proposals(outputs, height, width, THRESHOLD)
            scores, rows = _turned_answers(batch)
            for mine, sure, taught in zip(found, scores.prod(2).sqrt(), rows, strict=True):
                seen = sure >= WEAK
                boxes, points = taught[seen].numpy()[:, :4], taught[seen].numpy()[:, 4:]
                theirs = Proposals(boxes, points.reshape(-1, 5, 2), sure[seen].numpy())
                compared.append(_compared(_best(mine), _best(theirs)))
        hits, total, false, misplaced = (sum(column) for column in zip(*compared, strict=True))
        recall, precision = hits / max(1, total), hits / max(1, hits + false)
        return {
            "f1": 2 * recall * precision / max(1e-9, recall + precision),
            "recall": recall,
            "alarms": false / len(compared),
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


def _turned_answers(batch: Batch) -> tuple[Tensor, Tensor]:
    """The teacher's answers on the upright canvases for the cells of the turned ones: ``cls`` and ``obj``
    (N, C, 2) in [0, 1], 0 outside of the upright canvas, and box and landmarks (N, C, 14) in pixels."""
    turn = batch["turn"]
    linear, shift = turn[:, :, :2], turn[:, None, :, 2]
    scores, rows = [], []
    for stride in STRIDES:
        grid = batch[f"teacher_{stride}"]
        size = torch.tensor(grid.shape[:1:-1], device=grid.device)
        cells = _grid_cells(*grid.shape[2:]).to(grid.device)
        middle = (stride - 1) / 2
        # A turn keeps lengths: the transposed matrix turns back.
        place = ((cells * stride + middle - shift) @ linear - middle) / stride
        nearest = place.round()
        inside = ((nearest >= 0) & (nearest < size)).all(2, keepdim=True)
        at = (2 * place / (size - 1) - 1).unflatten(1, tuple(grid.shape[2:]))
        raw = by_cell(F.grid_sample(grid, at, mode="nearest", align_corners=True))
        between = F.grid_sample(grid[:, :2].sigmoid(), at, align_corners=True)
        # Between two cells the mean of both is too low, and the nearest one alone too rough.
        scores.append(torch.maximum(by_cell(between), raw[..., :2].sigmoid() * inside))
        boxes, points = _decoded(raw, F.pad(nearest, (0, 1), value=stride))
        low, high = boxes.chunk(2, 2)
        # The box of a turned ellipse, as for the heads of canvases.
        center = (low + high) / 2 @ linear.mT + shift
        half = (((high - low) / 2).square() @ linear.mT.square()).sqrt()
        turned = points.flatten(1, 2) @ linear.mT + shift
        rows.append(torch.cat([center - half, center + half, turned.view(*raw.shape[:2], 10)], 2))
    return torch.cat(scores, 1), torch.cat(rows, 1)


def _grid_cells(height: int, width: int) -> Tensor:
    """Column and row (C, 2) of every cell of a grid, in row order."""
    row, column = torch.meshgrid(torch.arange(height), torch.arange(width), indexing="ij")
    return torch.stack([column, row], 2).reshape(-1, 2).float()


def _cells(height: int, width: int) -> Tensor:
    """Column, row and stride (C, 3) of every cell of a picture, in the order of the outputs."""
    grids = []
    for stride in STRIDES:
        place = _grid_cells(height // stride, width // stride)
        grids.append(F.pad(place, (0, 1), value=stride))
    return torch.cat(grids)


def _decoded(found: Tensor, cells: Tensor) -> tuple[Tensor, Tensor]:
    """Boxes (..., 4) x0, y0, x1, y1 and landmarks (..., 5, 2) in pixels, of raw values (..., 16) of `cells`,
    column, row and stride (..., 3)."""
    place, stride = cells[..., :2], cells[..., 2:]
    center, half = (
        (found[..., 2:4] + place) * stride,
        found[..., 4:6].clamp(max=5.0).exp() * stride / 2,
    )
    points = (found[..., 6:].unflatten(-1, (5, 2)) + place.unsqueeze(-2)) * stride.unsqueeze(-1)
    return torch.cat([center - half, center + half], -1), points


def _best(found: Proposals) -> Proposals:
    return found.pick(nms(found.boxes, found.scores, 0.3))


def _compared(found: Proposals, taught: Proposals) -> tuple[int, int, int, float]:
    """Matches, faces that have to be found, false positives and summed landmark error of one picture. A box
    that overlaps a face that may be found or not counts as neither."""
    hits, total, error, explained = 0, 0, 0.0, np.zeros(len(found.scores), bool)
    for box, points, score in zip(taught.boxes, taught.landmarks, taught.scores, strict=True):
        shared = box_iou(box, found.boxes)
        explained |= shared >= (0.5 if score >= THRESHOLD else 0.2)
        if score < THRESHOLD:
            continue
        total += 1
        if shared.max(initial=0.0) >= 0.5:
            hits += 1
            away = np.linalg.norm(found.landmarks[int(shared.argmax())] - points, axis=1).mean()
            error += float(away / math.sqrt(np.prod(box[2:] - box[:2])))
    return hits, total, int((~explained).sum()), error


RECIPE = FaceDetectorRecipe()

if __name__ == "__main__":  # for engines/pocket/reproduce.sh: YuNet itself as an engine
    RECIPE.export(read_yunet(Path(sys.argv[1]) / YUNET), Path(sys.argv[2]))
