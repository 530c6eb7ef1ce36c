"""Tables of annotations: BORIS exports, stretches as ``start,end,label``, ratings as ``time,value``.

BORIS (Friard and Gamba, 2016) exports *aggregated events* with the columns Subject, Behavior, Start (s) and
Stop (s), and *tabular events* with one row for each START and STOP. A behavior is a label; its behavioral
category, where there is one, is the kind.
"""

from __future__ import annotations

import csv
import math
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

from affectstream.train.annotations.annotations import (
    Annotations,
    Coding,
    Rating,
    Stretch,
    check_seconds,
    rating,
)
from affectstream.train.annotations.names import label, tier
from affectstream.train.errors import DataError

Row = Mapping[str, str]
START = ("start (s)", "start", "t_start", "onset", "begin")
END = ("stop (s)", "stop", "end", "t_end", "offset")
LABEL = ("behavior", "label", "code", "state", "value")
PERSON = ("subject", "person", "track", "tier")
KIND = ("behavioral category", "kind", "of", "modality")
TIME = ("time", "time_s", "t", "start (s)")
STATUS = ("behavior type", "status")


def read_table(path: Path, recording: str, kind: str = "emotion") -> Annotations:
    """Read a CSV or TSV; `kind` is what labels are of where the table does not say.

    Raises `DataError` for missing columns, and for a row that cannot be read, with its number.
    """
    rows = list(_rows(path))
    if not rows:
        raise DataError(f"{path}: no rows; expected some below a header such as start,end,label")
    names = set(rows[0][1])
    start, end, name = (_first(names, keys) for keys in (START, END, LABEL))
    status, time = _first(names, STATUS), _first(names, TIME)
    if start and end and name and start != end:
        codings = _codings(path, _intervals(path, rows, start, end, name), kind)
        return Annotations(path, recording, codings)
    if status and time and name and status != name:
        codings = _codings(path, _point_events(path, rows, time, status, name), kind)
        return Annotations(path, recording, codings)
    if time:
        return Annotations(path, recording, (), tuple(_ratings(path, rows, time)))
    raise DataError(
        f"{path}: columns {', '.join(sorted(names))}; expected start, end and label, "
        "an export of BORIS, or time and one column for each rating"
    )


Entry = tuple[Row, Stretch]


def _codings(path: Path, entries: Iterator[Entry], default: str) -> tuple[Coding, ...]:
    grouped: dict[tuple[str | None, str], list[Stretch]] = defaultdict(list)
    for row, (begin, stop, name) in entries:
        person = _cell(row, PERSON)
        stated = _cell(row, KIND)
        kind = tier(stated, default)[1] if stated else default
        if person is not None and not stated:  # such as the tier of an export of ELAN
            person, kind = tier(person, default)
        grouped[person, kind].append(Stretch(begin, stop, label(name, kind)))
    return tuple(Coding.of(who, kind, found, path) for (who, kind), found in grouped.items())


def _intervals(
    path: Path, rows: Sequence[tuple[int, Row]], start: str, end: str, name: str
) -> Iterator[Entry]:
    for number, row in rows:
        if row[name].strip():
            times = _number(path, number, row[start]), _number(path, number, row[end])
            yield row, Stretch(*times, row[name])


def _point_events(
    path: Path, rows: Sequence[tuple[int, Row]], time: str, status: str, name: str
) -> Iterator[Entry]:
    """Pairs of START and STOP of one behavior of one subject."""
    begun: dict[tuple[str | None, str], float] = {}
    for number, row in rows:
        key, at = (_cell(row, PERSON), row[name]), _number(path, number, row[time])
        if row[status].strip().upper() == "START":
            begun[key] = at
        elif row[status].strip().upper() == "STOP":
            if key not in begun:
                raise DataError(f"{path}, line {number}: STOP of {row[name]!r} without its START")
            yield row, Stretch(begun.pop(key), at, row[name])
    if begun:
        (_, left), at = next(iter(begun.items()))
        raise DataError(f"{path}: {left!r} begins at {at:g} s and has no STOP")


def _ratings(path: Path, rows: Sequence[tuple[int, Row]], time: str) -> Iterator[Rating]:
    points: dict[tuple[str | None, str], list[tuple[float, float]]] = defaultdict(list)
    for number, row in rows:
        person, at = _cell(row, PERSON), _number(path, number, row[time])
        for name, text in row.items():
            if name != time and name not in PERSON and text.strip():
                points[person, name].append((at, _number(path, number, text)))
    for (person, name), found in points.items():
        check_seconds(max(at for at, _ in found), f"{path}: {name}")
        yield rating(person, name, *zip(*found, strict=True))


def _rows(path: Path) -> Iterator[tuple[int, Row]]:
    """Rows by lower-case column name, with their line number."""
    try:
        text = path.read_text("utf-8-sig")
    except (OSError, UnicodeError) as error:
        raise DataError(f"{path} cannot be read: {error}") from error
    lines = text.splitlines()
    # BORIS writes what it knows of the observation above the table.
    head = next((i for i, line in enumerate(lines) if _is_header(line)), 0)
    separator = "\t" if lines and lines[head].count("\t") > lines[head].count(",") else ","
    reader = csv.DictReader(lines[head:], delimiter=separator)
    for row in reader:
        yield (
            head + reader.line_num,
            {(key or "").strip().casefold(): value or "" for key, value in row.items() if key},
        )


def _is_header(line: str) -> bool:
    cells = {cell.strip().strip('"').casefold() for cell in line.replace("\t", ",").split(",")}
    times = {*START, *TIME} & cells
    return bool(times) and bool(cells - times)


def _first(names: set[str], candidates: Sequence[str]) -> str | None:
    return next((name for name in candidates if name in names), None)


def _cell(row: Row, candidates: Sequence[str]) -> str | None:
    found = next((row[name].strip() for name in candidates if row.get(name, "").strip()), None)
    return None if found is None or found.casefold() == "no focal subject" else found


def _number(path: Path, line: int, text: str) -> float:
    try:
        value = float(text.strip())
    except ValueError:
        value = math.nan
    if not math.isfinite(value):
        raise DataError(f"{path}, line {line}: {text!r} is no number")
    return value
