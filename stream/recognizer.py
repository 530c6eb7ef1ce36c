"""The Python API: open a recognizer, follow a source, or score a whole recording."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import AsyncIterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pyarrow as pa

from affectstream.stream.events import Event
from affectstream.stream.loaded import LoadedBundle
from affectstream.stream.offline.session import Session
from affectstream.stream.options import SourceOptions
from affectstream.stream.results.readings import table_rows, table_schema

if TYPE_CHECKING:
    from affectstream.stream.live.source import LiveOptions

_QUEUE_EVENTS = 64
"""Events that may wait for a slow consumer of `follow`."""


@dataclass(frozen=True, slots=True)
class Result:
    """A scored recording. `readings` has one row for each track and hop (see `docs/reference/events.md`)."""

    events: tuple[Event, ...]
    readings: pa.Table
    complete: bool
    """Whether the recording was read up to its end."""
    detail: str | None
    """Why it is not complete."""


class Recognizer(LoadedBundle):
    """An open bundle, ready for any number of sources.

    Use it with ``with``. Several threads may score at the same time; they share the engines.
    """

    def session(self, path: str | Path, options: SourceOptions | None = None) -> Session:
        """Open one recording; see `Session`. Raises `SourceError` if it cannot be used."""
        return Session(self.bundle, Path(path), options or SourceOptions(), self.threads)

    async def follow(
        self, path: str | Path, options: SourceOptions | None = None
    ) -> AsyncIterator[Event]:
        """Yield the events of a recording as they come, without blocking the event loop.

        Scoring waits for a slow consumer. Leaving the iteration stops all threads.
        """
        loop = asyncio.get_running_loop()
        events: asyncio.Queue[Event | BaseException | None] = asyncio.Queue(_QUEUE_EVENTS)
        stopped = threading.Event()

        def work() -> None:
            try:
                with self.session(path, options) as session:
                    for hop in session:
                        for event in hop.events:
                            if stopped.is_set():
                                return
                            asyncio.run_coroutine_threadsafe(events.put(event), loop).result()
                final: BaseException | None = None
            except BaseException as error:  # the consumer's task raises it
                final = error
            if not stopped.is_set():
                asyncio.run_coroutine_threadsafe(events.put(final), loop).result()

        thread = threading.Thread(target=work, name="follow", daemon=True)
        thread.start()
        try:
            while (event := await events.get()) is not None:
                if isinstance(event, BaseException):
                    raise event
                yield event
        finally:
            stopped.set()
            while thread.is_alive():  # make room for a blocked put, so that the thread can end
                while not events.empty():
                    events.get_nowait()
                await asyncio.sleep(0.01)

    def watch(
        self,
        source: str | LiveOptions,
        options: SourceOptions | None = None,
        *,
        duration_s: float | None = None,
    ) -> AsyncIterator[Event]:
        """Yield the events of a live source: a camera (``"0"``), a URL, or a file at its own speed.

        See `live.watch`.
        """
        from affectstream.stream.live.watch import watch

        return watch(self, source, options, duration_s=duration_s)

    def score(self, path: str | Path, options: SourceOptions | None = None) -> Result:
        """Score a whole recording. Raises `SourceError` if nothing of it can be used."""
        labels = self.bundle.manifest.labels
        events: list[Event] = []
        readings: list[dict[str, Any]] = []
        with self.session(path, options) as session:
            for hop in session:
                events += hop.events
                readings += table_rows(labels, hop, session.end_us)
        last = session.ended
        return Result(
            events=tuple(events),
            readings=pa.Table.from_pylist(readings, table_schema(labels)),
            complete=bool(last is None or last.complete),
            detail=None if last is None else last.detail,
        )
