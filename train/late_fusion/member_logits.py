"""The logits of frozen members for a prepared data set: computed once through their engines, then cached.

Late fusion learns from these alone: an epoch costs next to nothing, and trials of a study run no member.
"""

from __future__ import annotations

import hashlib
import io
import sys
import zipfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from affectstream.engines.bundle.bundle import Bundle
from affectstream.engines.bundle.folder import Member
from affectstream.engines.bundle.shapes import ENCODER_ROLES
from affectstream.engines.errors import BundleError
from affectstream.engines.labels import MODALITIES, Modality
from affectstream.train.data.dataset import Dataset, read_info
from affectstream.train.errors import DataError, RunError
from affectstream.train.files import write_atomically
from affectstream.train.fit.unseen import was_trained_on
from affectstream.train.late_fusion.members import fingerprint
from affectstream.train.loader.augment_state import AugmentState, keep_some
from affectstream.train.loader.rows import has_modality, open_for, usable_rows
from affectstream.train.predict.bundle_outputs import BundleOutputs, bundle_outputs
from affectstream.train.predict.bundle_samples import (
    check_labels,
    present_modalities,
    samples_of,
    valid_batches,
)
from affectstream.train.recipe import Batch
from affectstream.train.tasks import Task

FORMAT = 2
PARTS = ("logits", "mask", "truth", "rows")


@dataclass(frozen=True, slots=True, eq=False)
class MemberLogits:
    """The samples for which one member or more has logits (a `batches.Sampled`)."""

    logits: Tensor
    """(n, M, C) float32, for a uniform prior; zeros if a member has none of its modalities."""
    mask: Tensor
    """(n, M) bool: which members have one of their modalities."""
    truth: Tensor
    """(n,) int64 class numbers."""
    rows: Tensor
    """(n,) int64 numbers among `rows_for`."""

    def __len__(self) -> int:
        return len(self.truth)

    def move(self, device: torch.device) -> bool:
        """False: batches are made on the CPU."""
        return False

    def batch(self, picked: Sequence[int], training: AugmentState | None = None) -> Batch:
        """``members (N, M, C)``, ``mask (N, M)``, ``emotion (N,)``; `training` hides some members."""
        which = list(picked)
        mask = self.mask[which]
        if training is not None:
            mask = hide_members(mask, training)
        members = self.logits[which] * mask.unsqueeze(2)
        return {"members": members, "mask": mask, "emotion": self.truth[which]}


def hide_members(mask: Tensor, training: AugmentState) -> Tensor:
    """`mask` (N, M) with members hidden at random; one that is present always stays."""
    dice = torch.rand(mask.shape, generator=training.generator)
    return keep_some(mask, dice, training.config.modality_dropout)


def rows_for(members: Sequence[Member], dataset: Dataset, split: str | None) -> NDArray[np.int64]:
    """Rows of `split` that have an emotion and one modality or more of a member.

    Raises `DataError` if there are none, if none has anything for a member, or for emotions that it does not
    know.
    """
    takes = {member.name: modalities_of(member) for member in members}
    labeled = dataset.rows_of(split, task="emotion")
    all_modalities = [m for m in MODALITIES if any(m in own for own in takes.values())]
    present = [m for m in all_modalities if has_modality(dataset, m)[labeled].any()]
    for name, own in takes.items():
        if not set(own) & set(present):
            raise DataError(
                f"data set {dataset.info.name!r} has nothing for member {name!r} in split "
                f"{split or 'any'}: it takes {' or '.join(own)}"
            )
    rows = usable_rows(dataset, split, present, ["emotion"])
    check_labels("every member", members[0].manifest.labels, dataset, rows)
    return rows


def modalities_of(member: Member) -> tuple[Modality, ...]:
    """The modalities of a member, by its manifest."""
    engines = member.manifest.engines
    return tuple(m for m in MODALITIES if getattr(engines, ENCODER_ROLES[m]) is not None)


def predict_members(
    name: str, folder: Path, dataset: Dataset, rows: NDArray[np.int64], task: Task
) -> BundleOutputs:
    """The outputs of the bundle in `folder`, which messages call `name`, for those of `rows` that have one of
    its modalities; `BundleOutputs.samples` are numbers among `rows`. Raises `BundleError` for a bundle
    without logits, `DataError` for pictures that are cropped in another way."""
    with Bundle.open(folder) as bundle:
        if "logits" not in bundle.engines["fusion"].outputs:
            raise BundleError(f"{name} has a head without logits: only emotions can be fused")
        present = present_modalities(bundle, dataset, rows)
        samples = samples_of(bundle, dataset, rows, present, (task,))
        found = bundle_outputs(bundle, *valid_batches(samples), missing=False)
    if None not in found:
        raise DataError(
            f"{name} can use nothing of data set {dataset.info.name!r}: every sample of "
            f"{' or '.join(present)} is empty"
        )
    return found[None]


def member_logits(members: Sequence[Member], data: Path, split: str, cache: Path) -> MemberLogits:
    """The logits of `members` for `split` of the data set in `data`, from the folder `cache` if they are
    there.

    Raises as `rows_for` and `predict_members`, and `RunError` for a cache file that cannot be read.
    """
    info = read_info(data)
    made_of = [str(FORMAT), split, info.content_sha256, info.split_sha256]
    made_of += [fingerprint(member.folder) for member in members]
    key = hashlib.sha256("\n".join(made_of).encode()).hexdigest()[:16]
    path = cache / f"{split}-{key}.npz"
    if not path.is_file():
        found, content = _compute(members, data, split), io.BytesIO()
        np.savez(content, **{name: getattr(found, name).numpy() for name in PARTS})  # type: ignore[arg-type]
        path.parent.mkdir(parents=True, exist_ok=True)
        write_atomically(path, content.getvalue())
    try:
        with np.load(path, allow_pickle=False) as file:
            parts = [torch.from_numpy(file[name]) for name in PARTS]
    except (OSError, ValueError, KeyError, zipfile.BadZipFile) as error:
        raise RunError(f"{path} cannot be read ({error}): delete it") from error
    return MemberLogits(*parts)


def _compute(members: Sequence[Member], data: Path, split: str) -> MemberLogits:
    dataset = open_for(data, sorted({m for member in members for m in modalities_of(member)}))
    rows, task = rows_for(members, dataset, split), Task("emotion", members[0].manifest.labels)
    logits = np.zeros((len(rows), len(members), len(task.labels)), np.float32)
    mask = np.zeros((len(rows), len(members)), np.bool_)
    for number, member in enumerate(members):
        notes = [f"running {member.name} on {len(rows)} samples of split {split}"]
        if split == "train" and was_trained_on(member.folder, data):
            notes.append(
                f"{member.name} was trained on these samples, which it predicts better than new ones: its "
                "weight may become too large"
            )
        print(*notes, sep="\n", file=sys.stderr, flush=True)
        found = predict_members(f"member {member.name!r}", member.folder, dataset, rows, task)
        logits[found.samples, number] = found.outputs["logits"]
        mask[found.samples, number] = True
    usable = np.flatnonzero(mask.any(1))
    truth = task.targets(dataset).numpy()[rows]
    parts = (logits[usable], mask[usable], truth[usable], usable)
    return MemberLogits(*map(torch.from_numpy, parts))
