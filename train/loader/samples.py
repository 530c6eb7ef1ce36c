"""Samples of a prepared data set as `Network.encode` takes them, with the targets of every task."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from affectstream.engines.labels import Modality
from affectstream.stream.faces.crop import apply_tone
from affectstream.stream.media.types import SAMPLE_RATE
from affectstream.train.data.dataset import Dataset
from affectstream.train.data.sample import decode_audio, decode_crop
from affectstream.train.errors import DataError
from affectstream.train.loader import augment_sound, pictures
from affectstream.train.loader.dialogues import joined_texts, speaker_features, tokenize
from affectstream.train.loader.window_spec import (
    WindowSpec,
    cut_sound,
    evaluation_start,
    random_start,
)
from affectstream.train.tasks import Task, labeled_rows

LARGE_COLUMN_OF = {"video": "crops", "voice": "audio"}
"""The large column that holds a modality."""
_COLUMN_OF = {"video": "crop_times_us", "voice": "audio_samples", "text": "text"}
"""The small column that tells whether a row has a modality."""
_NEEDED = {
    "video": "pictures, prepared with '--crop face', '--crop person' or '--crop frame'",
    "voice": "sound",
    "text": "text",
}


def open_for(data: Path, modalities: Sequence[Modality]) -> Dataset:
    """The data set in `data`; of its large columns only those of `modalities` are read."""
    return Dataset(data, large=[LARGE_COLUMN_OF[m] for m in modalities if m in LARGE_COLUMN_OF])


def has_modality(dataset: Dataset, modality: Modality) -> NDArray[np.bool_]:
    """Which rows (n,) have pictures, sound or text."""
    values = dataset.column(_COLUMN_OF[modality])
    if modality == "voice":
        return np.asarray([bool(count) for count in values], bool)
    return np.asarray([value is not None and len(value) > 0 for value in values], bool)


def usable_rows(
    dataset: Dataset, split: str | None, modalities: Sequence[Modality], tasks: Sequence[str]
) -> NDArray[np.int64]:
    """Rows of `split` (None: of all) with a label for at least one task and at least one modality.

    Raises `DataError` if there are none, or if no row has one of the modalities.
    """
    rows = dataset.rows_of(split)
    rows = rows[labeled_rows(tasks, dataset)[rows]]
    if not rows.size:
        raise dataset.no_samples(split, f" and task {' or '.join(tasks)}")
    found = {modality: has_modality(dataset, modality)[rows] for modality in modalities}
    if lacking := [modality for modality in modalities if not found[modality].any()]:
        raise DataError(
            f"data set {dataset.info.name!r}: none of the {len(rows)} samples of split {split} that "
            f"are labeled for {' or '.join(tasks)} has {' or '.join(lacking)}; the recipe needs "
            f"{' and '.join(_NEEDED[modality] for modality in lacking)}"
        )
    return rows[np.any(list(found.values()), axis=0)]


@dataclass(frozen=True, slots=True)
class AugmentState:
    """The random choices of one training batch: where they come from, and which are made."""

    generator: torch.Generator
    augment: bool
    modality_dropout: float


class Samples:
    """Some rows of a data set, cut as a `WindowSpec` says. Can be pickled to another process."""

    def __init__(
        self, dataset: Dataset, rows: NDArray[np.int64], window: WindowSpec, tasks: Sequence[Task]
    ) -> None:
        self.dataset, self.rows, self.window = dataset, rows, window
        self.truth = {task.name: task.targets(dataset)[torch.from_numpy(rows)] for task in tasks}
        self._small: dict[str, Tensor] = {}
        """What is small enough to be kept for all rows: tokens, speaker features, and their masks."""
        if "text" in window.modalities:
            texts = joined_texts(dataset, window.context)
            lines, joined = [texts[row] for row in rows], window.context > 0
            ids, mask = tokenize(window.tokenizer, lines, window.tokens, joined=joined)
            self._small |= {"ids": torch.from_numpy(ids), "tokens_mask": torch.from_numpy(mask)}
            self._small["text_mask"] = self._small["tokens_mask"].any(1, keepdim=True)
        if window.metadata:
            values, known = speaker_features(dataset, window.metadata)
            self._small["metadata"] = torch.from_numpy(values[rows])
            self._small["metadata_mask"] = torch.from_numpy(known[rows])

    def __len__(self) -> int:
        return len(self.rows)

    def max_pictures(self) -> int:
        """The number of picture slots that a batch has for each sample."""
        if "video" not in self.window.modalities:
            return 0
        if not self.window.one_frame:
            return self.window.frames
        times = self.dataset.column(_COLUMN_OF["video"])[self.rows]
        return min(self.window.frames, max((len(t) for t in times if t is not None), default=1))

    def batch(
        self, picked: Sequence[int], training: AugmentState | None = None
    ) -> dict[str, Tensor]:
        """Samples `picked`, by their number here: for training with `training`, else for evaluation.

        The keys are those of `Network.encode`, each with its mask, and the tasks.
        """
        which = list(picked)
        batch: dict[str, Tensor] = {name: truth[which] for name, truth in self.truth.items()}
        if set(self.window.modalities) & set(LARGE_COLUMN_OF):
            batch |= self._pictures_and_sound([int(self.rows[i]) for i in which], training)
        batch |= {name: part[which] for name, part in self._small.items()}
        if training is not None and len(self.window.modalities) > 1:
            drop_modalities(batch, self.window.modalities, training)
        return batch

    def _pictures_and_sound(
        self, numbers: Sequence[int], training: AugmentState | None
    ) -> dict[str, Tensor]:
        rows = [self.dataset.row(number) for number in numbers]
        positions: list[float | None] = [None] * len(rows)
        if training is not None:
            positions = list(torch.rand(len(rows), generator=training.generator).tolist())
        augmented = training if training is not None and training.augment else None
        voice = "voice" in self.window.modalities
        sounds = [decode_audio(row["audio"] if voice and row["audio"] else b"") for row in rows]
        starts = [
            self._start_us(row, sound, position if augmented else None)
            for row, sound, position in zip(rows, sounds, positions, strict=True)
        ]
        batch: dict[str, Tensor] = {}
        if "video" in self.window.modalities:
            points = [
                self._points(row, start, position)
                for row, start, position in zip(rows, starts, positions, strict=True)
            ]
            batch |= self._pictures(rows, points, augmented)
        if voice:
            windows = [
                cut_sound(sound, start, self.window.samples)
                for sound, start in zip(sounds, starts, strict=True)
            ]
            batch |= self._sound(torch.from_numpy(np.stack(windows)), augmented)
        return batch

    def _start_us(
        self, row: dict[str, Any], sound: NDArray[np.float32], position: float | None
    ) -> int:
        """Where the window begins, in microseconds from the start of the sample."""
        step_us = 1_000_000 // self.window.frame_hz
        lengths = [time_us + step_us for time_us in (row["crop_times_us"] or [])[-1:]]
        lengths += [(row["audio_samples"] or 0) * 1_000_000 // SAMPLE_RATE]
        if row["start_us"] is not None and row["end_us"] is not None:
            lengths += [row["end_us"] - row["start_us"]]
        if position is not None:
            return random_start(max(lengths), self.window.window_us, position)
        return evaluation_start(max(lengths), self.window.window_us, sound)

    def _points(self, row: dict[str, Any], start_us: int, position: float | None) -> dict[int, int]:
        """Which picture of a row is at which grid point: {point: number of the picture}."""
        times = row["crop_times_us"] or []
        if not self.window.one_frame:
            return pictures.pictures_on_grid(
                times, start_us, self.window.frames, self.window.frame_hz
            )
        if not times or position is None:
            return dict(enumerate(pictures.pick_evenly(len(times), self.window.frames)))
        return {0: min(int(position * len(times)), len(times) - 1)}

    def _pictures(
        self,
        rows: Sequence[dict[str, Any]],
        points: Sequence[dict[int, int]],
        augmented: AugmentState | None,
    ) -> dict[str, Tensor]:
        """``pixels`` (N, T, S, S, 3) uint8 and ``video_mask`` (N, T): which of them are pictures."""
        size = self.window.size
        steps = max(map(len, points)) if self.window.one_frame else self.window.frames
        mask = torch.zeros(len(rows), max(1, steps), dtype=torch.bool)
        pixels = torch.zeros(*mask.shape, size, size, 3, dtype=torch.uint8)
        packed: list[NDArray[np.uint8]] = []
        for number, (row, found) in enumerate(zip(rows, points, strict=True)):
            mask[number, list(found)] = True
            crops = [decode_crop(row["crops"][found[point]]) for point in sorted(found)]
            packed += apply_tone([pictures.resize(c, size) for c in crops], self.window.tone)
        if packed:
            shown = torch.from_numpy(np.stack(packed))
            if augmented is not None:
                owner = mask.nonzero()[:, 0]
                shown = pictures.augment(shown.float(), owner, augmented.generator)
                shown = shown.round().to(torch.uint8)
            pixels[mask] = shown
        return {"pixels": pixels, "video_mask": mask}

    def _sound(self, samples: Tensor, augmented: AugmentState | None) -> dict[str, Tensor]:
        """``samples`` (N, L) float32 and ``voice_mask`` (N, 1): which rows are not silent."""
        mask = samples.ne(0.0).any(1, keepdim=True)
        if augmented is not None and mask.any():
            there = mask[:, 0]
            samples[there] = augment_sound.augment(samples[there], augmented.generator)
        return {"samples": samples, "voice_mask": mask}


def drop_modalities(
    batch: dict[str, Tensor], modalities: Sequence[Modality], training: AugmentState
) -> None:
    """Mask each modality of each sample, and its metadata, with probability `training.modality_dropout`.

    A sample keeps at least one of its modalities. Only masks change.
    """
    names = [*modalities, *(["metadata"] if "metadata_mask" in batch else [])]
    count = len(batch[f"{names[0]}_mask"])
    dice = torch.rand(count, len(names), generator=training.generator)
    hidden = dice < training.modality_dropout
    there = torch.stack([batch[f"{m}_mask"].any(1) for m in modalities], 1)
    # Of a sample that would lose all modalities, the one with the highest number stays.
    remains = (there & ~hidden[:, : len(modalities)]).any(1)
    best = torch.where(there, dice[:, : len(modalities)], -1.0).argmax(1)
    hidden[torch.arange(count)[~remains], best[~remains]] = False
    for column, name in enumerate(names):
        batch[f"{name}_mask"] = batch[f"{name}_mask"] & ~hidden[:, column : column + 1]
