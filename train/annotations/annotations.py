"""What somebody noted of one recording: stretches with a label, and ratings over time."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from itertools import pairwise
from pathlib import Path
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from affectstream.train.errors import DataError

MAX_SECONDS = 7 * 24 * 3600.0
"""Later times are in another unit, or of a clock; comparing every 0.1 s up to them would fill the memory."""
NO_VERDICT = -1
"""The number of no label."""


class Stretch(NamedTuple):
    """A label from `start` to `end`, in seconds."""

    start: float
    end: float
    label: str


@dataclass(frozen=True, slots=True)
class Coding:
    """Labels of one kind for one person. Between the stretches the coder gave no verdict."""

    person: str | None
    """None: the recording, or a person whom the file does not name."""
    kind: str
    """Such as ``emotion`` or ``attention``."""
    stretches: tuple[Stretch, ...]
    """In order of time, without overlap."""

    @staticmethod
    def of(person: str | None, kind: str, stretches: Iterable[Stretch], where: Path) -> Coding:
        """Sort and check. Raises `DataError` for stretches that overlap, end before they begin, or are in
        no recording."""
        ordered = sorted(stretches)
        who = f"{where}: {kind}" + (f" of {person}" if person else "")
        for start, end, label in ordered:
            if not 0 <= start < end:
                raise DataError(
                    f"{who}: {label!r} lasts from {start:g} to {end:g} s, expected an end after its start, "
                    "and none before 0"
                )
            check_seconds(end, f"{who}: {label!r} ends")
        for first, second in pairwise(ordered):
            if second.start < first.end - 1e-6:
                raise DataError(
                    f"{who}: {first.label!r} until {first.end:g} s overlaps {second.label!r} from "
                    f"{second.start:g} s: expected one label at a time; a tier for each person"
                )
        return Coding(person, kind, tuple(ordered))

    def numbers_at(
        self, times: NDArray[np.float64], numbers: Mapping[str, int]
    ) -> NDArray[np.int64]:
        """The number of the label at each of `times` (n,) in seconds; `NO_VERDICT` between the stretches."""
        starts = np.array([stretch.start for stretch in self.stretches])
        ends = np.array([stretch.end for stretch in self.stretches])
        found = [*(numbers[stretch.label] for stretch in self.stretches), NO_VERDICT]
        index = np.searchsorted(starts, times, side="right") - 1
        inside = (index >= 0) & (times < np.append(ends, -np.inf)[index])
        return np.array(found, np.int64)[np.where(inside, index, -1)]


def check_seconds(time: float, what: str) -> None:
    """Raise `DataError` for a time that is in no recording; `what` begins the message."""
    if time > MAX_SECONDS:
        raise DataError(
            f"{what} at {time:g} s: expected seconds of the recording, at most a week ({MAX_SECONDS:g})"
        )


@dataclass(frozen=True, slots=True)
class Rating:
    """A continuous quantity of one person, such as valence."""

    person: str | None
    kind: str
    times: NDArray[np.float64]
    """(n,) seconds, rising."""
    values: NDArray[np.float64]
    """(n,) a value holds until the next time; nan: no verdict."""
    step: float
    """Seconds that the last value holds."""

    def at(self, times: NDArray[np.float64]) -> NDArray[np.float64]:
        """The value at each of `times` (n,); nan before the first, after the last, and in gaps longer than
        twice the usual step."""
        index = np.searchsorted(self.times, times, side="right") - 1
        age = times - self.times[np.clip(index, 0, None)]
        usable = (index >= 0) & (age < 2 * self.step)
        return np.where(usable, self.values[np.clip(index, 0, None)], np.nan)


def rating(
    person: str | None, kind: str, times: Sequence[float], values: Sequence[float]
) -> Rating:
    """A rating from pairs in any order."""
    order = np.argsort(times, kind="stable")
    t, v = np.asarray(times, float)[order], np.asarray(values, float)[order]
    step = float(np.median(np.diff(t))) if len(t) > 1 else 0.5
    return Rating(person, kind, t, v, max(step, 1e-3))


@dataclass(frozen=True, slots=True)
class Part:
    """The part of a recording that results are of. Its times are on the clock of the whole recording."""

    recording: str
    """Name of the whole recording."""
    start: float
    """In seconds."""
    end: float
    """In seconds; inf: up to the end of the recording."""
    source: str = field(compare=False)
    """The path of the recording, which is another one on another machine."""

    def cut(self, coding: Coding) -> Coding:
        """`coding` of the whole recording, within this part."""
        cut = (
            Stretch(max(one.start, self.start), min(one.end, self.end), one.label)
            for one in coding.stretches
            if one.end > self.start and one.start < self.end
        )
        return replace(coding, stretches=tuple(cut))


@dataclass(frozen=True, slots=True)
class Annotations:
    """Everything that one file, or one folder of results, says of one recording."""

    path: Path
    recording: str
    """Name by which two sides are matched."""
    codings: tuple[Coding, ...]
    ratings: tuple[Rating, ...] = ()
    tiers: tuple[str, ...] = ()
    """Names of all tiers of the file, or of a table's persons and kinds, also of those that were left out or
    hold nothing to read."""
    part: Part | None = None
    """Of results of a part of a recording."""

    @property
    def whole(self) -> str:
        """Name of the whole recording."""
        return self.recording if self.part is None else self.part.recording

    @property
    def kinds(self) -> list[str]:
        """Kinds of codings and ratings, each once."""
        kinds = [one.kind for one in self.codings] + [one.kind for one in self.ratings]
        return list(dict.fromkeys(kinds))
