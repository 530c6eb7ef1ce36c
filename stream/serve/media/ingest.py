"""Media that a client sends as the bytes of a file: WebM of a browser's recorder, or MPEG-TS of FFmpeg.

The same connection brings back what `messages` describes, and events.
"""

from __future__ import annotations

import asyncio
import contextlib
import time

from starlette.websockets import WebSocket, WebSocketDisconnect

from affectstream.stream.serve.clients import messages
from affectstream.stream.serve.clients.outbox import Outbox
from affectstream.stream.serve.hub import Hub
from affectstream.stream.serve.limits import (
    CONNECT_S,
    TEXTS_A_SECOND,
    TEXTS_AT_ONCE,
    RateLimit,
)
from affectstream.stream.serve.media.upload import MediaReader, Pipe
from affectstream.stream.serve.session import ServedSession

_BROKE_OFF = 1006
"""How a WebSocket ends that was not closed."""


async def take_in(socket: WebSocket, hub: Hub, session: ServedSession, container: str) -> None:
    """Serve one accepted sending WebSocket to its end; it sends one of `formats.FORMATS`.

    The session is closed in any case, and its `ended` event says what was wrong or is missing.
    """
    pipe = Pipe()
    reader = MediaReader(pipe, session, container)
    outbox = session.audience.listen(everything=True)
    telling = asyncio.create_task(_tell(socket, session, outbox, pipe))
    receiving = asyncio.create_task(_receive(socket, session, pipe, outbox))
    watching = asyncio.create_task(_watch(session, reader))
    reading = asyncio.create_task(_read(reader, pipe))
    tasks = (reading, watching, telling, receiving)
    why: str | None = None
    try:
        await asyncio.wait(tasks[:3], return_when=asyncio.FIRST_COMPLETED)
        why = next(task.result() for task in tasks[:3] if task.done())
        if wrong := reader.error or reader.fault:
            outbox.push(messages.pack(messages.Problem(wrong)))
    finally:
        reader.stop()
        await hub.close(session, why)
        await asyncio.wait({telling}, timeout=0.5)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        session.audience.leave(outbox)
    with contextlib.suppress(WebSocketDisconnect, RuntimeError):  # it may have gone first
        await socket.close(*_how(reader, why))


def _how(reader: MediaReader, why: str | None) -> tuple[int, str]:
    """The code of the closing, and its reason, which has room for 123 bytes."""
    code = 1011 if reader.fault else 1003 if reader.error else 1000
    return code, (why or "").encode()[:123].decode(errors="ignore")


async def _receive(socket: WebSocket, session: ServedSession, pipe: Pipe, outbox: Outbox) -> None:
    """Take what the client sends, no faster than it is decoded and a person could want."""
    texts = RateLimit(TEXTS_A_SECOND, TEXTS_AT_ONCE)
    while True:
        message = await socket.receive()
        if message["type"] == "websocket.disconnect":
            broke_off = message.get("code") == _BROKE_OFF
            pipe.finish("the connection broke off" if broke_off else None)
            return
        session.present()
        data, text = message.get("bytes"), message.get("text")
        if data is not None:
            pipe.feed(data)
            while not pipe.room:
                await asyncio.sleep(0.01)
        elif text is not None:
            while wait_s := texts.take("", time.monotonic()):
                await asyncio.sleep(wait_s)
            if not _asked(text, session, outbox):
                pipe.finish()


def _asked(text: str, session: ServedSession, outbox: Outbox) -> bool:
    """Answer a text message. Returns False where it was the last."""
    try:
        message = messages.unpack(text)
    except ValueError as error:
        outbox.push(messages.pack(messages.Problem(str(error)[:200])))
        return True
    match message:
        case messages.Ping():
            outbox.push(messages.pack(messages.Pong(message.t)))
        case messages.Words():
            session.said(message)
        case messages.End():
            return False
    return True


# Each of these returns once the session is over, with the reason where that is not its proper end.


async def _read(reader: MediaReader, pipe: Pipe) -> str | None:
    """Everything that was sent has been read."""
    await reader.done.wait()
    return reader.error or reader.fault or reader.missing or pipe.broken


async def _tell(
    socket: WebSocket, session: ServedSession, outbox: Outbox, pipe: Pipe
) -> str | None:
    """Everything was told to the client, or it does not read, or is gone."""
    try:
        await outbox.deliver(socket.send_text)
    except TimeoutError:
        return "the client does not take what it is sent"
    except (WebSocketDisconnect, RuntimeError):
        return pipe.broken or ("the client left before all was read" if pipe.held else None)
    finally:
        session.audience.leave(outbox)
    return None


async def _watch(session: ServedSession, reader: MediaReader) -> str | None:
    """Nothing comes any more, or no picture ever came."""
    waited_s = 0.0
    while (why := session.watch(time.monotonic())) is None:
        await asyncio.sleep(0.5)
        waited_s += 0.5
        if not reader.opened and waited_s > CONNECT_S:
            return f"no picture or sound came within {CONNECT_S:g} s"
    return why
