"""What a bundle says of prepared samples, through its own engines as they will run."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from itertools import combinations
from typing import Any

import numpy as np
from numpy.typing import NDArray

from affectstream.engines.bundle.bundle import ENCODERS, Bundle
from affectstream.engines.spec import SLOTS, Array, padded, slot
from affectstream.train.recipe import Batch

_FEEDS = {"voice": {"samples": "samples"}, "text": {"ids": "ids", "mask": "tokens_mask"}}


@dataclass(slots=True)
class BundleOutputs:
    """What was said, one row a sample: each output by name, and which samples those are."""

    outputs: dict[str, NDArray[Any]]
    samples: NDArray[np.int64]
    modalities: tuple[str, ...]
    """Of each sample, those that were there, as a manifest's calibration names them: ``video+text``."""


@dataclass(slots=True)
class _Gathered:
    outputs: dict[str, list[Array]] = field(default_factory=dict)
    samples: list[Array] = field(default_factory=list)
    modalities: list[str] = field(default_factory=list)

    def add(self, outputs: Mapping[str, Array], samples: Array, modalities: Sequence[str]) -> None:
        for name, part in outputs.items():
            self.outputs.setdefault(name, []).append(part)
        self.samples.append(samples)
        self.modalities += modalities


def subsets(modalities: Sequence[str]) -> list[tuple[str, ...]]:
    """Every choice of one modality or more, the largest first."""
    sizes = range(len(modalities), 0, -1)
    return [chosen for size in sizes for chosen in combinations(modalities, size)]


def bundle_outputs(
    bundle: Bundle, *batches: Iterable[Batch], missing: bool
) -> dict[tuple[str, ...] | None, BundleOutputs]:
    """What the bundle says of the samples of `batches` as they are (None).

    There is one sequence of batches for each of the bundle's experts (itself, or its members), of the same
    samples in batches of the same size. With `missing` also for each of `subsets` of its modalities, of the
    samples that have all of it and with the others hidden.
    """
    modalities = bundle.modalities
    gathered: dict[tuple[str, ...] | None, _Gathered] = {None: _Gathered()}
    if missing:
        gathered |= {subset: _Gathered() for subset in subsets(modalities)}
    first = 0
    for shown in zip(*batches, strict=True):
        feeds = [
            dict(_head_feeds(expert, batch))
            for expert, batch in zip(bundle.experts, shown, strict=True)
        ]
        there = np.stack([_having(feeds, modality) for modality in modalities], 1)
        numbers = np.arange(first, first + len(there))
        first += len(there)
        for subset, found in gathered.items():
            wanted = np.array([subset is None or m in subset for m in modalities])
            rows = there.any(1) if subset is None else there[:, wanted].all(1)
            if rows.any():
                gone = [m for m in modalities if subset and m not in subset]
                of_rows = [
                    {name: part[rows] for name, part in _hidden(one, gone).items()} for one in feeds
                ]
                names = [
                    "+".join(m for m, has in zip(modalities, row, strict=True) if has)
                    for row in there[rows] & wanted
                ]
                found.add(said(bundle, of_rows), numbers[rows], names)
    return {
        subset: BundleOutputs(
            {name: np.concatenate(parts) for name, parts in found.outputs.items()},
            np.concatenate(found.samples),
            tuple(found.modalities),
        )
        for subset, found in gathered.items()
        if found.samples
    }


def said(bundle: Bundle, feeds: Sequence[Mapping[str, Array]]) -> dict[str, Array]:
    """The outputs of a bundle for what the head of each of its experts is fed, any number of rows."""
    outputs = [
        _run(expert, "fusion", one) for expert, one in zip(bundle.experts, feeds, strict=True)
    ]
    if not bundle.members:
        return outputs[0]
    present = [
        np.any([_having([one], m) for m in expert.modalities], axis=0)
        for expert, one in zip(bundle.experts, feeds, strict=True)
    ]
    mask = np.stack(present, 1)
    logits = np.stack([found["logits"] for found in outputs], 1).astype(np.float32)
    # A member with nothing to go by says nothing, as in serving.
    return _run(bundle, "fusion", {"members": logits * mask[..., None], "mask": mask})


def _having(feeds: Sequence[Mapping[str, Array]], modality: str) -> NDArray[np.bool_]:
    """Which rows (n,) have something of a modality, for one of the heads or more."""
    masks = [one[f"{modality}_mask"].any(1) for one in feeds if modality in one]
    return np.asarray(np.any(masks, axis=0), np.bool_)


def _run(bundle: Bundle, role: str, feeds: Mapping[str, Array]) -> dict[str, Array]:
    """An engine over any number of rows, in the batch sizes that serving uses."""
    rows, found = len(next(iter(feeds.values()))), []
    for start in range(0, rows, SLOTS[-1]):
        parts = {name: array[start : start + SLOTS[-1]] for name, array in feeds.items()}
        count = len(next(iter(parts.values())))
        size = slot(count)
        out = bundle.engines[role].run({name: padded(part, size) for name, part in parts.items()})
        found.append({name: part[:count] for name, part in out.items()})
    return {name: np.concatenate([part[name] for part in found]) for name in found[0]}


def _head_feeds(bundle: Bundle, batch: Batch) -> Iterator[tuple[str, Array]]:
    """What the head of a plain bundle is fed for a batch."""
    head = bundle.engines["fusion"].inputs
    count = len(next(iter(batch.values())))
    for modality in bundle.modalities:
        _, steps, width = (int(n) if isinstance(n, int) else 0 for n in head[modality].shape)
        sequence = np.zeros((count, steps, width), np.float32)
        mask = np.zeros((count, steps), np.bool_)
        if f"{modality}_mask" in batch:
            _encode(bundle, modality, batch, sequence, mask)
        yield modality, sequence
        yield f"{modality}_mask", mask
    if "metadata" in head:
        facts = int(head["metadata"].shape[1])
        numbers, known = batch.get("metadata"), batch.get("metadata_mask")
        yield (
            "metadata",
            (
                np.zeros((count, facts), np.float32)
                if numbers is None or known is None
                else (numbers * known).numpy()
            ),
        )
        yield (
            "metadata_mask",
            np.zeros((count, facts), np.bool_) if known is None else known.numpy(),
        )


def _encode(bundle: Bundle, modality: str, batch: Batch, sequence: Array, mask: Array) -> None:
    """Fill in the embeddings of one modality, `sequence` (N, T, D) and `mask` (N, T)."""
    there = batch[f"{modality}_mask"].numpy()
    if modality == "video":
        if there.any():
            pixels = batch["pixels"].numpy()[there]
            shown = sequence[:, : there.shape[1]]
            shown[there] = _run(bundle, "face_encoder", {"pixels": pixels})["embedding"]
        mask[:, : there.shape[1]] = there
        return
    rows = there[:, 0]
    if not rows.any():
        return
    feeds = {name: batch[key].numpy()[rows] for name, key in _FEEDS[modality].items()}
    found = _run(bundle, ENCODERS[modality], feeds)["embedding"]
    sequence[rows] = found.reshape(len(found), *sequence.shape[1:])
    steps = sequence.shape[1]
    mask[rows] = feeds["mask"] if modality == "text" and steps > 1 else True


def _hidden(feeds: Mapping[str, Array], modalities: Sequence[str]) -> dict[str, Array]:
    """`feeds` with these modalities absent: zeros under a mask that is all false."""
    gone = {name for modality in modalities for name in (modality, f"{modality}_mask")}
    return {name: np.zeros_like(part) if name in gone else part for name, part in feeds.items()}
