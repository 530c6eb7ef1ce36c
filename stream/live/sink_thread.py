"""Results of a live session to their sinks, on a thread of its own: a sink that is stuck (a full pipe,
a slow disk) holds up neither the session nor its end."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Iterable
from typing import BinaryIO, Protocol

from affectstream.stream.results.interpret import HopResult

MOST_WAITING = 4096
"""Hops and events that may wait: a quarter of an hour of one person."""


class Sink(Protocol):
    """What takes hops: `JsonlStream`, `OutputFolder`."""

    def push(self, hop: HopResult, end_us: int) -> None:
        """Take one."""
        ...


class Unbuffered:
    """A binary stream past its buffer: a thread that is stuck in a buffered write holds the buffer's
    lock, and Python waits for that when it ends."""

    def __init__(self, stream: BinaryIO) -> None:
        self._raw = getattr(stream, "raw", stream)

    def writelines(self, lines: Iterable[bytes]) -> None:
        """Write all of them."""
        rest = memoryview(b"".join(lines))
        while rest:
            rest = rest[self._raw.write(rest) :]

    def flush(self) -> None:
        """Nothing is held back."""


class SinkThread:
    """Put hops from any thread; they are pushed in order. `finish` waits for the rest."""

    def __init__(self, sink: Sink, end_us: Callable[[], int]) -> None:
        """`end_us` says how far the source has come, which tables want to know."""
        self._sink, self._end_us = sink, end_us
        self._waiting: queue.Queue[HopResult | None] = queue.Queue(MOST_WAITING)
        self.delivered = 0
        """Events that the sink took."""
        self.lost = 0
        """Events that it had no room for, or that were not taken before the end."""
        self.error: BaseException | None = None
        """Why it takes no more."""
        self._thread = threading.Thread(target=self._run, name="sink", daemon=True)
        self._thread.start()

    def put(self, hop: HopResult) -> None:
        """Hand over a hop, which is lost where too many wait or the sink has failed."""
        if self.error is not None:
            self.lost += len(hop.events)
            return
        try:
            self._waiting.put_nowait(hop)
        except queue.Full:
            self.lost += len(hop.events)

    def finish(self, timeout_s: float) -> bool:
        """Whether everything was delivered within the time. Put nothing after this."""
        try:
            self._waiting.put(None, timeout=timeout_s)
        except queue.Full:
            pass
        else:
            self._thread.join(timeout_s)
        if self._thread.is_alive() or self.error is not None:
            self.lost += sum(
                len(hop.events) for hop in list(self._waiting.queue) if hop is not None
            )
            return False
        return True

    def _run(self) -> None:
        try:
            while (hop := self._waiting.get()) is not None:
                self._sink.push(hop, self._end_us())
                self.delivered += len(hop.events)
        except BaseException as error:  # for the main thread
            self.error = error
