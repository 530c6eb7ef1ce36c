"""What one more face, pixel, minute or session costs, and with which exponent the cost grows.

Four things are varied, each alone, and the processor time of all threads is measured:

    faces       in view: the picture of the recording is repeated in the cells of a grid of 1280x720 pixels
    resolution  the recording encoded at each size
    duration    the recording repeated without encoding it again, scored into files, each in a new process
    sessions    of one server; each sends the recording in real time

    affectstream bench cost
    affectstream bench cost --only duration --minutes 1,8,60,480 --repeats 1
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from affectstream.bench.cost.growth import Growth, Name, Point, check_scipy, table
from affectstream.bench.cost.scoring import by_duration, by_faces, by_resolution
from affectstream.bench.machine import describe
from affectstream.bench.output import finish, tables
from affectstream.bench.score.resolutions import SIZES
from affectstream.engines.errors import UsageError
from affectstream.stream.demo import write_clip
from affectstream.stream.recognizer import Recognizer


@dataclass(frozen=True, slots=True)
class Ranges:
    """The settings of each thing that is varied; only those in `only` are measured."""

    only: Sequence[Name]
    faces: Sequence[int]
    sizes: Sequence[str]
    minutes: Sequence[float]
    sessions: Sequence[int]


def main(
    file: Path | None,
    bundle: str,
    device: str,
    ranges: Ranges,
    seconds: float,
    repeats: int,
    output: Path | None,
    *,
    as_json: bool = False,
) -> None:
    """Measure and print, JSON last; with `as_json` nothing else. With `output` also write it there.

    Recordings for faces and resolution have `seconds` at most, and a number of sessions is measured for as
    long. Raises `UsageError` for an unknown size, a clip without a face and without scipy, `SourceError` for
    a clip that cannot be used.
    """
    if unknown := [size for size in ranges.sizes if size not in SIZES]:
        raise UsageError(f"--sizes {unknown[0]}: expected some of {','.join(SIZES)}")
    check_scipy()
    load = round(os.getloadavg()[0], 2)
    growths = []
    with (
        tables(hidden=as_json),
        TemporaryDirectory() as scratch,
    ):
        clip = file or write_clip(Path(scratch))
        for name in ranges.only:
            growth = _measure(name, clip, bundle, device, ranges, seconds, repeats)
            print(f"\n{table(growth)}", flush=True)
            growths.append(growth)
    result = {
        "bench": "cost",
        "bundle": bundle,
        "device": device,
        "source": "demo" if file is None else file.name,
        "seconds": seconds,
        "rounds": repeats,
        "load_before": load,
        "growth": [growth.document() for growth in growths],
        "machine": describe(),
    }
    finish("cost", result, output, lambda path: _draw(path, result))


def _measure(
    name: Name,
    clip: Path,
    bundle: str,
    device: str,
    ranges: Ranges,
    seconds: float,
    repeats: int,
) -> Growth:
    if name == "sessions":
        return _by_sessions(clip, bundle, device, ranges.sessions, seconds)
    if name == "duration":
        return by_duration(clip, bundle, device, ranges.minutes, repeats)
    with Recognizer.open(bundle, device=device) as recognizer:
        if name == "faces":
            return by_faces(clip, recognizer, ranges.faces, seconds, repeats)
        return by_resolution(clip, recognizer, ranges.sizes, seconds, repeats)


def _by_sessions(
    clip: Path, bundle: str, device: str, counts: Sequence[int], seconds: float
) -> Growth:
    """The cores that a server uses with so many sessions; measured once each.

    Stable is what has the same delay in three parts of the time.
    """
    from affectstream.bench.serve.sessions import Server, measure

    found = measure(clip, Server(bundle, device), counts, seconds)
    points = []
    for row in found["rows"]:
        more = {"delay p95 ms": row["delay_p95"], "lowered": row["lowered"]}
        shown = {key: float(value) for key, value in more.items() if value is not None}
        count = row["sessions"]
        points.append(Point(f"{count}", count, (row["cpu"],), shown, row["stable"]))
    return Growth("sessions", tuple(points))


def _draw(path: Path, result: dict[str, Any]) -> None:
    from affectstream.bench.cost.picture import draw

    draw(path, result)
