"""The readings of each person as arrays, one element for each hop from the first to the last."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
from numpy.typing import NDArray

from affectstream.stream.annotations.tiers import person_name

Numbers = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Person:
    """One track, or the recording itself (`track` None), on its hops; a hop without a reading is missing."""

    track: int | None
    first: int
    """Number of the first hop."""
    count: int
    """Hops from the first to the last reading."""
    rows: pa.Table
    """The readings, sorted by hop."""

    @property
    def name(self) -> str:
        """``person 1``, or ``recording``."""
        return person_name(self.track)

    @cached_property
    def places(self) -> NDArray[np.int64]:
        """Where each row stands in the arrays."""
        hops: NDArray[np.int64] = self.rows["hop"].to_numpy()
        return hops - self.first

    def numbers(self, column: str) -> Numbers:
        """The numbers of a column; NaN where there is none, or no such column."""
        found = np.full(self.count, np.nan)
        if column in self.rows.column_names:
            values = pc.cast(self.rows[column], pa.float64())
            found[self.places] = values.to_numpy()
        return found

    def codes(self, column: str, values: Sequence[str]) -> NDArray[np.int64]:
        """The place of each text in `values`; -1 where there is none, or another."""
        found = np.full(self.count, -1)
        if column in self.rows.column_names:
            known = pc.index_in(self.rows[column], pa.array(values, pa.string()))
            found[self.places] = pc.fill_null(known, -1).to_numpy()
        return found

    def uses(self, modality: str) -> NDArray[np.bool_]:
        """Whether each reading used a modality."""
        found = np.zeros(self.count, bool)
        texts = self.rows["modalities"].to_pylist()
        found[self.places] = [modality in (text or "").split("+") for text in texts]
        return found

    @cached_property
    def present(self) -> NDArray[np.bool_]:
        """Whether there is a reading."""
        found = np.zeros(self.count, bool)
        found[self.places] = True
        return found

    @cached_property
    def speaks(self) -> NDArray[np.bool_]:
        """Whether a voice was used: this person's, or of the recording itself that of nobody in view."""
        return self.uses("voice")


def people(readings: pa.Table) -> list[Person]:
    """Each track in the order of its number, and the recording itself last."""
    found = []
    tracks = set(readings["track"].to_pylist())
    for track in sorted(tracks, key=lambda one: (one is None, one or 0)):
        column = readings["track"]
        mask = pc.is_null(column) if track is None else pc.equal(column, track)
        rows = readings.filter(mask).sort_by("hop")
        hops = rows["hop"].to_numpy()
        first = int(hops[0])
        found.append(Person(track, first, int(hops[-1]) - first + 1, rows))
    return found


def hop_seconds(readings: pa.Table) -> float:
    """The duration of a hop; 0.5 for a table without rows."""
    if readings.num_rows == 0:
        return 0.5
    # The last hop may be cut at the end of the recording.
    longest = pc.max(pc.subtract(readings["t_end"], readings["t_start"]))
    return round(float(longest.as_py()), 6)
