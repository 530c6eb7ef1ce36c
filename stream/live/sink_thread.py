"""Writes the results of a live session on a thread of its own: a sink that is stuck (a full pipe, a slow
disk) delays neither the session nor its end."""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from typing import BinaryIO

from affectstream.stream.results.interpret import HopResult
from affectstream.stream.sinks.base import Sink

MAX_WAITING = 4096
"""Hops and events that may wait: a quarter of an hour of one person."""


class Unbuffered:
    """A binary stream without its buffer: a thread that is stuck in a buffered write holds the lock of the
    buffer, and Python waits for that lock when it exits."""

    def __init__(self, stream: BinaryIO) -> None:
        self._raw = getattr(stream, "raw", stream)

    def writelines(self, lines: Iterable[bytes]) -> None:
        """Write all of them."""
        rest = memoryview(b"".join(lines))
        while rest:
            rest = rest[self._raw.write(rest) :]

    def flush(self) -> None:
        """Nothing is buffered."""


@dataclass(frozen=True, slots=True)
class _End:
    """Nothing more will be written; `commit` completes what was."""

    commit: Callable[[], object] | None


class SinkThread:
    """Put hops from any thread; they are written in order. `finish` waits for the rest."""

    def __init__(self, sink: Sink, end_us: Callable[[], int]) -> None:
        """`end_us` returns how far the source has come, which tables need."""
        self._sink, self._end_us = sink, end_us
        self._waiting: queue.Queue[HopResult | _End] = queue.Queue(MAX_WAITING)
        self.delivered = 0
        """Events that were written."""
        self.lost = 0
        """Events that found no room, or were not written before the end."""
        self.error: BaseException | None = None
        """The exception that stopped the sink."""
        self._thread = threading.Thread(target=self._run, name="sink", daemon=True)
        self._thread.start()

    def put(self, hop: HopResult) -> None:
        """Hand over a hop; it is lost if too many wait or the sink has failed."""
        if self.error is not None:
            self.lost += len(hop.events)
            return
        try:
            self._waiting.put_nowait(hop)
        except queue.Full:
            self.lost += len(hop.events)

    def finish(self, timeout_s: float, commit: Callable[[], object] | None = None) -> bool:
        """Whether everything was written, and `commit` has returned, within the time.

        `commit` is called on the thread of the sink, after the last write: closing a file waits for the
        storage too. Put nothing after this.
        """
        until_s = time.monotonic() + timeout_s
        try:
            self._waiting.put(_End(commit), timeout=timeout_s)
        except queue.Full:
            pass
        else:
            self._thread.join(max(0.0, until_s - time.monotonic()))
        if self._thread.is_alive() or self.error is not None:
            self.lost += sum(
                len(hop.events) for hop in list(self._waiting.queue) if isinstance(hop, HopResult)
            )
            return False
        return True

    def _run(self) -> None:
        try:
            while isinstance(hop := self._waiting.get(), HopResult):
                self._sink.push(hop, self._end_us())
                self.delivered += len(hop.events)
            if hop.commit is not None:
                hop.commit()
        except BaseException as error:  # for the main thread
            self.error = error
