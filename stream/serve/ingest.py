"""Media that a client sends as the bytes of a file: WebM of a browser's recorder, or MPEG-TS of FFmpeg.

    WebSocket ──► Pipe (bounded: a full one is not read into) ──► PyAV on a thread ──► the session

The same connection brings back what `messages` describes, and events.
"""

from __future__ import annotations

import asyncio
import contextlib
import io
import logging
import threading
import time
from collections import deque
from collections.abc import Sequence
from typing import Any

import av
from starlette.websockets import WebSocket, WebSocketDisconnect

from affectstream.stream.serve import messages
from affectstream.stream.serve.clocks import ContainerClock, Pace
from affectstream.stream.serve.hub import Hub
from affectstream.stream.serve.limits import (
    CONNECT_S,
    TEXTS_A_SECOND,
    TEXTS_AT_ONCE,
    RateLimit,
)
from affectstream.stream.serve.outbox import Outbox
from affectstream.stream.serve.session import ServedSession

_log = logging.getLogger(__name__)

FORMATS = {"webm": "matroska", "mpegts": "mpegts"}
"""What may be sent, and FFmpeg's name for it."""

_PIPE_BYTES = 4 * 1024 * 1024
# Not fflags=nobuffer: it throws away what was read while probing, the first key frame included.
_OPTIONS = {"probesize": "32768", "analyzeduration": "0"}
_BUFFER_BYTES = 4096
_MAX_BAD = 200
"""Packets in a row that cannot be decoded: it is no such file then."""


class Pipe(io.RawIOBase):
    """Bytes from the event loop to a thread that reads them as a file."""

    def __init__(self) -> None:
        self._chunks: deque[bytes] = deque()
        self._held = 0
        self._done = False
        self._more = threading.Condition()

    @property
    def room(self) -> bool:
        """Whether more may be written; after the end everything goes, to nowhere."""
        return self._held < _PIPE_BYTES or self._done

    def feed(self, data: bytes) -> None:
        """Add bytes. Never waits: the writer asks for `room` before."""
        with self._more:
            if not self._done and data:
                self._chunks.append(data)
                self._held += len(data)
                self._more.notify()

    def finish(self) -> None:
        """No more will come: the reader gets what is left, then the end."""
        with self._more:
            self._done = True
            self._more.notify()

    def readable(self) -> bool:
        """As files say it."""
        return True

    def read(self, size: int = -1) -> bytes:
        """At most `size` bytes, as soon as there are any; none at the end."""
        with self._more:
            while not self._chunks and not self._done:
                self._more.wait()
            if not self._chunks:
                return b""
            chunk = self._chunks.popleft()
            if 0 <= size < len(chunk):
                self._chunks.appendleft(chunk[size:])
                chunk = chunk[:size]
            self._held -= len(chunk)
            return chunk


class MediaReader:
    """A thread that decodes a pipe, in one of `FORMATS`, into a session.

    `error` says what was wrong, once `done` is set.
    """

    def __init__(self, pipe: Pipe, session: ServedSession, container: str) -> None:
        self._pipe, self._session, self._format = pipe, session, container
        self._loop = asyncio.get_running_loop()
        self.done = asyncio.Event()
        self.opened = False
        self.error: str | None = None
        self._bad = 0  # damaged packets in a row
        self._stop = threading.Event()
        threading.Thread(target=self._work, name="ingest", daemon=True).start()

    def stop(self) -> None:
        """Read no further."""
        self._stop.set()
        self._pipe.finish()

    def _work(self) -> None:
        try:
            self._read()
        except (av.FFmpegError, OSError, ValueError) as error:
            what = "not" if not self.opened else "no longer"
            why = getattr(error, "strerror", None) or error
            self.error = f"the data is {what} {self._format}: {why}"
        finally:
            self._pipe.finish()
            try:
                self._loop.call_soon_threadsafe(self.done.set)
            except RuntimeError:  # the loop ended first
                _log.debug("an ingest thread outlived its server")

    def _read(self) -> None:
        with av.open(
            self._pipe,
            "r",
            format=FORMATS[self._format],
            options=_OPTIONS,
            buffer_size=_BUFFER_BYTES,
        ) as container:
            self.opened = True
            chosen = [*container.streams.video[:1], *container.streams.audio[:1]]
            if not chosen:
                raise ValueError("it holds neither video nor sound")
            clock, pace = ContainerClock(self._session.begin()), Pace()
            for packet in container.demux(chosen):
                for frame in self._decoded(packet):
                    if frame.pts is None or frame.time_base is None:
                        continue
                    media_s = float(frame.pts * frame.time_base)
                    if self._stop.wait(pace.wait_s(media_s, time.monotonic())):
                        return
                    if isinstance(frame, av.VideoFrame):
                        self._session.see(clock, frame)
                    elif isinstance(frame, av.AudioFrame):
                        self._session.hear(clock, frame)

    def _decoded(self, packet: av.Packet[Any]) -> Sequence[Any]:
        """The frames of a packet; none of one that is damaged, unless all are."""
        try:
            frames: Sequence[Any] = packet.decode()
        except av.FFmpegError as error:
            self._bad += 1
            if self._bad > _MAX_BAD:
                raise ValueError(f"nothing of it can be decoded: {error}") from error
            return ()
        self._bad = 0 if frames else self._bad
        return frames


async def take_in(socket: WebSocket, hub: Hub, session: ServedSession, container: str) -> None:
    """Serve one accepted sending WebSocket to its end; it sends one of `FORMATS`.

    The session is closed in any case.
    """
    pipe = Pipe()
    reader = MediaReader(pipe, session, container)
    outbox = session.listen(everything=True)
    telling = asyncio.create_task(_tell(socket, session, outbox))
    receiving = asyncio.create_task(_receive(socket, session, pipe, outbox))
    watching = asyncio.create_task(_watch(session, reader))
    reading = asyncio.create_task(reader.done.wait())
    tasks = {telling, receiving, watching, reading}
    try:
        await asyncio.wait(tasks - {receiving}, return_when=asyncio.FIRST_COMPLETED)
        if reader.error is not None:
            outbox.push(messages.pack(messages.Problem(reader.error[:200])))
    finally:
        reader.stop()
        await hub.close(session)
        await asyncio.wait({telling}, timeout=0.5)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
        session.leave(outbox)
    with contextlib.suppress(WebSocketDisconnect, RuntimeError):  # it may have gone first
        await socket.close(1000 if reader.error is None else 1003)


async def _receive(socket: WebSocket, session: ServedSession, pipe: Pipe, outbox: Outbox) -> None:
    """Take what the client sends, no faster than it is decoded and a person could want."""
    texts = RateLimit(TEXTS_A_SECOND, TEXTS_AT_ONCE)
    while True:
        message = await socket.receive()
        if message["type"] == "websocket.disconnect":
            pipe.finish()
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


async def _tell(socket: WebSocket, session: ServedSession, outbox: Outbox) -> None:
    """Send what waits for the client, until there is no more or the client does not read."""
    try:
        await outbox.deliver(socket.send_text)
    except (TimeoutError, WebSocketDisconnect, RuntimeError) as error:
        _log.info("session %s: its client is gone: %s", session.number, error or "does not read")
    finally:
        session.leave(outbox)


async def _watch(session: ServedSession, reader: MediaReader) -> None:
    """Return when nothing comes any more, or no picture ever came."""
    waited_s = 0.0
    while not session.watch(time.monotonic()):
        await asyncio.sleep(0.5)
        waited_s += 0.5
        if not reader.opened and waited_s > CONNECT_S:
            return
