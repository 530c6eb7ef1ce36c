"""What the face sensor said, from an iMotions export.

In version 6 and 7 every row repeats the newest value of every sensor, and ``EventSource`` names (joined by
``|``) those that the row really comes from; in version 8 and later each sensor's own ``EventSource`` column
is filled only in its rows. Only rows of the face sensor count here.

Values become those of `Sample`: percentages 0 to 1, valence -1 to 1, and FACET's evidence (logarithm to
the base 10 of the odds) a probability.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from itertools import pairwise

from affectstream.engines.labels import EMOTIONS
from affectstream.train.data.readers.imotions_layout import (
    TIME_COLUMNS,
    Layout,
    plain,
    rows,
    to_number,
)
from affectstream.train.errors import DataError

FACE_SOURCES = ("affdex", "affectiva", "affraw", "facet", "emotient")
"""Parts of the names by which face sensors have gone."""
SOURCE_COLUMNS = ("combinedeventsource", "eventsource")
"""The first of these that there is tells whose a row is; version 8 has the second once a sensor."""
_SLACK = 1.0
"""By how many per cent a value may lie outside its range before it is taken for something else."""
STIMULUS_COLUMNS = ("sourcestimuliname", "stimulusname")


@dataclass(frozen=True, slots=True)
class Reading:
    """What the face sensor said at one moment; all None where it saw no face.

    `time_us` is on the clock of the column in use. `intensities` by emotion and `attention`,
    `engagement` in [0, 1], `valence` in [-1, 1].
    """

    time_us: int
    stimulus: str | None
    intensities: Mapping[str, float]
    attention: float | None
    engagement: float | None
    valence: float | None


def read_export(
    layout: Layout,
    *,
    time: str | None = None,
    stimulus: str | None = None,
    event_source: str | None = None,
) -> list[Reading]:
    """The face sensor's own readings, in order of time.

    `time` is the time column (MediaTime, else Timestamp); `stimulus` keeps the rows of one stimulus;
    `event_source` names another sensor. Raises `DataError` where that leaves nothing, or where
    times go back because several stimuli share the clock.
    """
    clock = layout.find([plain(time)] if time else TIME_COLUMNS)
    if not clock:
        raise DataError(f"{layout.path}: no column {time}; found {', '.join(layout.names[:40])}")
    place, source, picks = (
        layout.find(STIMULUS_COLUMNS),
        layout.find(SOURCE_COLUMNS),
        _picks(layout),
    )
    sensors: set[str] = set()
    stimuli: set[str] = set()
    readings: list[Reading] = []
    last: tuple[float | None, ...] | None = None
    tells_source = any(_sources(cells, source) for cells in rows(layout))
    for cells in rows(layout):
        sources = _sources(cells, source)
        sensors |= sources
        if tells_source and not _is_face(sources, event_source):
            continue
        shown = cells[place[0]].strip() if place else ""
        stimuli.add(shown)
        at = to_number(cells[clock[0]])
        if at is None or (stimulus is not None and shown != stimulus):
            continue
        values = tuple(_value(cells, column, scale, layout) for column, scale in picks)
        # Where rows do not say whose they are, one that repeats every value is another sensor's.
        if not tells_source and values == last:
            continue
        last = values
        readings.append(_reading(round(at * 1000), shown or None, values))
    _refuse_nothing(layout, readings, sensors, stimuli, stimulus)
    _refuse_two_clocks(layout, readings)
    return sorted(readings, key=lambda r: r.time_us)


def _percent(value: float) -> float:
    if not -_SLACK <= value <= 100.0 + _SLACK:
        raise ValueError("0 to 100")
    return min(1.0, max(0.0, value / 100.0))


def _signed(value: float) -> float:
    if not -100.0 - _SLACK <= value <= 100.0 + _SLACK:
        raise ValueError("-100 to 100")
    return min(1.0, max(-1.0, value / 100.0))


def _odds(value: float) -> float:
    return 1.0 / (1.0 + math.pow(10.0, -max(-30.0, min(30.0, value))))


def _same(value: float) -> float:
    return value


_READ: tuple[tuple[tuple[str, Callable[[float], float]], ...], ...] = (
    *(((name, _percent), (f"{name}evidence", _odds)) for name in EMOTIONS),
    (("attention", _percent),),
    (("engagement", _percent),),
    (("valence", _signed),),
    (("yaw", _same), ("yawdegrees", _same)),
    (("pitch", _same), ("pitchdegrees", _same)),
    (("roll", _same), ("rolldegrees", _same)),
)
"""For each value of a reading the columns that may hold it, and how each is scaled."""


def _picks(layout: Layout) -> list[tuple[int | None, Callable[[float], float]]]:
    """For each value of `_READ` its column, None where there is none, and its scale."""
    picks: list[tuple[int | None, Callable[[float], float]]] = []
    for choices in _READ:
        found = [(layout.find([name]), scale) for name, scale in choices]
        picks.append(next(((at[0], scale) for at, scale in found if at), (None, _same)))
    return picks


def _value(
    cells: Sequence[str], column: int | None, scale: Callable[[float], float], layout: Layout
) -> float | None:
    found = None if column is None else to_number(cells[column])
    if column is None or found is None:
        return None
    try:
        return scale(found)
    except ValueError as expected:
        raise DataError(
            f"{layout.path}: {layout.names[column]} is {found:g}, expected {expected}"
        ) from None


def _reading(time_us: int, stimulus: str | None, values: Sequence[float | None]) -> Reading:
    count = len(EMOTIONS)
    found = zip(EMOTIONS, values[:count], strict=True)
    intensities = {name: value for name, value in found if value is not None}
    return Reading(time_us, stimulus, intensities, *values[count : count + 3])


def _sources(cells: Sequence[str], columns: Sequence[int]) -> set[str]:
    parts = (part.strip() for i in columns for part in cells[i].split("|"))
    return {part for part in parts if part and not part.isdecimal()}


def _is_face(sources: set[str], wanted: str | None) -> bool:
    looked_for = FACE_SOURCES if wanted is None else (wanted.casefold(),)
    return any(part in source.casefold() for source in sources for part in looked_for)


def _refuse_nothing(
    layout: Layout,
    readings: Sequence[Reading],
    sensors: set[str],
    stimuli: set[str],
    stimulus: str | None,
) -> None:
    if readings:
        return
    if stimulus is not None and stimulus not in stimuli:
        raise DataError(
            f"{layout.path}: no stimulus {stimulus!r}, found {', '.join(sorted(stimuli)) or 'none'}"
        )
    raise DataError(
        f"{layout.path}: no row of a face sensor; event sources are "
        f"{', '.join(sorted(sensors)) or 'not given'}; name one with --event-source"
    )


def _refuse_two_clocks(layout: Layout, readings: Sequence[Reading]) -> None:
    """MediaTime begins anew with each stimulus."""
    back = any(b.time_us < a.time_us for a, b in pairwise(readings))
    stimuli = sorted({r.stimulus for r in readings if r.stimulus})
    if back and len(stimuli) > 1:
        raise DataError(
            f"{layout.path}: times begin anew with each stimulus ({', '.join(stimuli)}): choose one "
            "with --stimulus, or the clock of the whole recording with --time Timestamp"
        )
