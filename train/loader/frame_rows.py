"""Rows that are single frames of a recording, such as those of annotated interviews.

A row of one frame, with ``start_us == end_us``, is seen in serving at the end of a window with the frames
before it. Those are in other rows: `FrameRows` finds them by recording and time.
"""

from __future__ import annotations

from collections import defaultdict

import numpy as np
from numpy.typing import NDArray

from affectstream.train.data.dataset import Dataset

Key = tuple[str, str | None, str | None]
"""Recording, participant and split: the pictures of a person, without those of another split."""
COLUMNS = ("recording", "participant", "split")


class FrameRows:
    """The rows of single frames of a data set, in order of time within each recording.

    A frame that is alone in its recording is none of them: no picture comes before it.
    """

    def __init__(self, dataset: Dataset) -> None:
        start, end = dataset.column("start_us"), dataset.column("end_us")
        keys = zip(*(dataset.column(name) for name in COLUMNS), strict=True)
        found: dict[Key, list[tuple[int, int]]] = defaultdict(list)
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
        """(time, row) of the pictures in [from_us, to_us], in order, in the recording of `row`.

        Times are those of the recording.
        """
        times, rows = self._pictures[self._group[row]]
        first, end = np.searchsorted(times, from_us), np.searchsorted(times, to_us, side="right")
        return list(zip(times[first:end].tolist(), rows[first:end].tolist(), strict=True))
