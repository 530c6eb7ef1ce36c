"""`people.json`: the numbers of each person and pair of a recording, from which a summary is made."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import msgspec

from affectstream.stream.annotations.tiers import stated_use
from affectstream.stream.report.moments import Moment, moments
from affectstream.stream.report.person_summary import PersonSummary, summarize
from affectstream.stream.report.readings_by_person import hop_seconds, people
from affectstream.stream.report.synchrony import synchronies
from affectstream.stream.results.scored import ScoredRecording

PEOPLE = "people.json"


@dataclass(frozen=True, slots=True)
class PairSummary:
    """How one measure of two people moved together; see `synchrony.Synchrony`."""

    first: int | None
    second: int | None
    measure: str
    windows: int
    peak: float
    chance: tuple[float, float]
    p: float
    lag_s: float
    window_s: float = 10.0
    """Of the correlations; that of files from before it was written."""


@dataclass(frozen=True, slots=True)
class PeopleSummary:
    """The numbers of one recording."""

    duration_s: float
    people: list[PersonSummary]
    pairs: list[PairSummary]
    moments: list[dict[str, Moment]] = field(default_factory=list)
    """Of each of `people`, where its figures stand out; none in files from before they were written."""


def people_summary(recording: ScoredRecording) -> PeopleSummary:
    """The numbers of a scored recording."""
    times = [(event.t_start, event.t_end) for event in recording.events]
    duration_s = round(max(end for _, end in times) - min(start for start, _ in times), 6)
    hop_s, found = hop_seconds(recording.readings), people(recording.readings)
    rows = [
        summarize(one, recording.segments, recording.labels, hop_s=hop_s, duration_s=duration_s)
        for one in found
    ]
    pairs = [
        PairSummary(
            p.first, p.second, p.measure, p.windows, p.peak, p.chance, p.p, p.lag_s, p.window_s
        )
        for p in synchronies(found, hop_s)
    ]
    places = [moments(one, recording.segments, recording.labels, hop_s=hop_s) for one in found]
    return PeopleSummary(duration_s, rows, pairs, places)


def write(recording: ScoredRecording, path: Path) -> None:
    """Write the numbers of `recording` to `path`."""
    document: dict[str, Any] = asdict(people_summary(recording)) | stated_use(recording)
    path.write_bytes(msgspec.json.format(msgspec.json.encode(document), indent=1) + b"\n")


def read(path: Path) -> PeopleSummary:
    """Read them back. Raises `OSError`, or `msgspec.DecodeError` for another file."""
    return msgspec.json.decode(path.read_bytes(), type=PeopleSummary)
