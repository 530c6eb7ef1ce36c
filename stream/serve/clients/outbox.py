"""What waits for one client: a bounded queue that drops the oldest, so that nobody waits for anybody."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

BOUND = 256
"""Messages that may wait: a quarter of a minute of one person with faces, a minute of events alone."""
PATIENCE_S = 10.0
"""A client whose connection takes nothing for so long is given up."""


@dataclass(frozen=True, slots=True)
class OutboxStats:
    """`waiting` now; `delivered` and `dropped` so far."""

    waiting: int
    delivered: int
    dropped: int


class Outbox:
    """Lines for one client. `push` never waits, `deliver` does; both on the event loop.

    What was pushed before `close` is still delivered.
    """

    def __init__(
        self, *, bound: int = BOUND, observe: Callable[[float], None] | None = None
    ) -> None:
        """`observe` is told how many seconds each line took from `push` to its connection."""
        if bound < 1:
            raise ValueError(f"bound must be at least 1, found {bound}")
        self._lines: deque[tuple[bytes, float]] = deque()
        self._bound, self._observe = bound, observe
        self._ready = asyncio.Event()
        self._closed = False
        self._delivered = self._dropped = 0

    def push(self, line: bytes) -> None:
        """Add a line, at the cost of the oldest where the queue is full."""
        if self._closed:
            return
        if len(self._lines) == self._bound:
            self._lines.popleft()
            self._dropped += 1
        self._lines.append((line, time.monotonic()))
        self._ready.set()

    async def deliver(
        self, send: Callable[[str], Awaitable[None]], *, patience_s: float = PATIENCE_S
    ) -> None:
        """Hand every line to `send` until the box is closed and empty.

        Raises `TimeoutError` where one takes longer than `patience_s`: the client does not read.
        """
        while (waiting := await self._take()) is not None:
            line, pushed_s = waiting
            async with asyncio.timeout(patience_s):
                await send(line.decode())
            self._delivered += 1
            if self._observe is not None:
                self._observe(time.monotonic() - pushed_s)

    def close(self) -> None:
        """Nothing more will come."""
        self._closed = True
        self._ready.set()

    @property
    def stats(self) -> OutboxStats:
        """Counts so far."""
        return OutboxStats(len(self._lines), self._delivered, self._dropped)

    async def _take(self) -> tuple[bytes, float] | None:
        while not self._lines and not self._closed:
            self._ready.clear()
            await self._ready.wait()
        return self._lines.popleft() if self._lines else None
