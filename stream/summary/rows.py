"""The table of a summary: one row for each recording and person."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa

from affectstream.stream.errors import OutputError
from affectstream.stream.options import valid_text
from affectstream.stream.report.people_file import (
    PEOPLE,
    PeopleSummary,
    people_summary,
    read,
)
from affectstream.stream.report.person_summary import STATES, PersonSummary
from affectstream.stream.results.origin import STATED_USE
from affectstream.stream.results.scored import ScoredRecording

BRIEF = 0.05
"""A person with less coverage than this is a brief appearance: in the table, in no comparison."""
MEASURES = (
    *("valence", "arousal", "attention", "attentive", "gaze_away", "speaking"),
    *("segments_per_minute", "confidence", "coverage", "labeled", "quality"),
)
"""The columns that are compared, besides the shares of labels."""
REPORTS = "report.html", "report-embedded.html"
"""The files that a row leads to: the first one that there is."""

MOMENTS = "moments"
"""Of a row, not of the table: where in the recording each column is lowest and highest; see
`report.moments`."""

Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Collected:
    """All rows of a folder."""

    labels: tuple[str, ...]
    """The labels of all bundles."""
    people: list[Row]
    """Sorted by recording and track. A recording without people has one row, with nothing measured."""
    pairs: list[Row]

    def table(self) -> pa.Table:
        """The rows of people as Arrow, the same columns whatever was measured."""
        return pa.Table.from_pylist(self.people, schema(self.labels))

    def pair_table(self) -> pa.Table:
        """The rows of pairs as Arrow."""
        return pa.Table.from_pylist(self.pairs, PAIR_SCHEMA)


def schema(labels: Iterable[str]) -> pa.Schema:
    """The columns of `summary.parquet` and `summary.csv`."""
    number = pa.float64()
    return pa.schema(
        [
            ("recording", pa.string()),
            ("group", pa.string()),
            ("status", pa.string()),
            ("reason", pa.string()),
            *((name, pa.string()) for name in STATED_USE),
            ("duration_s", number),
            ("track", pa.int32()),
            ("person", pa.string()),
            ("brief", pa.bool_()),
            ("first_s", number),
            ("last_s", number),
            *((name, number) for name in MEASURES),
            ("away", number),
            ("absent", number),
            *((f"share_{label}", number) for label in labels),
            ("outlier", pa.string()),
            ("report", pa.string()),
        ]
    )


PAIR_SCHEMA = pa.schema(
    [
        ("recording", pa.string()),
        ("group", pa.string()),
        ("first", pa.int32()),
        ("second", pa.int32()),
        ("measure", pa.string()),
        ("windows", pa.int32()),
        ("peak", pa.float64()),
        ("chance_low", pa.float64()),
        ("chance_high", pa.float64()),
        ("p", pa.float64()),
        ("lag_s", pa.float64()),
        ("window_s", pa.float64()),
        *((name, pa.string()) for name in STATED_USE),
        ("report", pa.string()),
    ]
)


def collect(output: Path, runs: Iterable[tuple[str, Mapping[str, Any]]]) -> Collected:
    """The rows of `runs`: the name of each recording, its folder in `output`, and its `run.json`."""
    people: list[Row] = []
    pairs: list[Row] = []
    labels: dict[str, None] = {}
    for name, run in sorted(runs, key=lambda one: one[0]):
        folder = output / name
        failure = run.get("failure") or {}
        shown = valid_text(name)
        # No link can hold a name that is not UTF-8.
        reports = [one for one in REPORTS if shown == name and (folder / one).is_file()]
        about: Row = {
            "recording": shown,
            "group": run.get("group"),
            "status": run.get("status"),
            "reason": failure.get("reason"),
            **{name: run.get(name) for name in STATED_USE},
            "report": f"{name}/{reports[0]}" if reports else None,
        }
        found = _people(folder, run)
        if found is None:
            people.append(about | {"duration_s": run.get("media_s")})
            continue
        about["duration_s"] = found.duration_s
        places = found.moments or [{} for _ in found.people]
        rows = [
            about | _person(one) | {MOMENTS: at}
            for one, at in zip(found.people, places, strict=True)
        ]
        people += rows or [about]
        labels |= dict.fromkeys(label for one in found.people for label in one.labels)
        for pair in found.pairs:
            row = {field: getattr(pair, field) for field in pair.__slots__ if field != "chance"}
            low, high = pair.chance
            pairs.append(about | row | {"chance_low": low, "chance_high": high})
    return Collected(tuple(labels), people, pairs)


def _people(folder: Path, run: Mapping[str, Any]) -> PeopleSummary | None:
    """The numbers of a recording, from the results if there is no file of them; None without results."""
    if run.get("status") == "failed":
        return None
    with suppress(OSError, msgspec.DecodeError):
        return read(folder / PEOPLE)
    with suppress(OutputError):
        return people_summary(ScoredRecording.load(folder))
    return None


def _person(one: PersonSummary) -> Row:
    found: Row = {
        "track": one.track,
        "person": "recording" if one.track is None else f"person {one.track}",
        "brief": one.coverage < BRIEF,
        "first_s": one.first_s,
        "last_s": one.last_s,
        **one.states,
        **{f"share_{label}": share for label, share in one.labels.items()},
    }
    return found | {name: getattr(one, name) for name in MEASURES if name not in STATES}
