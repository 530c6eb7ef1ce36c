"""Samples of a prepared data set as `Network.encode` takes them, with the truth of every task."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from affectstream.stream.media.types import SAMPLE_RATE
from affectstream.train.data.dataset import Dataset
from affectstream.train.data.sample import decode_audio
from affectstream.train.errors import DataError
from affectstream.train.loader import pictures, words
from affectstream.train.loader.speaker_features import speaker_features
from affectstream.train.loader.window_spec import (
    WindowSpec,
    cut_sound,
    evaluation_start,
    random_start,
)
from affectstream.train.tasks import Task, labeled_rows

HEAVY_OF = {"video": "crops", "voice": "audio"}
"""The heavy column that holds a modality."""
_COLUMNS = {"video": "crop_times_us", "voice": "audio_samples", "text": "text"}
"""The light column that says whether a row has it."""
_NEEDED = {
    "video": "pictures, prepared with '--crop face', '--crop person' or '--crop frame'",
    "voice": "sound",
    "text": "text",
}


def open_for(data: Path, modalities: Sequence[str]) -> Dataset:
    """The data set in `data`, of which no more is read than the modalities need."""
    return Dataset(data, large=tuple(HEAVY_OF[name] for name in modalities if name in HEAVY_OF))


def has_modality(dataset: Dataset, modality: str) -> NDArray[np.bool_]:
    """Which rows (n,) have something of a modality."""
    values = dataset.column(_COLUMNS[modality])
    if modality == "voice":
        return np.nan_to_num(np.asarray([value or 0 for value in values], np.float64)) > 0
    return np.asarray([value is not None and len(value) > 0 for value in values], bool)


def usable_rows(
    dataset: Dataset, split: str | None, modalities: Sequence[str], tasks: Sequence[str]
) -> NDArray[np.int64]:
    """Rows of `split` (None: of all) with a label for one of the tasks and one of the modalities or more.

    Raises `DataError` where there are none, or where none at all has one of the modalities.
    """
    rows = dataset.rows_of(split)
    rows = rows[labeled_rows(tasks, dataset)[rows]]
    name, wanted = dataset.info.name, " or ".join(tasks)
    if not rows.size:
        counts = ", ".join(f"{k} {v}" for k, v in dataset.info.splits.items())
        have = ", ".join(f"{k} {v}" for k, v in dataset.info.tasks.items()) or "none"
        raise DataError(
            f"data set {name!r} has no samples for split {split} and task {wanted}; rows by split: "
            f"{counts}; by task: {have}"
        )
    shown = {modality: has_modality(dataset, modality)[rows] for modality in modalities}
    if lacking := [modality for modality in modalities if not shown[modality].any()]:
        raise DataError(
            f"data set {name!r}: none of the {len(rows)} samples of split {split} that are labelled "
            f"for {wanted} has {' or '.join(lacking)}; the recipe needs "
            f"{' and '.join(_NEEDED[modality] for modality in lacking)}"
        )
    return rows[np.any(list(shown.values()), axis=0)]


@dataclass(frozen=True, slots=True)
class AugmentState:
    """The random choices of one training batch: where they come from, and which are made."""

    generator: torch.Generator
    augment: bool
    modality_dropout: float


class Samples:
    """Some rows of a data set, shown as a `WindowSpec` says. May be pickled to another process."""

    def __init__(
        self, dataset: Dataset, rows: NDArray[np.int64], shown: WindowSpec, tasks: Sequence[Task]
    ) -> None:
        self.rows, self.window = rows, shown
        self.dataset = dataset
        self.truth = {task.name: task.targets(dataset)[torch.from_numpy(rows)] for task in tasks}
        self._tokens: tuple[NDArray[np.int64], NDArray[np.bool_]] | None = None
        if "text" in shown.modalities:
            lines = words.joined_texts(dataset, shown.context)
            self._tokens = words.tokenize(
                shown.tokenizer,
                [lines[row] for row in rows],
                shown.tokens,
                joined=shown.context > 0,
            )
        self._facts: tuple[NDArray[np.float32], NDArray[np.bool_]] | None = None
        if shown.metadata:
            numbers, known = speaker_features(dataset, shown.metadata)
            self._facts = numbers[rows], known[rows]

    def __len__(self) -> int:
        return len(self.rows)

    def max_pictures(self) -> int:
        """The most pictures that there is room for in each sample of a batch."""
        if "video" not in self.window.modalities:
            return 0
        if not self.window.one_frame:
            return self.window.frames
        times = self.dataset.column(_COLUMNS["video"])[self.rows]
        return min(self.window.frames, max((len(t) for t in times if t is not None), default=1))

    def batch(
        self, picked: Sequence[int], training: AugmentState | None = None
    ) -> dict[str, Tensor]:
        """Samples `picked`, numbers among these rows: as training sees them where `training` is given, else
        as they are judged."""
        which = list(picked)
        out: dict[str, Tensor] = {name: truth[which] for name, truth in self.truth.items()}
        if set(self.window.modalities) & set(HEAVY_OF):
            rows = [self.dataset.row(int(self.rows[i])) for i in which]
            out |= self._seen_and_heard(rows, training)
        if self._tokens is not None:
            ids, mask = (torch.from_numpy(part[which]) for part in self._tokens)
            out |= {"ids": ids, "tokens_mask": mask, "text_mask": mask.any(1, keepdim=True)}
        if self._facts is not None:
            numbers, known = (torch.from_numpy(part[which]) for part in self._facts)
            out |= {"metadata": numbers, "metadata_mask": known}
        if training is not None and len(self.window.modalities) > 1:
            drop_modalities(out, self.window.modalities, training)
        return out

    def _seen_and_heard(
        self, rows: Sequence[dict[str, Any]], training: AugmentState | None
    ) -> dict[str, Tensor]:
        places: list[float | None] = [None] * len(rows)
        if training is not None:
            places = list(torch.rand(len(rows), generator=training.generator).tolist())
        heard = "voice" in self.window.modalities
        sounds = [decode_audio(row["audio"]) if heard and row["audio"] else None for row in rows]
        moved = training is not None and training.augment
        starts = [
            self._start(row, sound, place if moved else None)
            for row, sound, place in zip(rows, sounds, places, strict=True)
        ]
        out: dict[str, Tensor] = {}
        if "video" in self.window.modalities:
            out |= self._seen(rows, starts, places, training)
        if heard:
            out |= self._heard(sounds, starts, training)
        return out

    def _start(
        self, row: dict[str, Any], sound: NDArray[np.float32] | None, place: float | None
    ) -> int:
        """Where the window begins, in microseconds from the start of the sample."""
        window_us, step_us = self.window.window_us, 1_000_000 // self.window.frame_hz
        lengths = [time_us + step_us for time_us in (row["crop_times_us"] or [])[-1:]]
        lengths += [(row["audio_samples"] or 0) * 1_000_000 // SAMPLE_RATE]
        if row["start_us"] is not None and row["end_us"] is not None:
            lengths += [row["end_us"] - row["start_us"]]
        if place is not None:
            return random_start(max(lengths), window_us, place)
        return evaluation_start(max(lengths), window_us, sound)

    def _points(self, row: dict[str, Any], start_us: int, place: float | None) -> dict[int, int]:
        """Which picture of a row stands at which step: {step: number}."""
        times = row["crop_times_us"] or []
        if not self.window.one_frame:
            return pictures.pictures_on_grid(
                times, start_us, self.window.frames, self.window.frame_hz
            )
        if not times:
            return {}
        if place is not None:
            return {0: min(int(place * len(times)), len(times) - 1)}
        return dict(enumerate(pictures.pick_evenly(len(times), self.window.frames)))

    def _seen(
        self,
        rows: Sequence[dict[str, Any]],
        starts: Sequence[int],
        places: Sequence[float | None],
        training: AugmentState | None,
    ) -> dict[str, Tensor]:
        points = [
            self._points(row, start, place)
            for row, start, place in zip(rows, starts, places, strict=True)
        ]
        size = self.window.size
        steps = max(map(len, points)) if self.window.one_frame else self.window.frames
        mask = torch.zeros(len(rows), max(1, steps), dtype=torch.bool)
        pixels = torch.zeros(*mask.shape, size, size, 3, dtype=torch.uint8)
        cut_out: list[NDArray[np.uint8]] = []
        for number, (row, found) in enumerate(zip(rows, points, strict=True)):
            mask[number, sorted(found)] = True
            picked, blobs = [found[p] for p in sorted(found)], row["crops"] or []
            cut_out += pictures.decode_pictures(blobs, picked, size, self.window.tone)
        if cut_out:
            packed = torch.from_numpy(np.stack(cut_out))
            if training is not None and training.augment:
                owner = mask.nonzero()[:, 0]
                changed = pictures.augment(packed.float(), owner, training.generator)
                packed = changed.round().to(torch.uint8)
            pixels[mask] = packed
        return {"pixels": pixels, "video_mask": mask}

    def _heard(
        self,
        sounds: Sequence[NDArray[np.float32] | None],
        starts: Sequence[int],
        training: AugmentState | None,
    ) -> dict[str, Tensor]:
        none = np.zeros(0, np.float32)
        windows = [
            cut_sound(none if sound is None else sound, start, self.window.samples)
            for sound, start in zip(sounds, starts, strict=True)
        ]
        samples = torch.from_numpy(np.stack(windows))
        mask = samples.ne(0.0).any(1, keepdim=True)
        if training is not None and training.augment and mask.any():
            from affectstream.train.loader import augment_sound

            there = mask[:, 0]
            samples[there] = augment_sound.augment(samples[there], training.generator)
        return {"samples": samples, "voice_mask": mask}


def drop_modalities(
    batch: dict[str, Tensor], modalities: Sequence[str], training: AugmentState
) -> None:
    """Mask each modality of each sample, and its metadata, with probability `training.modality_dropout`.

    A sample keeps at least one of its modalities. Only masks change.
    """
    names = [*modalities, *(["metadata"] if "metadata_mask" in batch else [])]
    count = len(batch[f"{names[0]}_mask"])
    dice = torch.rand(count, len(names), generator=training.generator)
    hidden = dice < training.modality_dropout
    there = torch.stack([batch[f"{m}_mask"].any(1) for m in modalities], 1)
    # Where nothing would be left, the one that was thrown highest stays.
    left = (there & ~hidden[:, : len(modalities)]).any(1)
    best = torch.where(there, dice[:, : len(modalities)], -1.0).argmax(1)
    hidden[torch.arange(count)[~left], best[~left]] = False
    for column, name in enumerate(names):
        batch[f"{name}_mask"] = batch[f"{name}_mask"] & ~hidden[:, column : column + 1]
