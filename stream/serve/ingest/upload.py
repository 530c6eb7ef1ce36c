"""`/ingest`: a client that sends the bytes of a file over a WebSocket, and gets events on it."""

from __future__ import annotations

import asyncio
import contextlib
import time

from starlette.websockets import WebSocket, WebSocketDisconnect

from affectstream.stream.serve.clients import messages
from affectstream.stream.serve.clients.subscribers import SendQueue
from affectstream.stream.serve.hub import Hub
from affectstream.stream.serve.ingest.container import ContainerReader, UploadBuffer
from affectstream.stream.serve.ingest.formats import ContainerFormat
from affectstream.stream.serve.limits import (
    CONNECT_S,
    TEXTS_BURST,
    TEXTS_PER_S,
    RateLimit,
)
from affectstream.stream.serve.session import ServedSession

_NOT_CLOSED = 1006
"""The code of a WebSocket that broke without being closed."""


async def serve_upload(
    socket: WebSocket,
    hub: Hub,
    session: ServedSession,
    container: ContainerFormat,
    *,
    max_pixels: int,
) -> None:
    """Serve one accepted WebSocket until its end, and close the session whatever happens.

    The session's `ended` event says what was wrong or missing.
    """
    upload = UploadBuffer()
    reader = ContainerReader(upload, session, container, max_pixels=max_pixels)
    replies = session.subscribers.add(everything=True)
    ending = (
        asyncio.create_task(_await_reader(reader, upload)),
        asyncio.create_task(_await_silence(session, reader)),
        sending := asyncio.create_task(_send(socket, session, replies, upload)),
    )
    receiving = asyncio.create_task(_receive(socket, session, upload, replies))
    reason: str | None = None
    try:
        await asyncio.wait(ending, return_when=asyncio.FIRST_COMPLETED)
        reason = next(task.result() for task in ending if task.done())
        if error := reader.input_error or reader.server_error:
            replies.push(messages.pack(messages.Error(error)))
    finally:
        reader.stop()
        await hub.close(session, reason)
        await asyncio.wait({sending}, timeout=0.5)
        for task in (*ending, receiving):
            task.cancel()
        await asyncio.gather(*ending, receiving, return_exceptions=True)
        session.subscribers.remove(replies)
    code = 1011 if reader.server_error else 1003 if reader.input_error else 1000
    text = (reason or "").encode()[:123].decode(errors="ignore")  # a WebSocket has no room for more
    with contextlib.suppress(WebSocketDisconnect, RuntimeError):  # it may be closed already
        await socket.close(code, text)


async def _receive(
    socket: WebSocket, session: ServedSession, upload: UploadBuffer, replies: SendQueue
) -> None:
    """Receive until the end, no faster than it is decoded, and texts no faster than the limit."""
    texts = RateLimit(TEXTS_PER_S, TEXTS_BURST)
    while True:
        message = await socket.receive()
        if message["type"] == "websocket.disconnect":
            broken = message.get("code") == _NOT_CLOSED
            upload.finish("the connection broke off" if broken else None)
            return
        session.mark_alive()
        data, text = message.get("bytes"), message.get("text")
        if data is not None:
            upload.append(data)
            while not upload.has_room:
                await asyncio.sleep(0.01)
        elif text is not None:
            while wait_s := texts.take("", time.monotonic()):
                await asyncio.sleep(wait_s)
            if not session.receive_text(text, replies):
                upload.finish()


# Each of these returns when the session is over: None at its proper end, else the reason.


async def _await_reader(reader: ContainerReader, upload: UploadBuffer) -> str | None:
    await reader.done.wait()
    return reader.input_error or reader.server_error or reader.missing_end or upload.break_reason


async def _send(
    socket: WebSocket, session: ServedSession, replies: SendQueue, upload: UploadBuffer
) -> str | None:
    """Send everything, until the last message or until the client does not read or is gone."""
    try:
        await replies.deliver(socket.send_text)
    except TimeoutError:
        return "the client does not read what it is sent"
    except (WebSocketDisconnect, RuntimeError):
        left = "the client left before all was read" if upload.unread_bytes else None
        return upload.break_reason or left
    finally:
        session.subscribers.remove(replies)
    return None


async def _await_silence(session: ServedSession, reader: ContainerReader) -> str | None:
    """Watch for a client that sends nothing any more, or never sent a frame."""
    waited_s = 0.0
    while (reason := session.check_silence(time.monotonic())) is None:
        await asyncio.sleep(0.5)
        waited_s += 0.5
        if not reader.opened and waited_s > CONNECT_S:
            return f"no picture or sound came within {CONNECT_S:g} s"
    return reason
