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
from affectstream.train.loader import pictures
from affectstream.train.loader.dialogues import joined_texts, speaker_features, tokenize
from affectstream.train.loader.frame_rows import FrameRows
from affectstream.train.loader.window_spec import (
    WindowSpec,
    cut_sound,
    evaluation_start,
    frame_start,
    on_grid,
    random_start,
)
from affectstream.train.tasks import Task, labeled_rows

Row = dict[str, Any]
Points = dict[int, tuple[int, int]]
"""The picture at each point of a window: the row that it is in, and its number there."""

LARGE_COLUMN_OF = {"video": "crops", "voice": "audio"}
"""The large column that holds a modality."""
_COLUMN_OF = {"video": "crop_times_us", "voice": "audio_samples", "text": "text"}
"""The small column that tells whether a row has a modality."""
_TIMES = ("start_us", "end_us", "frames_seen", "crop_times_us", "audio_samples")
STILLS_BYTES = 1 << 30
"""Decoded pictures of at most so many bytes are kept in memory, where a sample is one picture."""
SOUND_BYTES = 1 << 30
"""Rows with sound of at most so many bytes are kept in memory, where samples have no pictures: nine hours."""
AUGMENT_SOUND = "augment_sound"
"""In a training batch whose sound `augment_sound.augment` has to change, on the device of the network."""
_PROBED = 256
"""Samples that `Samples.coverage` looks at."""
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
    """On the CPU."""
    augment: bool
    modality_dropout: float
    erasing: float = 0.0
    degrading: float = 0.0
    mixup: float = 0.0
    """Of `FitConfig`, as the others."""

    def on(self, device: torch.device) -> torch.Generator:
        """A generator on `device`: this one, or one that it seeds."""
        if device.type == "cpu":
            return self.generator
        seed = int(torch.randint(2**62, (), generator=self.generator))
        return torch.Generator(device).manual_seed(seed)


