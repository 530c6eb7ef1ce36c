"""iMotions exports: where the table begins, who the respondent is, and the rows of the face sensor.

Versions 6 and 7 write ``#Study : ...`` lines, then a table in which every row repeats the newest value of
every sensor, and ``EventSource`` names, joined by ``|``, the sensors that the row comes from. Version 8 and
later write ``#INFO``, ``#METADATA`` and ``#DATA`` blocks as cells of a comma-separated file, and each sensor
has its own ``EventSource`` column, filled only in its rows. Separator, encoding and decimal sign depend on
the machine that exported, so the header is searched: the first line with a time column and a column of the
face sensor.

Values become those of `Sample`: percentages 0 to 1, valence -1 to 1, and FACET's evidence (logarithm to
the base 10 of the odds) a probability.
"""

from __future__ import annotations

import codecs
import csv
import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import islice, pairwise
from pathlib import Path

from affectstream.engines.labels import EMOTIONS
from affectstream.stream.speaker_metadata import Gender
from affectstream.train.data.sample import GENDERS
from affectstream.train.errors import DataError, DataMissing

TIME_COLUMNS = ("mediatime", "timestamp")
FACE_COLUMNS = frozenset(
    {*EMOTIONS, *(f"{name}evidence" for name in EMOTIONS), "attention", "engagement", "valence"}
)
"""Names, as `normalize` returns them, of which a header has at least one."""
PREAMBLE_LINES = 500
SEPARATORS = "\t,;"
FACE_SOURCES = ("affdex", "affectiva", "affraw", "facet", "emotient")
"""Parts of the names of face sensors."""
SOURCE_COLUMNS = ("combinedeventsource", "eventsource")
"""The first of these in the header names the sensor of a row; version 8 has the second once a sensor."""
STIMULUS_COLUMNS = ("sourcestimuliname", "stimulusname")
STRONG = 0.5
"""AFFDEX's customary threshold: an emotion of at least this is shown."""
_SLACK = 1.0
"""Percent by which a value may lie outside its range through rounding."""


@dataclass(frozen=True, slots=True)
class Layout:
    """Where the table of an export begins, its columns, and the respondent."""

    path: Path
    encoding: str
    separator: str
    line: int
    """Number of the header's line, from 0."""
    names: tuple[str, ...]
    respondent: str | None
    age: float | None
    gender: Gender | None

    def find(self, candidates: Sequence[str]) -> list[int]:
        """Columns of the first of the normalized names that the header has."""
        names = [normalize(name) for name in self.names]
        first = next((name for name in candidates if name in names), None)
        return [i for i, name in enumerate(names) if name == first]


def normalize(name: str) -> str:
    """A column's name without case, spaces, units and signs: ``"Joy (Affdex) "`` is ``joy``."""
    return re.sub(r"\([^)]*\)|[^a-z0-9]", "", name.casefold())


def find_layout(path: Path) -> Layout:
    """Find the header of an export. Raises `DataMissing` or `DataError`, with what was found."""
    encoding = encoding_of(path)
    about: dict[str, str] = {}
    with _damage_as_data_error(path), path.open(encoding=encoding, newline="") as file:
        for number, line in enumerate(islice(file, PREAMBLE_LINES)):
            separator = max(SEPARATORS, key=line.count)
            cells = _cells(line, separator)
            names = [normalize(cell) for cell in cells]
            if line.lstrip('"\ufeff ').startswith("#"):
                if names[0].startswith("respondent") and len(cells) > 1 and cells[1]:
                    about.setdefault(names[0].removeprefix("respondent"), cells[1])
            elif set(names) & set(TIME_COLUMNS) and set(names) & FACE_COLUMNS:
                # Old exports repeat the respondent in every row.
                first = zip(names, _cells(next(file, ""), separator), strict=False)
                about = {**dict(first), **about}
                age = to_number(about.get("age", "")) or None  # 0 is "not given"
                gender = about.get("gender", "").strip().casefold()
                known = next((each for each in GENDERS if each == gender), None)
                who = about.get("name") or None
                return Layout(path, encoding, separator, number, tuple(cells), who, age, known)
    raise DataError(
        f"{path}: no header in its first {PREAMBLE_LINES} lines, expected a row with Timestamp or "
        "MediaTime and columns of the face sensor (Joy, Anger, ..., Attention, Engagement, Valence)"
    )


