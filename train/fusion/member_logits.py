"""What frozen members say of a prepared data set: asked once through their engines, then kept.

Late fusion learns from these alone, so an epoch costs next to nothing and a study of many trials asks
nobody again.
"""

from __future__ import annotations

import hashlib
import os
import sys
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from affectstream.engines.bundle.bundle import MODALITIES, Bundle
from affectstream.engines.bundle.folder import Member
from affectstream.engines.errors import BundleError
from affectstream.train.data.dataset import Dataset, DatasetInfo, read_info
from affectstream.train.errors import DataError, RunError
from affectstream.train.fusion.members import identity
from affectstream.train.loader.batches import ValidBatches, valid_batch_size
from affectstream.train.loader.samples import (
    AugmentState,
    Samples,
    has_modality,
    open_for,
    usable_rows,
)
from affectstream.train.predict.bundle_outputs import BundleOutputs, bundle_outputs
from affectstream.train.predict.prepared import check_crops, check_labels, view_of
from affectstream.train.recipe import Batch
from affectstream.train.tasks import Task

FORMAT = 2
"""Of the files that keep it."""


@dataclass(frozen=True, slots=True, eq=False)
class MemberLogits:
    """Samples of which one member or more had something to say, as `batches.Sampled` has them."""

    logits: Tensor
    """(n, M, C) float32, for a uniform prior; zeros where a member said nothing."""
    mask: Tensor
    """(n, M) bool: which members had anything to go by."""
    truth: Tensor
    """(n,) int64, the number of the label."""
    rows: Tensor
    """(n,) int64: which of `rows_for` they are."""

    def __len__(self) -> int:
        return len(self.truth)

    def batch(self, picked: Sequence[int], training: AugmentState | None = None) -> Batch:
        """``members (N, M, C)``, ``mask (N, M)`` and ``emotion (N,)`` of samples `picked`; with `training`
        some members are hidden."""
        which = list(picked)
        mask = self.mask[which]
        if training is not None:
            mask = hide(mask, training)
        members = self.logits[which] * mask.unsqueeze(2)
        return {"members": members, "mask": mask, "emotion": self.truth[which]}


def hide(mask: Tensor, training: AugmentState) -> Tensor:
    """`mask` (N, M) without the members that modality dropout hides, of each sample never all that it has."""
    dice = torch.rand(mask.shape, generator=training.generator)
    left = mask & (dice >= training.modality_dropout)
    best = torch.where(mask, dice, -1.0).argmax(1, keepdim=True)
    stays = mask & torch.zeros_like(mask).scatter(1, best, value=True)
    return torch.where(left.any(1, keepdim=True), left, stays)


def rows_for(members: Sequence[Member], dataset: Dataset, split: str | None) -> NDArray[np.int64]:
    """Rows of `split` that are labelled and of which a member can be shown something.

    Raises `DataError` where there are none, a member has nothing to go by in any of them, or their emotions
    are none that the members know.
    """
    takes = {member.name: modalities_of(member) for member in members}
    everything = {m for own in takes.values() for m in own}
    labelled = dataset.rows_of(split, task="emotion")
    there: list[str] = [m for m in MODALITIES if m in everything]
    shown = {m: bool(has_modality(dataset, m)[labelled].any()) for m in there}
    for name, own in takes.items():
        if not any(shown[m] for m in own):
            raise DataError(
                f"data set {dataset.info.name!r} has nothing for member {name!r} in split "
                f"{split or 'any'}: it takes {' or '.join(own)}"
            )
    rows = usable_rows(dataset, split, [m for m in there if shown[m]], ["emotion"])
    check_labels("every member", members[0].manifest.labels, dataset, rows)
    return rows


def modalities_of(member: Member) -> tuple[str, ...]:
    """What a member takes, by its manifest."""
    engines = member.manifest.engines
    by_role = {
        "video": engines.face_encoder,
        "voice": engines.voice_encoder,
        "text": engines.text_encoder,
    }
    return tuple(name for name, part in by_role.items() if part is not None)


def predict_members(
    name: str, folder: Path, dataset: Dataset, rows: NDArray[np.int64], task: Task
) -> BundleOutputs:
    """What the bundle in `folder`, which messages call `name`, says of those of `rows` that have something
    for it; `BundleOutputs.samples` are numbers among `rows`.

    Raises `BundleError` where it has no logits, `DataError` for pictures cut in another way.
    """
    with Bundle.open(folder) as bundle:
        if "logits" not in bundle.engines["fusion"].outputs:
            raise BundleError(f"{name} has a head without logits: only emotions can be fused")
        there = [m for m in bundle.modalities if has_modality(dataset, m)[rows].any()]
        if "video" in there:
            check_crops(bundle.experts, dataset)
        shown = [
            Samples(
                dataset,
                rows,
                replace(v, modalities=tuple(m for m in v.modalities if m in there)),
                (task,),
            )
            for v in map(view_of, bundle.experts)
        ]
        size = min(map(valid_batch_size, shown))
        found = bundle_outputs(bundle, *(ValidBatches(s, size=size) for s in shown), missing=False)
    if None not in found:
        raise DataError(
            f"{name} has nothing to go by in data set {dataset.info.name!r}: every sample of "
            f"{' or '.join(there)} is empty"
        )
    return found[None]


def member_logits(members: Sequence[Member], data: Path, split: str, keep: Path) -> MemberLogits:
    """What `members` say of `split` of the data set in `data`, from a file in `keep` where it was asked
    before.

    Raises as `rows_for` and `predict_members`, and `RunError` for a file that cannot be read.
    """
    path = keep / f"{split}-{_key(members, read_info(data), split)}.npz"
    if not path.is_file():
        _write(path, _asked(members, data, split))
    try:
        with np.load(path, allow_pickle=False) as file:
            parts = [torch.from_numpy(file[name]) for name in ("logits", "mask", "truth", "rows")]
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise RunError(f"{path} cannot be read ({error}): delete it") from error
    return MemberLogits(*parts)


def _asked(members: Sequence[Member], data: Path, split: str) -> MemberLogits:
    dataset = open_for(data, sorted({m for member in members for m in modalities_of(member)}))
    rows, task = rows_for(members, dataset, split), Task("emotion", members[0].manifest.labels)
    logits = np.zeros((len(rows), len(members), len(task.labels)), np.float32)
    mask = np.zeros((len(rows), len(members)), np.bool_)
    for number, member in enumerate(members):
        print(
            f"asking {member.name} about {len(rows)} samples of split {split}",
            file=sys.stderr,
            flush=True,
        )
        said = predict_members(f"member {member.name!r}", member.folder, dataset, rows, task)
        logits[said.samples, number] = said.outputs["logits"]
        mask[said.samples, number] = True
    heard = np.flatnonzero(mask.any(1))
    truth = task.targets(dataset).numpy()[rows]
    kept = (logits[heard], mask[heard], truth[heard], heard)
    return MemberLogits(*map(torch.from_numpy, kept))


def _key(members: Sequence[Member], info: DatasetInfo, split: str) -> str:
    parts = [str(FORMAT), split, info.content_sha256, info.split_sha256]
    parts += [identity(member.folder) for member in members]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()[:16]


def _write(path: Path, found: MemberLogits) -> None:
    """Beside first: several trials may ask at once."""
    path.parent.mkdir(parents=True, exist_ok=True)
    beside = path.with_suffix(f".{os.getpid()}.tmp")
    with beside.open("wb") as file:
        np.savez(
            file,
            logits=found.logits.numpy(),
            mask=found.mask.numpy(),
            truth=found.truth.numpy(),
            rows=found.rows.numpy(),
        )
    beside.replace(path)
