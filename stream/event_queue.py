"""A bounded queue of events between the thread that computes them and the program that reads them."""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import contextmanager, suppress

from affectstream.stream.events import Event


class EventQueue:
    """Put events on one thread; iterate over them on another, or with ``async for`` in an event loop.

    Iterating ends once `close` was called and everything was read, and raises the error given to `close`.
    """

    def __init__(self, max_events: int | None, *, drops: bool = False) -> None:
        """At most `max_events` wait (None: any number): `put` waits for room, or `drops` the oldest."""
        self._max_events, self._drops = max_events, drops
        self._changed = threading.Condition()
        self._events: deque[Event] = deque()
        self._closed = self._stopped = False
        self._error: BaseException | None = None
        self._wakes: set[Callable[[], object]] = set()
        self.lost = 0
        """Events that were dropped."""

    def put(self, event: Event) -> bool:
        """Add an event; False once `stop` was called."""
        with self._changed:
            while self._is_full() and not self._drops and not self._stopped:
                self._changed.wait()
            if self._stopped:
                return False
            if self._is_full():
                self._events.popleft()
                self.lost += 1
            self._events.append(event)
            self._notify()
        return True

    def close(self, error: BaseException | None = None) -> None:
        """Nothing more will be put; `error` is why it ended early."""
        with self._changed:
            if not self._closed:
                self._closed, self._error = True, error
            self._notify()

    def stop(self) -> None:
        """Nobody reads any more: `put` waits no longer."""
        with self._changed:
            self._stopped = True
            self._notify()

    def ready(self) -> list[Event]:
        """The events that are waiting, without waiting for more."""
        with self._changed:
            events, self._events = list(self._events), deque()
            self._changed.notify_all()
            return events

    # One event is taken at a time: what is not taken stays for whoever iterates next.

    def __iter__(self) -> Iterator[Event]:
        while True:
            with self._changed:
                while not self._events and not self._is_over():
                    self._changed.wait()
                event = self._take()
            if event is None:
                self._raise()
                return
            yield event

    async def __aiter__(self) -> AsyncIterator[Event]:
        with self._waking() as more:
            while True:
                more.clear()
                with self._changed:
                    event, over = self._take(), self._is_over()
                if event is not None:
                    yield event
                elif over:
                    self._raise()
                    return
                else:
                    await more.wait()

    async def take(self, timeout_s: float) -> Event | None:
        """The oldest event; None if there is none within the time, 0 for those that wait already."""
        with self._waking() as more:
            with self._changed:
                event = self._take()
            if event is None and timeout_s:
                with suppress(TimeoutError):
                    await asyncio.wait_for(more.wait(), timeout_s)
                with self._changed:
                    event = self._take()
            return event

    @contextmanager
    def _waking(self) -> Iterator[asyncio.Event]:
        """What is set in the running event loop whenever the queue changes."""
        loop, more = asyncio.get_running_loop(), asyncio.Event()

        def wake() -> None:
            loop.call_soon_threadsafe(more.set)

        with self._changed:
            self._wakes.add(wake)
        try:
            yield more
        finally:
            with self._changed:
                self._wakes.discard(wake)

    def _take(self) -> Event | None:
        """The oldest event that waits; None without one."""
        if not self._events:
            return None
        self._changed.notify_all()
        return self._events.popleft()

    def _is_full(self) -> bool:
        return self._max_events is not None and len(self._events) >= self._max_events

    def _is_over(self) -> bool:
        return self._closed or self._stopped

    def _raise(self) -> None:
        if self._error is not None:
            raise self._error

    def _notify(self) -> None:
        self._changed.notify_all()
        for wake in self._wakes:
            with suppress(RuntimeError):  # its event loop was closed
                wake()
