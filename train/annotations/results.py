"""Our own results: readings where they are, else events."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

from affectstream.stream.events import Attention, Emotion, parse_event
from affectstream.stream.results.scored import EVENTS, READINGS, RUN
from affectstream.train.annotations.annotations import Annotations, Coding, Part, Stretch, rating
from affectstream.train.annotations.names import recording_name
from affectstream.train.errors import DataError

QUANTITIES = ("valence", "arousal", "engagement")
SCORE = "attention score"
Row = Mapping[str, Any]


class _Options(msgspec.Struct, frozen=True):
    start_s: float | None = None
    end_s: float | None = None


class _Run(msgspec.Struct):
    """What is read of `run.json`."""

    source: str
    options: _Options = _Options()


def read_results(path: Path, recording: str) -> Annotations:
    """Read a table of readings, or events as JSON Lines, and beside them in `run.json` whether they are of a
    part of a recording. A hop without a label is no verdict.

    Raises `DataError` for another file.
    """
    rows = list(_readings(path) if path.suffix == ".parquet" else _events(path))
    persons = list(dict.fromkeys(row["track"] for row in rows))
    codings: list[Coding] = []
    ratings = []
    for track in persons:
        own = [row for row in rows if row["track"] == track]
        person = None if track is None else str(track)
        for kind, key in (("emotion", "label"), ("attention", "attention_state")):
            stretches = _stretches(own, key)
            if stretches:
                codings.append(Coding(person, kind, tuple(stretches)))
        for kind, key in (*((name, name) for name in QUANTITIES), (SCORE, "attention")):
            points = [(row["t_start"], row[key]) for row in own if row.get(key) is not None]
            if points:
                ratings.append(rating(person, kind, *zip(*points, strict=True)))
    part = _part(path.parent / RUN) if path.name in (READINGS, EVENTS) else None
    return Annotations(path, recording, tuple(codings), tuple(ratings), part=part)


def _part(path: Path) -> Part | None:
    """The part of a recording that a `run.json` tells of; None of a whole one, and without the file."""
    if not path.is_file():
        return None
    try:
        run = msgspec.json.decode(path.read_bytes(), type=_Run)
    except (msgspec.MsgspecError, OSError) as error:
        raise DataError(f"{path} cannot be read ({error}): score the recording again") from error
    start, end = run.options.start_s or 0.0, run.options.end_s
    if not start and end is None:
        return None
    name = recording_name(Path(run.source))
    return Part(name, start, math.inf if end is None else end, run.source)


def _stretches(rows: list[Row], key: str) -> list[Stretch]:
    """Hops with the same label that follow each other, joined."""
    joined: list[Stretch] = []
    for row in sorted(rows, key=lambda row: row["t_start"]):
        name = row.get(key)
        if name is None or row["t_end"] <= row["t_start"]:
            continue
        last = joined[-1] if joined else None
        if last is not None and last.label == name and abs(last.end - row["t_start"]) < 1e-6:
            joined[-1] = Stretch(last.start, row["t_end"], name)
        else:
            joined.append(Stretch(row["t_start"], row["t_end"], name))
    return joined


def _readings(path: Path) -> Iterator[Row]:
    wanted = ("track", "t_start", "t_end", "label", "attention_state", "attention", *QUANTITIES)
    try:
        with (
            path.open("rb") as opened,
            pq.ParquetFile(opened) as file,
        ):  # its name need not be UTF-8
            columns = [name for name in wanted if name in file.schema_arrow.names]
            table = file.read(columns)
    except (pa.ArrowInvalid, OSError) as error:
        raise DataError(f"{path} is no Parquet table: {error}") from error
    missing = {"track", "t_start", "t_end"} - set(columns)
    if missing:
        raise DataError(
            f"{path}: no column {', '.join(sorted(missing))}; expected a readings table"
        )
    rows: list[Row] = table.to_pylist()
    yield from rows


def _events(path: Path) -> Iterator[Row]:
    """One row for each event of an emotion or of attention; both of a hop are read alike."""
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            if not line.strip():
                continue
            try:
                event = parse_event(line)
            except ValueError as error:
                raise DataError(f"{path}, line {number}: {error}") from error
            time = {
                "track": getattr(event, "track", None),
                "t_start": event.t_start,
                "t_end": event.t_end,
            }
            if isinstance(event, Emotion):
                values = {name: getattr(event, name, None) for name in QUANTITIES}
                yield {**time, "label": event.label, **values}
            elif isinstance(event, Attention):
                yield {**time, "attention_state": event.state, "attention": event.score}
