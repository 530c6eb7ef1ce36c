"""The outputs of a bundle for prepared samples, through the engines that serving uses."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from affectstream.engines.bundle.bundle import Bundle
from affectstream.engines.bundle.shapes import ENCODER_ROLES
from affectstream.engines.graphs.batching import run_in_batches
from affectstream.engines.labels import Modality, subsets
from affectstream.engines.manifest import Calibration
from affectstream.engines.spec import Array
from affectstream.train.calibration import probabilities
from affectstream.train.recipe import Batch
from affectstream.train.tasks import Task

Subset = tuple[Modality, ...] | None
"""Modalities that are left while the others are hidden; None hides nothing."""

HeadFeeds = Sequence[Mapping[str, Array]]
"""The inputs of the head of each expert, for the same samples."""

_FEEDS = {"voice": {"samples": "samples"}, "text": {"ids": "ids", "mask": "tokens_mask"}}
"""Inputs of an encoder, and the entries of a batch that feed them."""


@dataclass(frozen=True, slots=True)
class BundleOutputs:
    """The outputs of the head by name, one row for each of `samples`."""

    outputs: dict[str, NDArray[Any]]
    samples: NDArray[np.int64]
    """(n,) numbers of the samples that have something for the bundle."""
    modalities: tuple[str, ...]
    """Of each sample, those that were present, as a manifest's calibration names them: ``video+text``."""

    def predict(self, tasks: Sequence[Task], calibration: Calibration) -> dict[str, NDArray[Any]]:
        """The predictions of each task by name, emotions as calibrated probabilities."""
        predicted = {task.name: self.outputs[task.output] for task in tasks}
        if "emotion" in predicted:
            temperatures = [calibration.temperature.get(name, 1.0) for name in self.modalities]
            logits = predicted["emotion"].astype(np.float64) / np.array(temperatures)[:, None]
            predicted["emotion"] = probabilities(logits, np.asarray(calibration.prior), 1.0)
        return predicted


def bundle_outputs(
    bundle: Bundle,
    *batches: Iterable[Batch],
    missing: bool,
    observe: Callable[[HeadFeeds], None] | None = None,
) -> dict[Subset, BundleOutputs]:
    """The outputs for the samples of `batches` as they are (None).

    There is one sequence of batches for each of the bundle's experts (itself, or its members), of the same
    samples in batches of the same size. With `missing` also the outputs for each of `subsets` of the bundle's
    modalities, of the samples that have the whole subset, with the other modalities hidden. `observe` gets
    the inputs of the heads batch by batch.
    """
    modalities = bundle.modalities
    parts: dict[Subset, list[BundleOutputs]] = {None: []}
    if missing:
        parts |= {subset: [] for subset in subsets(modalities)}
    first = 0
    for expert_batches in zip(*batches, strict=True):
        feeds = [
            _head_feeds(expert, batch)
            for expert, batch in zip(bundle.member_bundles, expert_batches, strict=True)
        ]
        if observe is not None:
            observe(feeds)
        present = np.stack([present_rows(feeds, modality) for modality in modalities], 1)
        numbers = np.arange(first, first + len(present))
        first += len(present)
        for subset, found in parts.items():
            kept = np.array([subset is None or m in subset for m in modalities])
            rows = np.asarray(present.any(1) if subset is None else present[:, kept].all(1))
            if not rows.any():
                continue
            hidden = [m for m in modalities if subset and m not in subset]
            names = (
                "+".join(m for m, has in zip(modalities, row, strict=True) if has)
                for row in present[rows] & kept
            )
            outputs = run_heads(bundle, [_hide(feed, hidden, rows) for feed in feeds])
            found.append(BundleOutputs(outputs, numbers[rows], tuple(names)))
    return {subset: _concatenate(found) for subset, found in parts.items() if found}


def _concatenate(parts: Sequence[BundleOutputs]) -> BundleOutputs:
    return BundleOutputs(
        {name: np.concatenate([p.outputs[name] for p in parts]) for name in parts[0].outputs},
        np.concatenate([part.samples for part in parts]),
        tuple(name for part in parts for name in part.modalities),
    )