def rows(layout: Layout) -> Iterator[list[str]]:
    """The cells of every row after the header, as many as the header has."""
    width = len(layout.names)
    with (
        _damage_as_data_error(layout.path),
        layout.path.open(encoding=layout.encoding, newline="") as file,
    ):
        for _ in range(layout.line + 1):
            file.readline()
        for cells in csv.reader(file, delimiter=layout.separator):
            if cells and not cells[0].startswith("#"):
                yield (cells + [""] * (width - len(cells)))[:width]


def to_number(text: str) -> float | None:
    """A number with either decimal sign; None for an empty cell or another text."""
    cleaned = text.strip()
    if cleaned.rfind(",") > cleaned.rfind("."):
        cleaned = cleaned.replace(".", "").replace(",", ".")
    try:
        value = float(cleaned.replace(",", ""))
    except ValueError:
        return None
    return value if math.isfinite(value) else None


@contextmanager
def _damage_as_data_error(path: Path) -> Iterator[None]:
    try:
        yield
    except (csv.Error, UnicodeError) as error:
        raise DataError(f"{path}: damaged, or not a text file: {error}") from error


def encoding_of(path: Path) -> str:
    """UTF-8 (with or without a mark), UTF-16, else Windows-1252, in which every byte has a meaning."""
    try:
        with path.open("rb") as file:
            head = file.read(4096)
        if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
            return "utf-16"
        for encoding, zeros in (("utf-16-le", head[1::2]), ("utf-16-be", head[::2])):
            if zeros.count(0) > len(head) // 4:
                return encoding
        with path.open(encoding="utf-8") as text:
            while text.read(1 << 20):
                pass
    except UnicodeDecodeError:
        return "cp1252"
    except OSError as error:
        raise DataMissing(f"{path} cannot be read: {error.strerror or error}") from error
    return "utf-8-sig"


def _cells(line: str, separator: str) -> list[str]:
    row = next(csv.reader([line.strip("\r\n")], delimiter=separator), [])
    return [cell.strip() for cell in row]


@dataclass(frozen=True, slots=True)
class Annotation:
    """The face sensor at one moment: `time_us` on the clock of the time column, `intensities` by emotion,
    `attention` and `engagement` in [0, 1], `valence` in [-1, 1]; all None if it saw no face."""

    time_us: int
    stimulus: str | None
    intensities: Mapping[str, float]
    attention: float | None
    engagement: float | None
    valence: float | None

    @property
    def blank(self) -> bool:
        """Whether the sensor saw no face."""
        return not self.intensities and self.attention is None

    @property
    def emotion(self) -> str | None:
        """The strongest emotion of at least `STRONG`, else neutral; None if there was no face. A column for
        neutral is not used: only newer exports have one."""
        if not self.intensities:
            return None
        found = {
            name: v for name, v in self.intensities.items() if name != "neutral" if v >= STRONG
        }
        return max(found, key=lambda name: found[name], default="neutral")


