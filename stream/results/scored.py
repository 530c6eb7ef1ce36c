"""A recording whose scoring is over, as reports of it are written."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Self

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

from affectstream.stream.errors import OutputError
from affectstream.stream.events import Event, Segment, parse_event
from affectstream.stream.media.types import Cue
from affectstream.stream.results.interpret import HopResult
from affectstream.stream.results.origin import Origin
from affectstream.stream.results.readings import table_rows, table_schema

RUN, EVENTS, READINGS = "run.json", "events.jsonl", "readings.parquet"
_GROUP_ROWS = 256


@dataclass(frozen=True, slots=True, eq=False)
class ScoredRecording:
    """Everything that was computed of one recording."""

    path: Path
    """The recording, where it was when it was scored."""
    events: tuple[Event, ...]
    """All events in the order of `events.jsonl`, from `started` to `ended`."""
    readings: pa.Table
    """One row for each track and hop, with the columns of `readings.parquet`."""
    words: tuple[Cue, ...]
    """The cues of the transcript in the order of their end; empty without one."""
    run: Mapping[str, Any]
    """The document of `run.json`: status, bundle, options, device, versions, times, counts."""

    @property
    def name(self) -> str:
        """The name of the recording, as in its events."""
        return self.events[0].stream

    @property
    def segments(self) -> tuple[Segment, ...]:
        """The segments, in the order of their end."""
        return tuple(event for event in self.events if isinstance(event, Segment))

    @property
    def options(self) -> Mapping[str, Any]:
        """The options that differ from their default, as `SourceOptions.described` gives them."""
        found: Mapping[str, Any] = self.run["options"]
        return found

    @property
    def bundle(self) -> Mapping[str, Any]:
        """`name`, `version`, `labels` (in the order of the scores) and `manifest_sha256` of the bundle."""
        found: Mapping[str, Any] = self.run["bundle"]
        return found

    @property
    def labels(self) -> tuple[str, ...]:
        """The labels of the bundle, in the order of the scores."""
        return tuple(self.bundle["labels"])

    @classmethod
    def load(cls, folder: Path, words: Sequence[Cue] = ()) -> Self:
        """Read the results in `folder`, the folder of one recording.

        It needs `run.json`, `events.jsonl` and `readings.parquet`. The words are not among the results: pass
        them. Raises `OutputError` if a file is missing or is none of ours.
        """
        try:
            run = msgspec.json.decode((folder / RUN).read_bytes(), type=dict[str, Any])
            with (folder / EVENTS).open("rb") as lines:
                events = tuple(parse_event(line) for line in lines)
            readings = pq.read_table(folder / READINGS)
        except (OSError, ValueError, pa.ArrowException) as error:
            raise OutputError(
                f"{folder}: these results cannot be read: {error}; expected {RUN}, {EVENTS} and {READINGS} "
                "of a recording that was scored"
            ) from error
        return cls(Path(run["source"]), events, readings, tuple(words), run)


def run_json(run: Mapping[str, Any]) -> bytes:
    """The content of `run.json`."""
    return msgspec.json.format(msgspec.json.encode(run), indent=2) + b"\n"


class Collector:
    """Keeps all results of a recording for writers that need the whole of it.

    That takes about 2 KB for each track and hop.
    """

    def __init__(self, origin: Origin) -> None:
        self._origin = origin
        self._schema = table_schema(origin.labels).with_metadata(origin.metadata)
        self._events: list[Event] = []
        self._rows: list[dict[str, Any]] = []
        self._batches: list[pa.RecordBatch] = []

    def push(self, hop: HopResult, end_us: int) -> None:
        """Keep one hop; `end_us` is where the source ends, as far as is known."""
        self._events += hop.events
        self._rows += table_rows(self._origin, hop, end_us)
        if len(self._rows) >= _GROUP_ROWS:
            self._flush()

    def recording(
        self, path: Path, words: Sequence[Cue], run: Mapping[str, Any]
    ) -> ScoredRecording:
        """All that was pushed."""
        self._flush()
        readings = pa.Table.from_batches(self._batches, self._schema)
        return ScoredRecording(path, tuple(self._events), readings, tuple(words), run)

    def _flush(self) -> None:
        self._batches.append(pa.RecordBatch.from_pylist(self._rows, self._schema))
        self._rows = []
