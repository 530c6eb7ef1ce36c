"""`face_geometry`: landmarks, head pose, gaze and openings of a detected face, learned from MediaPipe's mesh.

``--data`` is the folder that ``train/data/teachers/face_mesh.py`` wrote. Half of the samples are photos of
faces in context, which are sharp enough for lids and irises, half FER2013, for its many faces. Faces that are
turned away, look aside, close their eyes or open their mouth are drawn more often: otherwise the network
answers too near to the mean. Every eighth person of the photos, and the pictures of PublicTest, validate.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn

from affectstream.engines.landmarks import LANDMARKS, MEASURES
from affectstream.train.loader.batches import to_device
from affectstream.train.loader.faces.squares import (
    CHIN,
    FOREHEAD,
    SIDE,
    Face,
    Faces,
    cut,
    degrade,
    read_faces,
)
from affectstream.train.metrics import line
from affectstream.train.networks.face_landmarks import PARTS, FaceLandmarks, measures
from affectstream.train.onnx.onnx_export import to_onnx
from affectstream.train.onnx.stored_weights import store_weights_as_half
from affectstream.train.recipe import Batch, FitConfig, Loaders

FILES = {"photos": "faces_in_context.npz", "fer2013": "fer2013.npz"}
SAMPLES = 10_000
"""Samples of an epoch: they are made on the fly, so an epoch is a length, not a pass."""
STRETCH = 1.3
"""Most that a measure is stretched by the final correction: what stretches it stretches its noise too."""
VALID = 768
"""Validation samples of each set."""

_WEIGHTS = np.ones(len(LANDMARKS), np.float32)
for _k, _name in enumerate(LANDMARKS):
    if "lid" in _name or "iris" in _name or ("inner" in _name and "lip" in _name):
        _WEIGHTS[_k] = 2.5
    elif "eye" in _name or "mouth" in _name or "lip" in _name:
        _WEIGHTS[_k] = 1.5
    elif _name in ("forehead", "chin") or "jaw" in _name or "temple" in _name:
        _WEIGHTS[_k] = 0.6


def _batch(
    drawn: Sequence[tuple[Face, float]], rng: np.random.Generator, *, augment: bool
) -> Batch:
    rows: list[dict[str, Any]] = []
    for face, sharp in drawn:
        if augment:
            square, targets = cut(face, rng)
            square = degrade(square, rng)
        else:
            square, targets = cut(face, rng, spread=0.7, turn=float(rng.uniform(-45, 45)))
        rows.append({"grey": square[None], "sharp": np.float32(sharp), **targets})
    return {name: torch.from_numpy(np.stack([row[name] for row in rows])) for name in rows[0]}


class Drawn:
    """Training batches; an epoch is a function of the seed and its number."""

    def __init__(self, sets: Sequence[Faces], config: FitConfig) -> None:
        self._sets, self._seed, self._size = sets, config.seed, config.batch_size

    def __len__(self) -> int:
        return SAMPLES // self._size

    def epoch(self, number: int) -> Iterator[Batch]:
        """Batches of one epoch, as many faces from each set."""
        for step in range(len(self)):
            rng = np.random.default_rng([self._seed, number, step])
            drawn: list[tuple[Face, float]] = []
            for faces in self._sets:
                share = self._size // len(self._sets)
                picked = rng.choice(len(faces.faces), share, p=faces.odds)
                drawn += [(faces.faces[k], faces.sharp) for k in picked]
            yield _batch(drawn, rng, augment=True)


class FaceGeometryRecipe:
    """Learns from MediaPipe's mesh on FER2013 and the photos of faces in context."""

    name = "face_geometry"
    summary = "landmarks, head pose, gaze, lids and mouth of a face, learned from MediaPipe's mesh"
    defaults = FitConfig(
        epochs=71,
        schedule="restarts",
        batch_size=64,
        learning_rate=2.5e-3,
        weight_decay=2e-2,
        warmup_epochs=1.0,
        clip_norm=5.0,
        ema_decay=0.998,
        precision="bf16-mixed",
    )

    def loaders(self, data: Path, config: FitConfig) -> Loaders:
        """Both sets in memory (0.3 GB)."""
        sets = [read_faces(data / file, photos=kind == "photos") for kind, file in FILES.items()]
        valid: list[Batch] = []
        for kind, (_, held) in zip(FILES, sets, strict=True):
            rng = np.random.default_rng([2024, len(valid)])
            picked = rng.permutation(len(held.faces))[:VALID]
            drawn = [(held.faces[k], held.sharp) for k in picked]
            valid += [
                {
                    **_batch(drawn[at : at + 128], rng, augment=False),
                    "photos": torch.tensor([kind == "photos"]),
                }
                for at in range(0, len(drawn), 128)
            ]
        return Loaders(Drawn([train for train, _ in sets], config), valid)

    def module(self) -> nn.Module:
        """The network, random weights."""
        return FaceLandmarks(SIDE)

    def loss(self, module: nn.Module, batch: Batch) -> Tensor:
        """Weighted L1 distances: landmarks in hundredths of the square, directions, openings."""
        assert isinstance(module, FaceLandmarks)
        parts = module.parts(batch["grey"].float())
        sharp = batch["sharp"].unsqueeze(1)
        weights = torch.from_numpy(_WEIGHTS).to(sharp.device)
        weights = torch.where(weights > 2, weights * sharp, weights)
        both = torch.stack([parts["landmarks"], parts["first"]]) - batch["landmarks"]
        error = both.view(2, -1, len(LANDMARKS), 2).abs().sum(3).mean(0)
        landmarks = (error * weights).sum(1, keepdim=True) / weights.sum(1, keepdim=True)

        def distance(name: str) -> Tensor:
            return (parts[name] - batch[name]).abs().mean(1, keepdim=True)

        openness = (parts["openness"] - batch["openness"]).abs()
        total = (
            100 * landmarks
            + 12 * distance("head")
            + 6 * distance("roll")
            + 15 * sharp * distance("gaze")
            + 25 * sharp * openness[:, :2].mean(1, keepdim=True)
            + 15 * openness[:, 2:]
        )
        return total.mean()

    def validate(self, module: nn.Module, batches: Sequence[Batch]) -> dict[str, float]:
        """Agreement with the teacher: ``score`` is the mean correlation of the measures, with lids, mouth and
        gaze on photos only; then each correlation, slope (``_slope``), the landmarks' mean error in shares of
        the distance of the eyes' outer corners, and the mean loss.

        It also sets the module's final correction of each measure but roll, from the photos.
        """
        assert isinstance(module, FaceLandmarks)
        device = next(module.parameters()).device
        found, truth, errors, losses = [], [], [], []
        for batch in batches:
            with torch.no_grad():
                there = to_device(batch, device)
                parts = {k: part.cpu() for k, part in module.parts(there["grey"].float()).items()}
                losses.append(float(self.loss(module, there)))
            found.append(measures(parts))
            truth.append(measures({name: batch[name] for name in PARTS}))
            errors.append(_landmark_error(parts["landmarks"], batch["landmarks"]))
        photos = torch.cat([b["photos"].expand(len(b["grey"])) for b in batches]).bool()
        mine, theirs = torch.cat(found).numpy(), torch.cat(truth).numpy()
        metrics: dict[str, float] = {}
        correction = [(1.0, 0.0)] * len(MEASURES)
        for k, name in enumerate(MEASURES):
            rows = photos.numpy() if k > 2 else slice(None)
            r, slope, _ = line(theirs[rows, k], mine[rows, k])
            metrics[name], metrics[f"{name}_slope"] = r, slope
            if name != "roll" and photos.any():
                correction[k] = same_spread(theirs[photos.numpy(), k], mine[photos.numpy(), k])
        slopes, offsets = torch.tensor(correction).unbind(1)
        module.slope.copy_(slopes)
        module.offset.copy_(offsets)
        score = float(np.mean([metrics[name] for name in MEASURES]))
        error = torch.cat(errors)
        return {
            "score": score,
            **metrics,
            "landmarks": float(error.mean()),
            "landmarks_photos": float(error[photos].mean()),
            "valid_loss": float(np.mean(losses)),
        }

    def export(self, module: nn.Module, folder: Path) -> list[Path]:
        """Write `face_geometry.onnx`: squares of `SIDE` pixels in, landmarks and measures out."""
        path = folder / "face_geometry.onnx"
        pixels = torch.randint(0, 256, (2, SIDE, SIDE, 3), dtype=torch.uint8)
        to_onnx(module, (pixels,), path, inputs=["pixels"], outputs=["landmarks", "measures"])
        store_weights_as_half(path)
        return [path]


def same_spread(truth: NDArray[np.float32], found: NDArray[np.float32]) -> tuple[float, float]:
    """Factor and offset that give `found` (n,) the spread and the mean of `truth` (n,). A network that is not
    sure answers nearer to the mean. Undoing all of the slope would go too far, as the truth is noisy too."""
    factor = float(np.clip(truth.std() / max(1e-6, float(found.std())), 1.0, STRETCH))
    return factor, float(truth.mean() - factor * found.mean())


def _landmark_error(found: Tensor, truth: Tensor) -> Tensor:
    """Mean distance (N,) of landmarks (N, 64) from the true ones in distances of the outer eye corners."""
    points = truth.view(-1, len(LANDMARKS), 2)
    right, left = (LANDMARKS.index(f"{side}_eye_outer") for side in ("right", "left"))
    # Of a face in profile the corners nearly coincide: the face's height bounds the unit from below.
    unit = (points[:, right] - points[:, left]).norm(dim=1)
    unit = torch.maximum(unit, 0.3 * (points[:, FOREHEAD] - points[:, CHIN]).norm(dim=1))
    return (found.view_as(points) - points).norm(dim=2).mean(1) / unit


RECIPE = FaceGeometryRecipe()