def run_heads(bundle: Bundle, feeds: HeadFeeds) -> dict[str, Array]:
    """The bundle's outputs for the feeds of each expert's head, any number of rows."""
    outputs = [
        _run(expert, "fusion", feed)
        for expert, feed in zip(bundle.member_bundles, feeds, strict=True)
    ]
    if not bundle.members:
        return outputs[0]
    present = [
        np.any([present_rows([feed], m) for m in expert.modalities], axis=0)
        for expert, feed in zip(bundle.member_bundles, feeds, strict=True)
    ]
    mask = np.stack(present, 1)
    logits = np.stack([found["logits"] for found in outputs], 1).astype(np.float32)
    # A member without any of its modalities counts nothing, as in serving.
    return _run(bundle, "fusion", {"members": logits * mask[..., None], "mask": mask})


def present_rows(feeds: HeadFeeds, modality: str) -> NDArray[np.bool_]:
    """Which rows (n,) have something of a modality, for one of the heads or more."""
    masks = [feed[f"{modality}_mask"].any(1) for feed in feeds if modality in feed]
    return np.asarray(np.any(masks, axis=0), np.bool_)


def _hide(
    feed: Mapping[str, Array], modalities: Sequence[str], rows: NDArray[np.bool_]
) -> dict[str, Array]:
    """`rows` of a head's feed with these modalities absent: zeros, and masks that are all false."""
    hidden = {name for modality in modalities for name in (modality, f"{modality}_mask")}
    return {
        name: np.zeros_like(part[rows]) if name in hidden else part[rows]
        for name, part in feed.items()
    }


def _run(bundle: Bundle, role: str, feeds: Mapping[str, Array]) -> dict[str, Array]:
    """An engine over any number of rows, in the batch sizes that serving uses."""
    rows = run_in_batches(bundle.engines[role], feeds, len(next(iter(feeds.values()))))
    return {name: np.stack([row[name] for row in rows]) for name in rows[0]}


def _head_feeds(bundle: Bundle, batch: Batch) -> dict[str, Array]:
    """The inputs of the head of a bundle without members."""
    head = bundle.engines["fusion"].inputs
    count = len(next(iter(batch.values())))
    feeds: dict[str, Array] = {}
    for modality in bundle.modalities:
        _, steps, width = (int(n) if isinstance(n, int) else 0 for n in head[modality].shape)
        sequence = np.zeros((count, steps, width), np.float32)
        mask = np.zeros((count, steps), np.bool_)
        if f"{modality}_mask" in batch:
            _encode(bundle, modality, batch, sequence, mask)
        feeds |= {modality: sequence, f"{modality}_mask": mask}
    if "metadata" in head:
        width = int(head["metadata"].shape[1])
        numbers, known = np.zeros((count, width), np.float32), np.zeros((count, width), np.bool_)
        if "metadata" in batch:
            known = batch["metadata_mask"].numpy()
            numbers = batch["metadata"].numpy() * known
        feeds |= {"metadata": numbers, "metadata_mask": known}
    return feeds


def _encode(bundle: Bundle, modality: str, batch: Batch, sequence: Array, mask: Array) -> None:
    """Fill in the embeddings of one modality, `sequence` (N, T, D) and `mask` (N, T)."""
    present = batch[f"{modality}_mask"].numpy()
    if modality == "video":
        if present.any():
            pixels = batch["pixels"].numpy()[present]
            frames = sequence[:, : present.shape[1]]
            frames[present] = _run(bundle, "face_encoder", {"pixels": pixels})["embedding"]
        mask[:, : present.shape[1]] = present
        return
    rows = present[:, 0]
    if not rows.any():
        return
    feeds = {name: batch[key].numpy()[rows] for name, key in _FEEDS[modality].items()}
    found = _run(bundle, ENCODER_ROLES[modality], feeds)["embedding"]
    sequence[rows] = found.reshape(len(found), *sequence.shape[1:])
    mask[rows] = feeds["mask"] if modality == "text" and sequence.shape[1] > 1 else True
