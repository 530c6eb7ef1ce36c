"""Live sources for asyncio: `Recognizer.watch`."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

from affectstream.stream.event_queue import EventQueue
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
    loop, events = asyncio.get_running_loop(), EventQueue(MAX_WAITING, drops=True)
    live = await asyncio.to_thread(
        LiveSource, recognizer, chosen, Callbacks(event=events.put), options=options
    )
    try:
        await asyncio.to_thread(live.open)
        until_s = None if duration_s is None else loop.time() + duration_s
        while not live.wait(0.0) and (until_s is None or loop.time() < until_s):
            if (event := await events.take(_POLL_S)) is not None:
                yield event
        if events.lost:
            live.session.warn(f"{events.lost} events were lost: their consumer is too slow")
        await asyncio.to_thread(live.close)
        while (event := await events.take(0)) is not None:
            yield event
    finally:
        await asyncio.shield(asyncio.to_thread(live.close))
