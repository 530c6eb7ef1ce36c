"""The bytes of a file on their way into a session while they come.

event loop ──► Pipe (bounded: its writer asks for room) ──► PyAV on a thread, paced ──► the session
"""

from __future__ import annotations

import asyncio
import io
import logging
import threading
import time
from collections import deque
from collections.abc import Iterator, Sequence
from typing import Any

import av

from affectstream.stream.media.opening import error_text
from affectstream.stream.serve.clocks import ContainerClock, Pace
from affectstream.stream.serve.limits import QUIET_S
from affectstream.stream.serve.media.formats import (
    FORMATS,
    HEAD_BYTES,
    what_is_missing,
    what_is_unread,
    what_is_wrong,
)
from affectstream.stream.serve.session import ServedSession

_log = logging.getLogger(__name__)

_PIPE_BYTES = 4 * 1024 * 1024
# Not fflags=nobuffer: it throws away what was read while probing, the first key frame included.
_OPTIONS = {"probesize": "32768", "analyzeduration": "0"}
_BUFFER_BYTES = 4096
_MAX_BAD = 200
"""Packets in a row that cannot be decoded: it is no such file then."""


class Pipe(io.RawIOBase):
    """Bytes from the event loop to a thread that reads them as a file."""

    def __init__(self) -> None:
        self.head = b""
        """The first bytes of all."""
        self.size = 0
        """How many were fed so far."""
        self.held = 0
        """Those that were not read yet."""
        self.broken: str | None = None
        """Why no more came, where that was not the end."""
        self._chunks: deque[bytes] = deque()
        self._done = False
        self._more = threading.Condition()

    @property
    def room(self) -> bool:
        """Whether more may be written; after the end everything goes, to nowhere."""
        return self.held < _PIPE_BYTES or self._done

    def feed(self, data: bytes) -> None:
        """Add bytes. Never waits: the writer asks for `room` before."""
        with self._more:
            if not self._done and data:
                self.head += data[: HEAD_BYTES - len(self.head)]
                self.size += len(data)
                self._chunks.append(data)
                self.held += len(data)
                self._more.notify()

    def finish(self, broken: str | None = None) -> None:
        """No more will come: the reader gets what is left, then the end.

        `broken` says why, where the end was not meant; what is said after the first time is not heard.
        """
        with self._more:
            if not self._done:
                self._done, self.broken = True, broken
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
            self.held -= len(chunk)
            return chunk


class MediaReader:
    """A thread that decodes a pipe, in one of `FORMATS`, into a session, no faster than it plays."""

    def __init__(self, pipe: Pipe, session: ServedSession, container: str) -> None:
        self._pipe, self._session, self._format = pipe, session, container
        self._loop = asyncio.get_running_loop()
        self.done = asyncio.Event()
        """Set when no more will be read; the rest is told by then."""
        self.opened = False
        self.error: str | None = None
        """What is wrong with what was sent; None where it could be read."""
        self.fault: str | None = None
        """What went wrong here, though nothing may be wrong with what was sent."""
        self.missing: str | None = None
        """How what could be read shows that its end is missing."""
        self._frames = self._bad_in_a_row = 0
        self._read_bytes = self._packets = self._end = 0
        self._whole = True  # whether every stream of it is read
        self._stop = threading.Event()
        threading.Thread(target=self._work, name="ingest", daemon=True).start()

    def stop(self) -> None:
        """Read no further."""
        self._stop.set()
        self._pipe.finish()

    def _work(self) -> None:
        try:
            self._read()
            if not self._stop.is_set():
                self._conclude()
        except (av.FFmpegError, OSError, ValueError) as error:
            self.error = self._diagnosis(error)
        except Exception as error:  # ours: told as one, for the session would seem complete
            _log.exception("session %s: its media could not be read", self._session.number)
            self.fault = f"an error of the server: {type(error).__name__}: {error}"
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
            self._whole = len(chosen) == len(container.streams)
            clock, pace = ContainerClock(self._session.begin()), Pace()
            for packet in _packets(container, chosen):
                self._count(packet)
                for frame in self._decoded(packet):
                    if frame.pts is None or frame.time_base is None or frame.is_corrupt:
                        self._session.bad_packets += 1
                        continue
                    media_s = float(frame.pts * frame.time_base)
                    if self._hold(pace.wait_s(media_s, time.monotonic())):
                        return
                    self._frames += 1
                    if isinstance(frame, av.VideoFrame):
                        self._session.see(clock, frame)
                    elif isinstance(frame, av.AudioFrame):
                        self._session.hear(clock, frame)

    def _hold(self, wait_s: float) -> bool:
        """Wait; whether to read no further. Who is held back from here is not silent."""
        while wait_s > QUIET_S / 2:
            self._session.present()
            if self._stop.wait(QUIET_S / 2):
                return True
            wait_s -= QUIET_S / 2
        return self._stop.wait(wait_s)

    def _count(self, packet: av.Packet[Any]) -> None:
        """What was read so far: FFmpeg passes over what is damaged between packets without a word."""
        self._packets += 1
        self._read_bytes += packet.size
        self._end = max(self._end, (packet.pos or 0) + packet.size)

    def _decoded(self, packet: av.Packet[Any]) -> Sequence[Any]:
        """The frames of a packet; none of one that is damaged, unless all are."""
        try:
            frames: Sequence[Any] = packet.decode()
        except av.FFmpegError as error:
            self._session.bad_packets += 1
            self._bad_in_a_row += 1
            if self._bad_in_a_row > _MAX_BAD:
                raise ValueError(f"{_MAX_BAD} packets in a row are damaged") from error
            if isinstance(error, av.error.BlockingIOError):  # see `lane`: only a reset helps
                packet.stream.codec_context.flush_buffers()
            return ()
        self._bad_in_a_row = 0 if frames else self._bad_in_a_row
        return frames

    def _conclude(self) -> None:
        """Everything that came was read: whether that is all there should have been."""
        if not self._frames:
            raise ValueError("nothing in it could be decoded")
        size = self._pipe.size
        self.missing = what_is_missing(self._format, self._pipe.head, size)
        if self.missing is None and self._whole:
            unread = what_is_unread(
                self._format, size, self._read_bytes, packets=self._packets, end=self._end
            )
            self.missing = unread.missing
            if unread.holes:
                self._session.warn(f"{unread.holes} bytes are damaged and were passed over")

    def _diagnosis(self, error: Exception) -> str:
        why = error_text(error)
        if self._frames:
            return f"what was sent is no longer {self._format}: {why}"
        return what_is_wrong(self._format, self._pipe.head, why)


def _packets(container: Any, chosen: Sequence[Any]) -> Iterator[av.Packet[Any]]:
    try:
        yield from container.demux(chosen)
    except IndexError as error:  # PyAV's way to tell of streams that were not there at first
        raise ValueError("further streams have turned up in it") from error
