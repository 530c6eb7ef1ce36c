"""Live sources for asyncio: `Recognizer.watch`."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator

from affectstream.stream.events import Event
from affectstream.stream.live.callbacks import Callbacks
from affectstream.stream.live.source import LiveOptions, LiveSource
from affectstream.stream.loaded import LoadedBundle
from affectstream.stream.options import SourceOptions

MAX_WAITING = 256
"""Events that may wait for a slow consumer; then the oldest are lost."""
_POLL_S = 0.05


async def watch(
    recognizer: LoadedBundle,
    source: str | LiveOptions,
    options: SourceOptions | None = None,
    *,
    duration_s: float | None = None,
) -> AsyncIterator[Event]:
    """Yield the events of a live source as they come, `ended` last; the event loop is never blocked.

    `source` is a camera (``"0"``), a URL, a file that is played at its own speed, or `LiveOptions`. A
    consumer that is too slow loses the oldest events; a `warning` at the end counts them. Leaving the
    loop closes the source. Raises `SourceError` if the source cannot be opened.
    """
    chosen = source if isinstance(source, LiveOptions) else LiveOptions(source=source)
    loop = asyncio.get_running_loop()
    waiting: deque[Event] = deque(maxlen=MAX_WAITING)
    more = asyncio.Event()
    lost = 0

    def emit(event: Event) -> None:
        nonlocal lost
        lost += len(waiting) == MAX_WAITING
        waiting.append(event)
        loop.call_soon_threadsafe(more.set)

    live = await asyncio.to_thread(
        LiveSource, recognizer, chosen, Callbacks(event=emit), options=options
    )
    try:
        await asyncio.to_thread(live.open)
        until_s = None if duration_s is None else loop.time() + duration_s
        while not live.wait(0.0) and (until_s is None or loop.time() < until_s):
            while waiting:
                yield waiting.popleft()
            more.clear()
            try:
                await asyncio.wait_for(more.wait(), _POLL_S)
            except TimeoutError:
                continue
        if lost:
            live.session.warn(f"{lost} events were lost: their consumer is too slow")
        await asyncio.to_thread(live.close)
        await asyncio.sleep(0)
        while waiting:
            yield waiting.popleft()
    finally:
        await asyncio.shield(asyncio.to_thread(live.close))
