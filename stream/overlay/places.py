"""Where each face is in any frame, between the readings, which come once a hop."""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from typing import Any

import numpy as np
import pyarrow as pa
from numpy.typing import NDArray

from affectstream.engines.landmarks import FIVE_POINTS

_Numbers = NDArray[np.float64]
_BOX = ("left", "top", "right", "bottom")
_ANGLES = ("yaw", "pitch", "roll", "gaze_yaw", "gaze_pitch")
_POINTS = tuple(f"{name}_{axis}" for name in FIVE_POINTS for axis in "xy")
_BRIDGED_S = 1.6
"""Between two places further apart in time a face is not drawn on its way."""


@dataclass(frozen=True, slots=True, eq=False)
class FaceAt:
    """One face in one frame. Places are fractions of the width and height of the upright picture."""

    track: int
    box: _Numbers
    """Left, top, right, bottom."""
    points: _Numbers
    """(5, 2)."""
    reading: Mapping[str, Any] | None
    """The row of the readings for this time; None where the face is before or after its readings."""


@dataclass(frozen=True, slots=True, eq=False)
class _Path:
    track: int
    times_s: list[float]
    places: _Numbers
    starts_s: list[float]
    rows: list[Mapping[str, Any]]


class FacePlaces:
    """The faces of a recording by time."""

    def __init__(self, readings: pa.Table, hold_s: float) -> None:
        """A face stays for `hold_s` before its first and after its last known place."""
        self._hold_s = hold_s
        names = ["track", "t_start", "t_end", "face_t", "label", "confidence", "abstain"]
        names += ["attention_state", "modalities", *_ANGLES, *_BOX, *_POINTS]
        rows = [row for row in readings.select(names).to_pylist() if row["track"] is not None]
        rows.sort(key=lambda row: (row["track"], row["t_start"]))
        grouped = groupby(rows, key=lambda row: int(row["track"]))
        self._paths = [path for track, own in grouped if (path := _path(track, list(own)))]

    def at(self, t_s: float) -> list[FaceAt]:
        """The faces at a time, by track."""
        found = []
        for path in self._paths:
            place = self._place(path, t_s)
            if place is not None:
                box, points = place[:4], place[4:].reshape(-1, 2)
                found.append(FaceAt(path.track, box, points, _reading(path, t_s)))
        return found

    def _place(self, path: _Path, t_s: float) -> _Numbers | None:
        """The box and the points of a face at a time."""
        after = bisect_right(path.times_s, t_s)
        before = after - 1
        if before >= 0 and after < len(path.times_s):
            start_s, end_s = path.times_s[before], path.times_s[after]
            if end_s - start_s <= _BRIDGED_S:
                share = (t_s - start_s) / (end_s - start_s)
                return _row(path, before) * (1 - share) + _row(path, after) * share
        if before >= 0 and t_s - path.times_s[before] <= self._hold_s:
            return _row(path, before)
        if after < len(path.times_s) and path.times_s[after] - t_s <= self._hold_s:
            return _row(path, after)
        return None


def _row(path: _Path, place: int) -> _Numbers:
    row: _Numbers = path.places[place]
    return row


def _path(track: int, rows: Sequence[Mapping[str, Any]]) -> _Path | None:
    seen = {row["face_t"]: row for row in rows if row["face_t"] is not None}
    if not seen:
        return None
    times_s = sorted(seen)
    places = np.array([[seen[t][name] for name in (*_BOX, *_POINTS)] for t in times_s], float)
    return _Path(track, times_s, places, [row["t_start"] for row in rows], list(rows))


def _reading(path: _Path, t_s: float) -> Mapping[str, Any] | None:
    place = bisect_right(path.starts_s, t_s) - 1
    if place < 0 or t_s >= path.rows[place]["t_end"]:
        return None
    return path.rows[place]
