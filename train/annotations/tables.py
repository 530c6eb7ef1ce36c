"""Tables of annotations: BORIS exports, stretches as ``start,end,label``, ratings as ``time,value``.

BORIS (Friard and Gamba, 2016) exports *aggregated events* with the columns Subject, Behavior, Start (s) and
Stop (s), and *tabular events* with one row for each START and STOP. A behavior is a label; its behavioral
category, where there is one, is the kind. Events without duration (POINT) are no stretches, and left out.

Columns are separated by commas, semicolons or tabs, as spreadsheets of different countries write them; with
semicolons a number may have a decimal comma. Times are seconds, or such as ``00:01:30.5``.
"""

from __future__ import annotations

import csv
import math
import re
from collections import defaultdict
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path

from affectstream.stream.errors import OptionError
from affectstream.stream.options import parse_time
from affectstream.train.annotations.annotations import (
    Annotations,
    Coding,
    Rating,
    Stretch,
    check_seconds,
    rating,
)
from affectstream.train.annotations.names import FREE_TEXT, kind_of, label, tier
from affectstream.train.data.imotions_export import encoding_of
from affectstream.train.errors import DataError

Row = Mapping[str, str]
_SEPARATORS = ",;\t"
_DECIMAL = re.compile(r"[-+]?\d+,\d+")
START = ("start (s)", "start", "t_start", "onset", "begin")
END = ("stop (s)", "stop", "end", "t_end", "offset")
LABEL = ("behavior", "label", "code", "state", "value")
PERSON = ("subject", "person", "track", "tier")
KIND = ("behavioral category", "kind", "of")
OBSERVATION = ("observation id",)
TIME = ("time", "time_s", "t", "start (s)")
STATUS = ("behavior type", "status")


def read_table(
    path: Path, recording: str, kind: str = "emotion", skip: Collection[str] = ()
) -> Annotations:
    """Read a CSV or TSV; `kind` is what labels are of where the table does not say, and rows of persons or
    tiers in `skip` are left out.

    Raises `DataError` for missing columns, and for a row that cannot be read, with its number.
    """
    rows = list(_rows(path))
    if not rows:
        raise DataError(f"{path}: no rows; expected some below a header such as start,end,label")
    names = set(rows[0][1])
    about = {number: _about(row) for number, row in rows}
    tiers = tuple(dict.fromkeys(name for own in about.values() for name in own))
    rows = [(number, row) for number, row in rows if not any(one in skip for one in about[number])]
    _check_one_observation(path, rows)
    start, end, name = (_first(names, keys) for keys in (START, END, LABEL))
    status, time = _first(names, STATUS), _first(names, TIME)
    if start and end and name and start != end:
        codings = _codings(path, _intervals(path, rows, start, end, name), kind)
        return Annotations(path, recording, codings, tiers=tiers)
    if status and time and name and status != name:
        codings = _codings(path, _point_events(path, rows, time, status, name), kind)
        return Annotations(path, recording, codings, tiers=tiers)
    if time:
        return Annotations(path, recording, (), tuple(_ratings(path, rows, time)), tiers)
    raise DataError(
        f"{path}: columns {', '.join(sorted(names))}; expected start, end and label, "
        "an export of BORIS, or time and one column for each rating"
    )


def _about(row: Row) -> list[str]:
    """Whom and what a row is about, by the names that `skip` may have."""
    return [name for column in (*PERSON, *KIND) if (name := row.get(column, "").strip())]


def _check_one_observation(path: Path, rows: Sequence[tuple[int, Row]]) -> None:
    found = sorted({name for _, row in rows if (name := _cell(row, OBSERVATION))})
    if len(found) > 1:
        raise DataError(
            f"{path}: {len(found)} observations in one table ({', '.join(found[:3])}): expected a file for "
            "each, which BORIS exports too"
        )


Entry = tuple[Row, Stretch]


def _codings(path: Path, entries: Iterator[Entry], default: str) -> tuple[Coding, ...]:
    grouped: dict[tuple[str | None, str], list[Stretch]] = defaultdict(list)
    for row, (begin, stop, name) in entries:
        person = _cell(row, PERSON)
        stated = _cell(row, KIND)
        kind = kind_of(stated) if stated else default
        if person is not None and not stated:  # such as the tier of an export of ELAN
            person, kind = tier(person, default)
        if kind not in FREE_TEXT:
            grouped[person, kind].append(Stretch(begin, stop, label(name, kind)))
    return tuple(Coding.of(who, kind, found, path) for (who, kind), found in grouped.items())


def _intervals(
    path: Path, rows: Sequence[tuple[int, Row]], start: str, end: str, name: str
) -> Iterator[Entry]:
    for number, row in rows:
        if row[name].strip() and (_cell(row, STATUS) or "").upper() != "POINT":
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
            if key in begun:
                raise DataError(
                    f"{path}, line {number}: START of {row[name]!r}, which began at {begun[key]:g} s already "
                    "and has no STOP"
                )
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
        text = path.read_text(encoding_of(path))
    except (OSError, UnicodeError) as error:
        raise DataError(f"{path} cannot be read: {error}") from error
    lines = text.splitlines()
    # BORIS writes what it knows of the observation above the table.
    head = next((i for i, line in enumerate(lines) if _is_header(line)), 0)
    separator = max(_SEPARATORS, key=lines[head].count) if lines else ","
    reader = csv.DictReader(lines[head:], delimiter=separator)
    for row in reader:
        yield (
            head + reader.line_num,
            {
                key.strip().casefold(): _plain(value or "", separator)
                for key, value in row.items()
                if key
            },
        )


def _plain(text: str, separator: str) -> str:
    """A cell, with a decimal point where it is a number with a comma."""
    return text.replace(",", ".") if separator != "," and _DECIMAL.fullmatch(text.strip()) else text


def _is_header(line: str) -> bool:
    cells = {cell.strip().strip('"').casefold() for cell in re.split("[,;\t]", line)}
    times = {*START, *TIME} & cells
    return bool(times) and bool(cells - times)


def _first(names: set[str], candidates: Sequence[str]) -> str | None:
    return next((name for name in candidates if name in names), None)


def _cell(row: Row, candidates: Sequence[str]) -> str | None:
    found = next((row[name].strip() for name in candidates if row.get(name, "").strip()), None)
    return None if found is None or found.casefold() == "no focal subject" else found


def _number(path: Path, line: int, text: str) -> float:
    try:
        value = parse_time(text.strip()) / 1e6 if ":" in text else float(text.strip())
    except (ValueError, OptionError):
        value = math.nan
    if not math.isfinite(value):
        raise DataError(
            f"{path}, line {line}: {text!r} is no number, nor a time such as 00:01:30.5"
        )
    return value
