"""Figures of a bundle on the faces of a prepared data set, through its own engines."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from affectstream.engines.bundle import Bundle
from affectstream.engines.manifest import Measured
from affectstream.engines.spec import Array, padded, slot
from affectstream.train.calibrate import probabilities
from affectstream.train.dataset import Dataset
from affectstream.train.errors import DataError
from affectstream.train.face import figures
from affectstream.train.face_batches import (
    VALID_BATCH,
    FaceReader,
    ValidFaces,
    face_rows,
    mean_of_owner,
)
from affectstream.train.recipe import Batch


def evaluate_prepared(bundle: Bundle, data: Path, split: str) -> tuple[Measured, ...]:
    """`measure` on `split` of the data set in `data`.

    Raises `DataMissing` or `DataError` where the data set or the bundle cannot give it.
    """
    manifest, dataset = bundle.manifest, Dataset(data, heavy=("crops",))
    info, crop = dataset.info, dataset.info.crop
    if manifest.crop is None:
        raise DataError(f"bundle {manifest.name!r} has no face encoder to be measured on {data}")
    rows = face_rows(dataset, split)
    if crop is None or crop.kind != "face":
        kind = "none" if crop is None else crop.kind
        raise DataError(f"data set {info.name!r} has crops of kind {kind}, expected face")
    if unknown := sorted(set(dataset.column("emotion")[rows]) - set(manifest.labels)):
        raise DataError(
            f"data set {info.name!r} has samples of {', '.join(unknown)}; bundle "
            f"{manifest.name!r} knows {', '.join(manifest.labels)}"
        )
    batches = ValidFaces(FaceReader(dataset, rows, manifest.labels, manifest.crop.size))
    return measure(bundle, batches, f"{info.name} {split}")


def measure(bundle: Bundle, batches: Sequence[Batch], data: str) -> tuple[Measured, ...]:
    """Accuracy, macro F1 and unweighted average recall of whole samples, calibration included.

    `batches` are those of `ValidFaces`; `data` is what the figures are said to be of.
    """
    calibration = bundle.manifest.calibration
    truth = np.concatenate([batch["label"].numpy() for batch in batches])
    logits = np.concatenate([_logits(bundle, batch) for batch in batches])
    said = probabilities(
        logits.astype(np.float64),
        np.asarray(calibration.prior),
        calibration.temperature["video"],
    )
    found = figures(truth, said.argmax(1), len(bundle.manifest.labels))
    return tuple(
        Measured("face", data, metric, round(value, 4), len(truth))
        for metric, value in found.items()
    )


def _logits(bundle: Bundle, batch: Batch) -> NDArray[np.float32]:
    """Logits (N, C) of a batch: of each sample the mean embedding, as the one frame in view."""
    pixels, samples = batch["pixels"].numpy(), len(batch["label"])
    found = []
    for start in range(0, len(pixels), VALID_BATCH):
        part = pixels[start : start + VALID_BATCH]
        out = bundle.engines["face_encoder"].run({"pixels": padded(part, slot(len(part)))})
        found.append(torch.from_numpy(out["embedding"][: len(part)]))
    head = bundle.engines["fusion"]
    # Zeros are an all-false mask: no other modality is there.
    feeds: dict[str, Array] = {
        name: np.zeros((samples, *(int(side) for side in spec.shape[1:])), spec.dtype)
        for name, spec in head.inputs.items()
    }
    feeds["video"][:, 0] = mean_of_owner(torch.cat(found), batch["owner"], samples).numpy()
    feeds["video_mask"][:, 0] = True
    return np.asarray(head.run(feeds)["logits"])
