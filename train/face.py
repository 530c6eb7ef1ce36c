"""What the face recipes share: the network around an architecture, its data, loss, score and export.

An architecture (a `FaceBody`, one file in `train/models/`) turns pictures into embeddings; everything
else is here. What the network needs to know of its data set, the labels above all, is read from it once,
travels inside the checkpoint and has to be the same when a run is resumed.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any, Self

import msgspec
import numpy as np
import torch
import torch.nn.functional as F  # noqa: N812
from numpy.typing import NDArray
from torch import Tensor, nn

from affectstream.engines.labels import EMOTIONS
from affectstream.stream.errors import OptionError
from affectstream.train.dataset import Dataset
from affectstream.train.errors import DataError
from affectstream.train.face_batches import (
    FaceReader,
    TrainFaces,
    ValidFaces,
    face_rows,
    mean_of_owner,
)
from affectstream.train.recipe import Batch, FitConfig, Loaders

LOOKED_AT = 64
"""Samples that are looked at to see whether a data set is grey."""


class FaceBody(nn.Module):
    """An architecture: standardised pictures (N, 3, S, S) float32 to embeddings (N, `width`)."""

    width: int


class FaceNet(nn.Module):
    """Pixels to an embedding and emotion logits, with everything that serving needs in the graph."""

    def __init__(self, body: FaceBody, labels: int, *, dropout: float, grey: bool) -> None:
        """`grey`: what was learned from has no colour, so that none must be seen later either."""
        super().__init__()
        self.body, self.grey = body, grey
        self.dropout = nn.Dropout(dropout)
        self.head = nn.Linear(body.width, labels)

    def embed(self, pixels: Tensor) -> Tensor:
        """Crops (N, S, S, 3), uint8 or float32 in [0, 255], to embeddings (N, D) float32.

        Each picture has zero mean and (nearly) unit variance when the body sees it.
        """
        rgb = pixels.to(torch.float32).permute(0, 3, 1, 2) / 255.0
        if self.grey:
            luma = 0.299 * rgb[:, 0:1] + 0.587 * rgb[:, 1:2] + 0.114 * rgb[:, 2:3]
            rgb = luma.repeat(1, 3, 1, 1)
        centred = rgb - rgb.mean((1, 2, 3), keepdim=True)
        deviation = (centred * centred).mean((1, 2, 3), keepdim=True).sqrt()
        return self.body(centred / (deviation + 0.03))

    def forward(self, pixels: Tensor) -> tuple[Tensor, Tensor]:
        """Crops (N, S, S, 3) uint8 RGB to embeddings (N, D) and logits (N, C), float32."""
        embedding = self.embed(pixels)
        return embedding, self.head(embedding)


@dataclass(frozen=True, slots=True)
class FaceSetting:
    """What a network was made for: its data set and the options that its graph or loss depend on."""

    labels: tuple[str, ...]
    """Those that the training samples have, in the order of the vocabulary."""
    counts: tuple[int, ...]
    """Training samples of each label."""
    size: int
    template: tuple[tuple[float, float], ...]
    """Where the five landmarks lie in a picture of `size` pixels."""
    grey: bool
    label_smoothing: float
    class_weights: bool
    data: str
    source: str
    licence: str
    content_sha256: str
    split_sha256: str
    shared_participants: int


@dataclass
class FaceRecipe:
    """One architecture, learned from the face crops and emotion labels of any prepared data set."""

    name: str
    summary: str
    defaults: FitConfig
    body: Callable[[int], FaceBody]
    """Makes the architecture for a side in pixels."""
    dropout: float
    """Before the last linear layer, the head."""
    side: int = 224
    """Of the pictures that the network sees, unless `FitConfig.size` says otherwise."""
    multiple: int = 1
    """The side has to be a multiple of this."""
    made_for: FaceSetting | None = None

    @property
    def fixed(self) -> FaceSetting:
        """What the recipe is bound to. Raises `ValueError` before `for_data` or `restored`."""
        if self.made_for is None:
            raise ValueError(f"recipe {self.name!r} has no data set yet: call for_data first")
        return self.made_for

    def setting(self) -> dict[str, Any]:
        """`fixed` in plain values, for a checkpoint."""
        return asdict(self.fixed)

    def restored(self, setting: dict[str, Any]) -> Self:
        """This recipe as a checkpoint left it."""
        return replace(self, made_for=msgspec.convert(setting, FaceSetting))

    def for_data(self, data: Path, config: FitConfig) -> Self:
        """This recipe for the prepared data set in `data`.

        Raises `DataMissing` or `DataError`, naming what the data set lacks, and `OptionError` for a
        side that the architecture cannot have.
        """
        size = config.size or self.side
        if size % self.multiple:
            raise OptionError(
                f"--size {size}: {self.name} takes multiples of {self.multiple}, such as {self.side}"
            )
        return replace(self, made_for=_setting(Dataset(data, heavy=("crops",)), size, config))

    def loaders(self, data: Path, config: FitConfig) -> Loaders:
        """Augmented samples of split train; those of valid as they are."""
        dataset, fixed = Dataset(data, heavy=("crops",)), self.fixed
        train, valid = (
            FaceReader(dataset, face_rows(dataset, split), fixed.labels, fixed.size)
            for split in ("train", "valid")
        )
        return Loaders(TrainFaces(train, config), ValidFaces(valid))

    def module(self) -> FaceNet:
        """The network, random weights."""
        fixed = self.fixed
        return FaceNet(
            self.body(fixed.size), len(fixed.labels), dropout=self.dropout, grey=fixed.grey
        )

    def loss(self, module: nn.Module, batch: Batch) -> Tensor:
        """Cross entropy, with label smoothing and balancing class weights where asked for."""
        assert isinstance(module, FaceNet)
        device, weights = module.head.weight.device, None
        if self.fixed.class_weights:
            counts = torch.tensor(self.fixed.counts, dtype=torch.float32, device=device)
            weights = counts.sum() / (len(counts) * counts)
        logits = module.head(module.dropout(module.embed(batch["pixels"].to(device))))
        return F.cross_entropy(
            logits,
            batch["label"].to(device),
            weight=weights,
            label_smoothing=self.fixed.label_smoothing,
        )

    def score(self, module: nn.Module, batches: Sequence[Batch]) -> dict[str, float]:
        """Accuracy, macro F1 and unweighted average recall of whole samples (the mean embedding)."""
        means, labels = embed_all(module, batches)
        guesses = module.head(means.to(module.head.weight.device)).argmax(1)  # type: ignore[operator,union-attr,arg-type]
        return figures(labels.numpy(), guesses.cpu().numpy(), len(self.fixed.labels))

    def export(self, module: nn.Module, folder: Path) -> list[Path]:
        """Write `face_encoder.onnx`: uint8 RGB crops in, embedding and logits out."""
        from affectstream.train.export import to_onnx

        path, size = folder / "face_encoder.onnx", self.fixed.size
        pixels = torch.randint(0, 256, (2, size, size, 3), dtype=torch.uint8)
        to_onnx(module, (pixels,), path, inputs=["pixels"], outputs=["embedding", "logits"])
        return [path]


@torch.no_grad()
def embed_all(module: nn.Module, batches: Sequence[Batch]) -> tuple[Tensor, Tensor]:
    """Mean embeddings (n, D) float32 and labels (n,) int64 of all samples, on the CPU."""
    assert isinstance(module, FaceNet)
    device = module.head.weight.device
    means, labels = [], []
    for batch in batches:
        found = torch.cat([module.embed(p.to(device)).cpu() for p in batch["pixels"].split(64)])
        means.append(mean_of_owner(found, batch["owner"], len(batch["label"])))
        labels.append(batch["label"])
    return torch.cat(means), torch.cat(labels)


def figures(
    labels: NDArray[np.int64], guesses: NDArray[np.int64], classes: int
) -> dict[str, float]:
    """``accuracy``, ``macro_f1`` and ``uar`` of `guesses` (n,) against `labels` (n,), n at least 1.

    F1 is averaged over the labels that occur in either, recall over those that occur in `labels`.
    """
    table = np.bincount(labels * classes + guesses, minlength=classes**2).reshape(classes, classes)
    hits, truth, guessed = table.diagonal(), table.sum(1), table.sum(0)
    occurs = truth + guessed > 0
    return {
        "accuracy": float(hits.sum() / len(labels)),
        "macro_f1": float((2 * hits[occurs] / (truth + guessed)[occurs]).mean()),
        "uar": float((hits[truth > 0] / truth[truth > 0]).mean()),
    }


def _setting(dataset: Dataset, size: int, config: FitConfig) -> FaceSetting:
    info, crop = dataset.info, dataset.info.crop
    rows, valid = face_rows(dataset, "train"), face_rows(dataset, "valid")
    if crop is None or crop.template is None:
        kind = "none" if crop is None else crop.kind
        raise DataError(
            f"data set {info.name!r} has crops of kind {kind}, expected face, which is what a bundle "
            "is served: prepare it with '--crop face'"
        )
    emotions = dataset.column("emotion")
    found, held = emotions[rows].tolist(), set(emotions[valid].tolist())
    labels = tuple(name for name in EMOTIONS if name in found)
    if len(labels) < 2:
        raise DataError(
            f"data set {info.name!r}: all training samples are {labels[0]}, expected two emotions or more"
        )
    if unseen := sorted(held - set(labels)):
        raise DataError(
            f"data set {info.name!r}: {', '.join(unseen)} is in split valid and not in train: "
            "prepare it with another --split or --seed"
        )
    scale = size / crop.size
    return FaceSetting(
        labels=labels,
        counts=tuple(found.count(name) for name in labels),
        size=size,
        template=tuple(
            ((x + 0.5) * scale - 0.5, (y + 0.5) * scale - 0.5) for x, y in crop.template
        ),
        grey=_grey(dataset, rows),
        label_smoothing=config.label_smoothing,
        class_weights=config.class_weights,
        data=info.name,
        source=info.source,
        licence=info.licence,
        content_sha256=info.content_sha256,
        split_sha256=info.split_sha256,
        shared_participants=len(info.shared_participants),
    )


def _grey(dataset: Dataset, rows: NDArray[np.int64]) -> bool:
    """Whether samples spread over the whole set are all without colour."""
    for row in rows[:: max(1, len(rows) // LOOKED_AT)]:
        crops = dataset[int(row)].crops
        if crops is not None and (crops != crops[..., :1]).any():
            return False
    return True