def read_annotations(
    layout: Layout,
    *,
    time: str | None = None,
    stimulus: str | None = None,
    event_source: str | None = None,
) -> list[Annotation]:
    """The annotations of the face sensor, in order of time.

    `time` is the time column (MediaTime, else Timestamp); with `stimulus` only its rows are read;
    `event_source` names another sensor. Raises `DataError` if no row is left, or if times go back
    because each of several stimuli restarts the clock.
    """
    clock = layout.find([normalize(time)] if time else TIME_COLUMNS)
    if not clock:
        raise DataError(f"{layout.path}: no column {time}; found {', '.join(layout.names[:40])}")
    place, source = layout.find(STIMULUS_COLUMNS), layout.find(SOURCE_COLUMNS)
    columns = {
        name: (at[0], scale)
        for name, choices in _VALUES.items()
        for column, scale in choices.items()
        if (at := layout.find([column]))
    }
    sensor_names = FACE_SOURCES if event_source is None else (event_source.casefold(),)
    sensors, stimuli = set[str](), set[str]()
    annotations: list[Annotation] = []
    last: dict[str, float] = {}
    names_sensors = any(_sensors(cells, source) for cells in rows(layout))
    for cells in rows(layout):
        found = _sensors(cells, source)
        sensors |= found
        if names_sensors and not any(n in s.casefold() for s in found for n in sensor_names):
            continue
        shown = cells[place[0]].strip() if place else ""
        stimuli.add(shown)
        time_ms = to_number(cells[clock[0]])
        if time_ms is None or (stimulus is not None and shown != stimulus):
            continue
        values = _values(cells, columns, layout)
        # Where rows do not name their sensor, a row that repeats every value is of another sensor.
        if not names_sensors and values == last and annotations:
            continue
        last = values
        intensities = {name: values[name] for name in EMOTIONS if name in values}
        more = (values.get(name) for name in ("attention", "engagement", "valence"))
        annotations.append(Annotation(round(time_ms * 1000), shown or None, intensities, *more))
    if not annotations:
        if stimulus is not None and stimulus not in stimuli:
            known = ", ".join(sorted(stimuli)) or "none"
            raise DataError(f"{layout.path}: no stimulus {stimulus!r}, found {known}")
        raise DataError(
            f"{layout.path}: no row of a face sensor; event sources are "
            f"{', '.join(sorted(sensors)) or 'not given'}; name one with --event-source"
        )
    several = sorted({a.stimulus for a in annotations if a.stimulus})
    if len(several) > 1 and any(b.time_us < a.time_us for a, b in pairwise(annotations)):
        raise DataError(
            f"{layout.path}: times restart with each stimulus ({', '.join(several)}): choose one "
            "with --stimulus, or the clock of the whole recording with --time Timestamp"
        )
    return sorted(annotations, key=lambda a: a.time_us)


def _percent(value: float, low: int = 0) -> float:
    if not low - _SLACK <= value <= 100.0 + _SLACK:
        raise ValueError(f"{low} to 100")
    return min(1.0, max(low / 100.0, value / 100.0))


def _odds(value: float) -> float:
    return 1.0 / (1.0 + math.pow(10.0, -max(-30.0, min(30.0, value))))


Scale = Callable[[float], float]
_VALUES: Mapping[str, Mapping[str, Scale]] = {
    **{name: {f"{name}evidence": _odds, name: _percent} for name in EMOTIONS},
    "attention": {"attention": _percent},
    "engagement": {"engagement": _percent},
    "valence": {"valence": partial(_percent, low=-100)},
    **{name: {f"{name}degrees": float, name: float} for name in ("yaw", "pitch", "roll")},
}
"""For each value of a row the columns that may hold it, the preferred one last, with their scale. The head's
angles only show whether a row repeats the one before."""


def _values(
    cells: Sequence[str], columns: Mapping[str, tuple[int, Scale]], layout: Layout
) -> dict[str, float]:
    """The values that a row has."""
    values = {}
    for name, (column, scale) in columns.items():
        if (found := to_number(cells[column])) is not None:
            try:
                values[name] = scale(found)
            except ValueError as expected:
                raise DataError(
                    f"{layout.path}: {layout.names[column]} is {found:g}, expected {expected}"
                ) from None
    return values


def _sensors(cells: Sequence[str], columns: Sequence[int]) -> set[str]:
    parts = (part.strip() for i in columns for part in cells[i].split("|"))
    return {part for part in parts if part and not part.isdecimal()}