class Samples:
    """Some rows of a data set, cut as a `WindowSpec` says. Can be pickled to another process."""

    def __init__(
        self, dataset: Dataset, rows: NDArray[np.int64], window: WindowSpec, tasks: Sequence[Task]
    ) -> None:
        self.dataset, self.rows, self.window = dataset, rows, window
        picked = torch.from_numpy(rows)
        self.tasks = tuple(tasks)
        self.truth = {task.name: task.targets(dataset)[picked] for task in tasks}
        self.shares = {
            task.name: shares[picked]
            for task in tasks
            if (shares := task.shares(dataset)) is not None
        }
        """What training learns of the tasks on which people voted."""
        self._still_pictures: Tensor | None = None
        self._sound_rows: dict[int, Row] | None = None
        self._frame_rows = FrameRows(dataset)
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

    def move(self, device: torch.device) -> bool:
        """Keep the samples on `device`, where `batch` then makes batches; False if they are too large."""
        if not self._are_stills():
            return False
        assert self._still_pictures is not None
        self._still_pictures = self._still_pictures.to(device)
        for held in (self.truth, self.shares):
            held |= {name: part.to(device) for name, part in held.items()}
        return True

    def max_pictures(self) -> int:
        """The number of picture slots that a batch has for each sample."""
        if "video" not in self.window.modalities:
            return 0
        if not self.window.one_frame:
            return self.window.frames
        times = self.dataset.column(_COLUMN_OF["video"])[self.rows]
        if any(row in self._frame_rows for row in self.rows.tolist()):
            return self.window.frames
        return min(self.window.frames, max((len(t) for t in times if t is not None), default=1))

    def coverage(self) -> float:
        """Share of the points of a window, where the sample lasts that long, that have a picture.

        It is the median of samples that have pictures, with the window in the middle of a longer one; 1
        if the order of the pictures does not matter.
        """
        if "video" not in self.window.modalities or self.window.one_frame:
            return 1.0
        columns = {name: self.dataset.column(name) for name in _TIMES}
        shares = []
        for number in self.rows[:: max(1, len(self.rows) // _PROBED)].tolist():
            row = {name: values[number] for name, values in columns.items()}
            if not row["crop_times_us"]:
                continue
            start_us = self._start_us(number, row, np.zeros(0, np.float32), None)
            points = np.arange(self.window.frames)
            if number not in self._frame_rows:
                times_us = start_us + points * 1_000_000 // self.window.frame_hz
                points = points[(times_us >= 0) & (times_us < self._length_us(row))]
            found = self._points(number, row, start_us, None)
            shares.append(len(found) / max(1, len(points)))
        return float(np.median(shares)) if shares else 1.0

    def batch(
        self, picked: Sequence[int], training: AugmentState | None = None
    ) -> dict[str, Tensor]:
        """Samples `picked`, by their number here: for training with `training`, else for evaluation.

        The keys are those of `Network.encode`, each with its mask, and the tasks; `AUGMENT_SOUND` is there if
        the sound is still to be augmented.
        """
        which = torch.as_tensor(picked)
        targets = self.truth if training is None else self.truth | self.shares
        places = {part.device: which.to(part.device) for part in targets.values()}
        batch = {name: part[places[part.device]] for name, part in targets.items()}
        if self._are_stills():
            batch |= self._stills(which, training)
        elif set(self.window.modalities) & set(LARGE_COLUMN_OF):
            batch |= self._pictures_and_sound(self.rows[which.numpy()].tolist(), training)
        batch |= {name: part[which] for name, part in self._small.items()}
        if training is not None and len(self.window.modalities) > 1:
            drop_modalities(batch, self.window.modalities, training)
        if training is not None and training.mixup:
            shares = {
                task.name: target if target.is_floating_point() else task.one_hot(target)
                for task in self.tasks
                for target in (batch[task.name],)
            }
            batch = pictures.mix(batch, shares, training.mixup, training.generator)
        return batch

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_still_pictures": None, "_sound_rows": None}

    def _are_stills(self) -> bool:
        """Whether every sample is one picture and nothing else, and all of them fit into memory."""
        if self.window.modalities != ("video",) or not self.window.one_frame:
            return False
        if self._still_pictures is None:
            times = self.dataset.column(_COLUMN_OF["video"])[self.rows]
            if len(times) * 3 * self.window.size**2 > STILLS_BYTES or any(
                len(t or ()) != 1 for t in times
            ):
                return False
            shown = [self._still(int(row)) for row in self.rows]
            grey = all((picture == picture[..., :1]).all() for picture in shown)
            self._still_pictures = torch.from_numpy(
                np.stack([picture[..., :1] if grey else picture for picture in shown])
            )
        return True

    def _still(self, row: int) -> NDArray[np.uint8]:
        """The only picture of a row."""
        picture = pictures.resize(decode_crop(self.dataset.row(row)["crops"][0]), self.window.size)
        return apply_tone([picture], self.window.tone)[0]

    def _stills(self, which: Tensor, training: AugmentState | None) -> dict[str, Tensor]:
        """As `_pictures`, of samples that are one picture each; without a mask in training."""
        assert self._still_pictures is not None
        shown = self._still_pictures[which.to(self._still_pictures.device)]
        if training is not None and training.augment:
            shown = _augmented(shown, torch.arange(len(which)), training)
        pixels = shown.expand(-1, -1, -1, 3).unsqueeze(1)
        if training is not None:
            return {"pixels": pixels}
        return {"pixels": pixels, "video_mask": torch.ones(len(which), 1, dtype=torch.bool)}

    def _pictures_and_sound(
        self, numbers: Sequence[int], training: AugmentState | None
    ) -> dict[str, Tensor]:
        rows = self._read(numbers)
        positions: list[float | None] = [None] * len(numbers)
        if training is not None:
            positions = list(torch.rand(len(numbers), generator=training.generator).tolist())
        augmented = training if training is not None and training.augment else None
        voice = "voice" in self.window.modalities
        sounds = {
            number: decode_audio(row["audio"] if voice and row["audio"] else b"")
            for number, row in rows.items()
        }
        starts = [
            self._start_us(number, rows[number], sounds[number], position if augmented else None)
            for number, position in zip(numbers, positions, strict=True)
        ]
        batch: dict[str, Tensor] = {}
        if "video" in self.window.modalities:
            points = [
                self._points(number, rows[number], start, position)
                for number, start, position in zip(numbers, starts, positions, strict=True)
            ]
            batch |= self._pictures(rows, points, augmented)
        if voice:
            windows = [
                self._window_of_sound(number, sounds[number], start)
                for number, start in zip(numbers, starts, strict=True)
            ]
            samples = torch.from_numpy(np.stack(windows))
            batch |= {"samples": samples, "voice_mask": samples.ne(0.0).any(1, keepdim=True)}
            if augmented is not None:
                batch[AUGMENT_SOUND] = torch.ones((), dtype=torch.bool)
        return batch

    def _read(self, numbers: Sequence[int]) -> dict[int, Row]:
        """The rows `numbers`. All rows are kept where they have no pictures and their sound fits into memory:
        in random order most rows would be read from the file each time."""
        if self._sound_rows is None and "video" not in self.window.modalities:
            lengths = self.dataset.column("audio_samples")[self.rows]
            fits = 2 * sum(length or 0 for length in lengths) <= SOUND_BYTES
            kept = self.rows.tolist() if fits else []
            self._sound_rows = {number: self.dataset.row(number) for number in sorted(kept)}
        kept_rows = self._sound_rows or {}
        return {n: kept_rows.get(n) or self.dataset.row(n) for n in numbers}

    def _start_us(
        self, number: int, row: Row, sound: NDArray[np.float32], position: float | None
    ) -> int:
        """Where the window begins, in microseconds from the start of the sample."""
        if number in self._frame_rows:
            return frame_start(row["start_us"], self.window)
        length_us = self._length_us(row)
        if position is not None:
            start_us = random_start(length_us, self.window.window_us, position)
        else:
            start_us = evaluation_start(length_us, self.window.window_us, sound)
        has_video = "video" in self.window.modalities
        return on_grid(start_us, self.window.frame_hz) if has_video else start_us

    def _length_us(self, row: Row) -> int:
        """How long a sample is that is not a single frame of a recording."""
        step_us = 1_000_000 // self.window.frame_hz
        lengths = [time_us + step_us for time_us in (row["crop_times_us"] or [])[-1:]]
        lengths += [(row["audio_samples"] or 0) * 1_000_000 // SAMPLE_RATE]
        if row["start_us"] is not None and row["end_us"] is not None:
            lengths += [row["end_us"] - row["start_us"]]
        return max(lengths)

    def _points(self, number: int, row: Row, start_us: int, position: float | None) -> Points:
        """The pictures in the window of row `number`, at their points.

        Of a set of pictures, training gets one of the row at random, and evaluation those of the window.
        """
        times = row["crop_times_us"] or []
        if row["frames_seen"] == 1:  # a still picture beside longer sound holds all the time
            times = [max(start_us, time_us) for time_us in times]
        if self.window.one_frame and position is not None:
            return {0: (number, min(int(position * len(times)), len(times) - 1))} if times else {}
        pictures_of = [(time_us, (number, place)) for place, time_us in enumerate(times)]
        if number in self._frame_rows:
            at, step_us = row["start_us"], 1_000_000 // self.window.frame_hz + 1
            found = self._frame_rows.between(number, at + start_us - step_us, at)
            pictures_of = [(time_us - at, (other, 0)) for time_us, other in found]
        found_at = pictures.pictures_on_grid(
            [time_us for time_us, _ in pictures_of],
            start_us,
            self.window.frames,
            self.window.frame_hz,
        )
        points = {point: pictures_of[place][1] for point, place in sorted(found_at.items())}
        if not self.window.one_frame:
            return points
        # Where the order does not matter, pictures beside the window are better than none.
        evenly = pictures.pick_evenly(len(pictures_of), self.window.frames)
        chosen = list(dict.fromkeys(points.values())) or [pictures_of[place][1] for place in evenly]
        return dict(enumerate(chosen))

    def _window_of_sound(
        self, number: int, sound: NDArray[np.float32], start_us: int
    ) -> NDArray[np.float32]:
        """The sound (L,) of the window. That of a single frame ends with the frame."""
        if number in self._frame_rows:
            start_us += len(sound) * 1_000_000 // SAMPLE_RATE
        return cut_sound(sound, start_us, self.window.samples)

    def _pictures(
        self, rows: dict[int, Row], points: Sequence[Points], augmented: AugmentState | None
    ) -> dict[str, Tensor]:
        """``pixels`` (N, T, S, S, 3) uint8 and ``video_mask`` (N, T): which of them are pictures.

        `rows` has some of the rows by their number; the others are read.
        """
        size = self.window.size
        steps = max(map(len, points)) if self.window.one_frame else self.window.frames
        mask = torch.zeros(len(points), max(1, steps), dtype=torch.bool)
        pixels = torch.zeros(*mask.shape, size, size, 3, dtype=torch.uint8)
        packed: list[NDArray[np.uint8]] = []
        for sample, found in enumerate(points):
            mask[sample, list(found)] = True
            crops = []
            for _, (number, place) in sorted(found.items()):
                if number not in rows:
                    rows[number] = self.dataset.row(number)
                crops.append(decode_crop(rows[number]["crops"][place]))
            packed += apply_tone([pictures.resize(c, size) for c in crops], self.window.tone)
        if packed:
            shown = torch.from_numpy(np.stack(packed))
            if augmented is not None:
                owner = mask.nonzero()[:, 0]
                shown = _augmented(shown, owner, augmented)
            pixels[mask] = shown
        return {"pixels": pixels, "video_mask": mask}


def _augmented(shown: Tensor, owner: Tensor, training: AugmentState) -> Tensor:
    """`pictures.augment` of pictures (M, S, S, C) uint8."""
    changed = pictures.augment(
        shown.float(),
        owner,
        training.on(shown.device),
        erasing=training.erasing,
        degrading=training.degrading,
    )
    return changed.round().to(torch.uint8)


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
