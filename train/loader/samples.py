"""Samples of a prepared data set as `Network.encode` takes them, with the targets of every task."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from affectstream.stream.faces.crop import apply_tone
from affectstream.train.data.dataset import Dataset
from affectstream.train.data.sample import decode_audio, decode_crop, resize
from affectstream.train.loader import pictures
from affectstream.train.loader.augment_state import AugmentState, augmented, drop_modalities
from affectstream.train.loader.dialogues import joined_texts, speaker_features, tokenize
from affectstream.train.loader.rows import COLUMN_OF, LARGE_COLUMN_OF
from affectstream.train.loader.sample_windows import Points, Row, SampleWindows
from affectstream.train.loader.window_spec import WindowSpec
from affectstream.train.tasks import Task

STILLS_BYTES = 1 << 30
"""Decoded pictures of at most so many bytes are kept in memory, where a sample is one picture."""
SOUND_BYTES = 1 << 30
"""Rows with sound of at most so many bytes are kept in memory, where samples have no pictures: nine hours."""
AUGMENT_SOUND = "augment_sound"
"""Which sounds (N, 1) bool of a training batch `augment_sound.augment` has to change, on the device of the
network."""


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
        self.windows = SampleWindows(dataset, rows, window)
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
        if (stills := self._stills()) is None:
            return False
        self._still_pictures = stills.to(device)
        for held in (self.truth, self.shares):
            held |= {name: part.to(device) for name, part in held.items()}
        return True

    def batch(
        self, picked: Sequence[int], training: AugmentState | None = None
    ) -> dict[str, Tensor]:
        """Samples `picked`, by their number here: for training with `training`, else for evaluation.

        The keys are those of `Network.encode`, each with its mask, the tasks, and perhaps `AUGMENT_SOUND`.
        """
        which = torch.as_tensor(picked)
        targets = self.truth if training is None else self.truth | self.shares
        places = {part.device: which.to(part.device) for part in targets.values()}
        batch = {name: part[places[part.device]] for name, part in targets.items()}
        if (stills := self._stills()) is not None:
            batch |= self._batch_of_stills(stills, which, training)
        elif set(self.window.modalities) & set(LARGE_COLUMN_OF):
            batch |= self._pictures_and_sound(self.rows[which.numpy()].tolist(), training)
        batch |= {name: part[which] for name, part in self._small.items()}
        if training is not None and len(self.window.modalities) > 1:
            drop_modalities(batch, self.window.modalities, training)
        if training is not None and training.config.augment and training.config.mixup:
            shares = {
                task.name: target if target.is_floating_point() else task.one_hot(target)
                for task in self.tasks
                for target in (batch[task.name],)
            }
            batch = pictures.mix(batch, shares, training.config.mixup, training.generator)
        return batch

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_still_pictures": None, "_sound_rows": None}

    def _stills(self) -> Tensor | None:
        """The pictures (n, S, S, C) uint8, if every sample is one and nothing else, and all fit in memory."""
        if self.window.modalities != ("video",) or not self.window.one_frame:
            return None
        if self._still_pictures is None:
            times = self.dataset.column(COLUMN_OF["video"])[self.rows]
            fits = len(times) * 3 * self.window.size**2 <= STILLS_BYTES
            if not fits or any(len(t or ()) != 1 for t in times):
                return None
            shown = np.stack([self._still(int(row)) for row in self.rows])
            grey = (shown == shown[..., :1]).all()
            self._still_pictures = torch.from_numpy(shown[..., :1].copy() if grey else shown)
        return self._still_pictures

    def _still(self, row: int) -> NDArray[np.uint8]:
        """The only picture of a row."""
        picture = resize(decode_crop(self.dataset.row(row)["crops"][0]), self.window.size)
        return apply_tone([picture], self.window.tone)[0]

    def _batch_of_stills(
        self, stills: Tensor, which: Tensor, training: AugmentState | None
    ) -> dict[str, Tensor]:
        """As `_pictures`, of samples that are one picture each; without a mask in training."""
        shown = stills[which.to(stills.device)]
        if training is not None and training.config.augment:
            shown = augmented(shown, torch.arange(len(which)), training)
        pixels = shown.expand(-1, -1, -1, 3).unsqueeze(1)
        if training is not None:
            return {"pixels": pixels}
        return {"pixels": pixels, "video_mask": torch.ones(len(which), 1, dtype=torch.bool)}

    def _pictures_and_sound(
        self, numbers: Sequence[int], training: AugmentState | None
    ) -> dict[str, Tensor]:
        rows = self._read(numbers)
        video, voice = (name in self.window.modalities for name in ("video", "voice"))
        positions: list[float | None] = [None] * len(numbers)
        if training is not None:
            positions = list(torch.rand(len(numbers), generator=training.generator).tolist())
        augment = training if training is not None and training.config.augment else None
        points, sounds = [], []
        for number, position in zip(numbers, positions, strict=True):
            row, windows = rows[number], self.windows
            sound = decode_audio(row["audio"] if voice and row["audio"] else b"")
            start = windows.start_us(number, row, sound, position if augment else None)
            if voice:
                sounds.append(windows.sound(number, sound, start))
            if video:
                points.append(windows.points(number, row, start, position))
        batch: dict[str, Tensor] = {}
        if video:
            batch |= self._pictures(rows, points, augment)
        if voice:
            samples = torch.from_numpy(np.stack(sounds))
            batch |= {"samples": samples, "voice_mask": samples.ne(0.0).any(1, keepdim=True)}
            if augment is not None:
                dice = torch.rand(len(samples), 1, generator=augment.generator)
                batch[AUGMENT_SOUND] = dice >= augment.config.clean_sound
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

    def _pictures(
        self, rows: dict[int, Row], points: Sequence[Points], augment: AugmentState | None
    ) -> dict[str, Tensor]:
        """``pixels`` (N, T, S, S, 3) uint8 and ``video_mask`` (N, T): which of them are pictures. `rows` has
        some of the rows by their number; the others are read."""
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
            packed += apply_tone([resize(c, size) for c in crops], self.window.tone)
        if packed:
            shown = torch.from_numpy(np.stack(packed))
            if augment is not None:
                owner = mask.nonzero()[:, 0]
                shown = augmented(shown, owner, augment)
            pixels[mask] = shown
        return {"pixels": pixels, "video_mask": mask}
