"""Records when each stage of the pipeline works, for a timeline. Off unless someone records.

    with recording(Timeline()) as timeline:
        ...
    timeline.write(Path("out.json"))

The file is in Chrome's trace format, which https://ui.perfetto.dev and chrome://tracing open.
"""

from __future__ import annotations

import json
import os
import threading
import time
from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal, Protocol, TypeVar

Stage = Literal[
    "queue",
    "decode",
    "convert",
    "detect",
    "geometry",
    "encode face",
    "encode voice",
    "encode text",
    "speech",
    "voices",
    "fuse",
    "emit",
]
"""The lanes of a timeline, from top to bottom."""
STAGES: tuple[Stage, ...] = Stage.__args__  # type: ignore[attr-defined]
MOST = 1_000_000
"""Spans that are kept: about ten minutes of one session with everything. The oldest are kept."""


@dataclass(frozen=True, slots=True)
class Span:
    """One piece of work; times are of `time.perf_counter`."""

    stage: Stage
    start_s: float
    end_s: float
    thread: str
    rows: int
    """What the stage works on: frames, faces, windows; 0 where it is not counted."""

    @property
    def seconds(self) -> float:
        """How long it took."""
        return self.end_s - self.start_s


class Timeline:
    """Spans of all threads of this process."""

    def __init__(self) -> None:
        self.spans: list[Span] = []
        self.lost = 0
        """Spans beyond `MOST`."""
        self._began_s = time.perf_counter()

    def add(self, stage: Stage, start_s: float, end_s: float, rows: int = 0) -> None:
        """Add one span. Any thread may call this."""
        if len(self.spans) < MOST:
            name = threading.current_thread().name
            self.spans.append(Span(stage, start_s, end_s, name, rows))
        else:
            self.lost += 1

    def document(self) -> dict[str, Any]:
        """The timeline in Chrome's trace format: a lane for each stage, one more for each further thread."""
        lanes: dict[tuple[Stage, str], int] = {}
        threads: dict[Stage, int] = {}
        events: list[dict[str, Any]] = []
        process = os.getpid()
        for span in sorted(self.spans, key=lambda span: span.start_s):
            key = span.stage, span.thread
            if key not in lanes:
                number = threads[span.stage] = threads.get(span.stage, 0) + 1
                lanes[key] = 1000 * STAGES.index(span.stage) + number
                name = span.stage if number == 1 else f"{span.stage} {number}"
                events += _lane(process, lanes[key], name)
            events.append(
                {
                    "name": span.stage,
                    "ph": "X",
                    "ts": round(1e6 * (span.start_s - self._began_s), 1),
                    "dur": round(1e6 * span.seconds, 1),
                    "pid": process,
                    "tid": lanes[key],
                    "args": {"thread": span.thread} | ({"rows": span.rows} if span.rows else {}),
                }
            )
        return {"traceEvents": events, "displayTimeUnit": "ms", "otherData": {"lost": self.lost}}

    def write(self, path: Path) -> None:
        """Write `document` to `path`. Raises `OSError`."""
        path.write_text(json.dumps(self.document(), separators=(",", ":")), encoding="utf-8")


def _lane(process: int, lane: int, name: str) -> list[dict[str, Any]]:
    common = {"ph": "M", "pid": process, "tid": lane}
    return [
        {**common, "name": "thread_name", "args": {"name": name}},
        {**common, "name": "thread_sort_index", "args": {"sort_index": lane}},
    ]


class Recorder(Protocol):
    """Takes spans as they end."""

    def add(self, stage: Stage, start_s: float, end_s: float, rows: int = 0) -> None:
        """Take one span; times are of `time.perf_counter`. Any thread may call this."""
        ...


_R = TypeVar("_R", bound=Recorder)
_recorders: tuple[Recorder, ...] = ()
_OFF = nullcontext()


def current() -> Timeline | None:
    """The timeline that is recorded; None while nobody records."""
    return next((one for one in _recorders if isinstance(one, Timeline)), None)


def span(stage: Stage, rows: int = 0) -> AbstractContextManager[None]:
    """Record the body of a ``with`` statement as one span. Costs nearly nothing while nobody records."""
    return _recorded(_recorders, stage, rows) if _recorders else _OFF


def waited(stage: Stage, seconds: float) -> None:
    """Record that something waited for `seconds` until now."""
    if _recorders:
        now_s = time.perf_counter()
        for recorder in _recorders:
            recorder.add(stage, now_s - max(0.0, seconds), now_s)


@contextmanager
def _recorded(recorders: tuple[Recorder, ...], stage: Stage, rows: int) -> Iterator[None]:
    began_s = time.perf_counter()
    try:
        yield
    finally:
        ended_s = time.perf_counter()
        for recorder in recorders:
            recorder.add(stage, began_s, ended_s, rows)


@contextmanager
def recording(recorder: _R) -> Iterator[_R]:
    """Record all spans of this process. One `Timeline` at a time: raises `RuntimeError` otherwise."""
    global _recorders
    if isinstance(recorder, Timeline) and current() is not None:
        raise RuntimeError("another timeline is being recorded")
    _recorders = (*_recorders, recorder)
    try:
        yield recorder
    finally:
        _recorders = tuple(one for one in _recorders if one is not recorder)
