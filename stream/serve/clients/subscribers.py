"""All clients that receive the messages of one session: the one that sends media, and listeners.

    session's threads ──► publish ──► event loop ──► one bounded queue per client ──► its connection

A queue drops its oldest message when it is full, so that a slow client delays nobody.
"""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable, Iterable
from functools import partial

from affectstream.stream.serve.metrics import Metrics

QUEUE_LINES = 256
"""Messages that may wait: 15 s of one person with faces, a minute of events alone."""
PATIENCE_S = 10.0
"""A client whose connection accepts nothing for this long is given up."""


class SendQueue:
    """The messages that wait for one client. `push` never waits, `deliver` does; both on the event loop.

    Messages that were pushed before `close` are still delivered.
    """

    def __init__(
        self, *, max_lines: int = QUEUE_LINES, observe: Callable[[float], None] | None = None
    ) -> None:
        """`observe` gets the seconds that each message took from `push` to its connection."""
        if max_lines < 1:
            raise ValueError(f"max_lines must be at least 1, found {max_lines}")
        self._lines: deque[tuple[bytes, float]] = deque()
        self._max_lines, self._observe = max_lines, observe
        self._ready = asyncio.Event()
        self._closed = False
        self.delivered = 0
        """Messages that the connection accepted so far."""
        self.dropped = 0
        """Messages that were dropped so far."""

    def push(self, line: bytes) -> None:
        """Add a message. Drops the oldest if the queue is full."""
        if self._closed:
            return
        if len(self._lines) == self._max_lines:
            self._lines.popleft()
            self.dropped += 1
        self._lines.append((line, time.monotonic()))
        self._ready.set()

    async def deliver(
        self, send: Callable[[str], Awaitable[None]], *, patience_s: float = PATIENCE_S
    ) -> None:
        """Pass every message to `send` until the queue is closed and empty.

        Raises `TimeoutError` if one takes longer than `patience_s`: the client does not read.
        """
        while (item := await self._next()) is not None:
            line, pushed_s = item
            async with asyncio.timeout(patience_s):
                await send(line.decode())
            self.delivered += 1
            if self._observe is not None:
                self._observe(time.monotonic() - pushed_s)

    def close(self) -> None:
        """Accept no more messages."""
        self._closed = True
        self._ready.set()

    async def _next(self) -> tuple[bytes, float] | None:
        while not self._lines and not self._closed:
            self._ready.clear()
            await self._ready.wait()
        return self._lines.popleft() if self._lines else None


class Subscribers:
    """The clients of one session. For the event loop, except `publish` and `wants_everything`."""

    def __init__(self, metrics: Metrics, greeting: Callable[[], bytes]) -> None:
        """`greeting` is the first message for clients that receive more than events."""
        self._metrics, self._greeting = metrics, greeting
        self._loop = asyncio.get_running_loop()
        self._queues: dict[SendQueue, bool] = {}  # whether it receives everything
        self._first_event: bytes | None = None
        self._early: deque[bytes] | None = deque(
            maxlen=QUEUE_LINES
        )  # events before the first client
        self._past_delivered = self._past_dropped = 0
        self.wants_everything = False
        """Whether any client receives more than events."""

    def __len__(self) -> int:
        """How many clients there are now."""
        return len(self._queues)

    @property
    def delivered(self) -> int:
        """Messages that connections accepted so far."""
        return self._past_delivered + sum(queue.delivered for queue in self._queues)

    @property
    def dropped(self) -> int:
        """Messages dropped so far because a client was slow."""
        return self._past_dropped + sum(queue.dropped for queue in self._queues)

    def add(self, *, everything: bool) -> SendQueue:
        """The queue of a new client; `everything` adds the greeting, faces, words and state to the events.

        The first client gets all events so far: media may arrive before the channel for events opens.
        A later one gets the first event, `started`, which states when t = 0 was.
        """
        queue = SendQueue(observe=partial(self._metrics.observe_stage, "deliver"))
        if everything:
            queue.push(self._greeting())
        early, self._early = self._early, None
        missed: Iterable[bytes] = () if self._first_event is None else (self._first_event,)
        for line in missed if early is None else early:
            queue.push(line)
        self._queues[queue] = everything
        self.wants_everything = any(self._queues.values())
        return queue

    def remove(self, queue: SendQueue) -> None:
        """Forget a client. Does nothing the second time."""
        if self._queues.pop(queue, None) is not None:
            self.wants_everything = any(self._queues.values())
            self._past_delivered += queue.delivered
            self._past_dropped += queue.dropped
            self._metrics.count_lines_dropped(queue.dropped)

    def publish(self, line: bytes, *, is_event: bool) -> None:
        """Send a message to every client that receives this kind. From any thread."""
        try:
            self._loop.call_soon_threadsafe(self._push, line, is_event)
        except RuntimeError:  # the loop has ended, and all clients with it
            return

    def close(self) -> None:
        """Accept no more messages; those that wait are still delivered."""
        for queue in self._queues:
            queue.close()

    def _push(self, line: bytes, is_event: bool) -> None:
        if is_event:
            self._first_event = self._first_event or line
            if self._early is not None:
                self._early.append(line)
        for queue, everything in self._queues.items():
            if is_event or everything:
                queue.push(line)
