"""Where the window of a network lies in a sample, and which pictures and sound are in it."""

from __future__ import annotations

from collections import defaultdict
from typing import Any

import numpy as np
from numpy.typing import NDArray

from affectstream.stream.media.types import SAMPLE_RATE
from affectstream.train.data.dataset import Dataset
from affectstream.train.loader import pictures
from affectstream.train.loader.rows import COLUMN_OF
from affectstream.train.loader.window_spec import (
    WindowSpec,
    cut_sound,
    evaluation_start,
    frame_start,
    on_grid,
    random_start,
)

Row = dict[str, Any]
Points = dict[int, tuple[int, int]]
"""The picture at each point of a window: the row that it is in, and its number there."""
_TIMES = ("start_us", "end_us", "frames_seen", "crop_times_us", "audio_samples")
_PROBED = 256
"""Samples that `coverage` looks at."""


class FrameRows:
    """The rows that are single frames of a recording, such as those of annotated interviews.

    Serving sees such a row, with ``start_us == end_us``, at the end of a window with the frames before it.
    Those are in other rows of its recording, person and split. A frame that is alone there is none of them.
    """

    def __init__(self, dataset: Dataset) -> None:
        start, end = dataset.column("start_us"), dataset.column("end_us")
        columns = ("recording", "participant", "split")
        keys = zip(*(dataset.column(name) for name in columns), strict=True)
        found: dict[Any, list[tuple[int, int]]] = defaultdict(list)
        for row, (key, from_us, to_us) in enumerate(zip(keys, start, end, strict=True)):
            if key[0] is not None and from_us is not None and from_us == to_us:
                found[key].append((from_us, row))
        has_picture = [bool(times) for times in dataset.column("crop_times_us")]
        self._pictures: list[NDArray[np.int64]] = []
        """Of each person in a recording: (2, n), the times of the pictures in order, and their rows."""
        self._group: dict[int, int] = {}
        for members in found.values():
            if len(members) > 1:
                self._group |= dict.fromkeys((row for _, row in members), len(self._pictures))
                shown = sorted(one for one in members if has_picture[one[1]])
                self._pictures.append(np.asarray(shown, np.int64).reshape(-1, 2).T)

    def __contains__(self, row: int) -> bool:
        return row in self._group

    def between(self, row: int, from_us: int, to_us: int) -> list[tuple[int, int]]:
        """(time, row) of the pictures in [from_us, to_us] of the recording of `row`, in order."""
        times, rows = self._pictures[self._group[row]]
        first, end = np.searchsorted(times, from_us), np.searchsorted(times, to_us, side="right")
        return list(zip(times[first:end].tolist(), rows[first:end].tolist(), strict=True))


class SampleWindows:
    """The windows of some rows of a data set. A sample is named by the number of its row in the data set."""

    def __init__(self, dataset: Dataset, rows: NDArray[np.int64], window: WindowSpec) -> None:
        self.dataset, self.rows, self.window = dataset, rows, window
        self._frame_rows = FrameRows(dataset)

    def max_pictures(self) -> int:
        """The number of picture slots that a batch has for each sample."""
        if "video" not in self.window.modalities:
            return 0
        if not self.window.one_frame:
            return self.window.frames
        times = self.dataset.column(COLUMN_OF["video"])[self.rows]
        if any(row in self._frame_rows for row in self.rows.tolist()):
            return self.window.frames
        return min(self.window.frames, max((len(t) for t in times if t is not None), default=1))

    def coverage(self) -> float:
        """Share of the points of a window, where the sample lasts that long, that have a picture: the median
        of samples that have pictures; 1 if the order of the pictures does not matter."""
        if "video" not in self.window.modalities or self.window.one_frame:
            return 1.0
        columns = {name: self.dataset.column(name) for name in _TIMES}
        shares = []
        for number in self.rows[:: max(1, len(self.rows) // _PROBED)].tolist():
            row = {name: values[number] for name, values in columns.items()}
            if not row["crop_times_us"]:
                continue
            start_us = self.start_us(number, row, np.zeros(0, np.float32), None)
            points = np.arange(self.window.frames)
            if number not in self._frame_rows:
                times_us = start_us + points * 1_000_000 // self.window.frame_hz
                points = points[(times_us >= 0) & (times_us < self._length_us(row))]
            found = self.points(number, row, start_us, None)
            shares.append(len(found) / max(1, len(points)))
        return float(np.median(shares)) if shares else 1.0

    def start_us(
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

    def points(self, number: int, row: Row, start_us: int, position: float | None) -> Points:
        """The pictures in the window of row `number` at their points; in training one of an unordered set."""
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

    def sound(self, number: int, sound: NDArray[np.float32], start_us: int) -> NDArray[np.float32]:
        """The sound (L,) of the window. That of a single frame ends with the frame."""
        if number in self._frame_rows:
            start_us += len(sound) * 1_000_000 // SAMPLE_RATE
        return cut_sound(sound, start_us, self.window.samples)
