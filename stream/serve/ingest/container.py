"""The bytes of a file on their way into a session while they arrive.

event loop ──► UploadBuffer (bounded) ──► ContainerReader (PyAV on a thread, throttled) ──► session
"""

from __future__ import annotations

import asyncio
import io
import logging
import threading
import time
from collections import deque
from collections.abc import Iterator, Sequence

import av
from av.container import InputContainer
from av.stream import Stream

from affectstream.stream.errors import SourceError
from affectstream.stream.media.decoding.decode import DecodedFrame, Packet, decode
from affectstream.stream.media.opening import error_text
from affectstream.stream.media.pixel_limit import limit_pixels, probe_options
from affectstream.stream.serve.ingest.formats import (
    HEAD_BYTES,
    ContainerFormat,
    Damage,
    ReadCounts,
    describe_unreadable,
    find_damage,
)
from affectstream.stream.serve.ingest.timing import ContainerClock, Throttle
from affectstream.stream.serve.limits import SILENCE_WARNING_S
from affectstream.stream.serve.session import ServedSession

_log = logging.getLogger(__name__)

_MAX_BUFFERED_BYTES = 4 * 1024 * 1024
# Not fflags=nobuffer: it discards what was read while probing, with the first key frame.
_OPTIONS = {"probesize": "32768", "analyzeduration": "0"}
_READ_BYTES = 4096
_MAX_BAD_IN_A_ROW = 200
"""After this many undecodable packets in a row the upload is not a media file."""


class UploadBuffer(io.RawIOBase):
    """Bytes from the event loop for a thread that reads them as a file."""

    def __init__(self) -> None:
        self.head = b""
        """The first bytes of the upload."""
        self.total_bytes = 0
        """How many were written so far."""
        self.unread_bytes = 0
        """How many of them were not read yet."""
        self.break_reason: str | None = None
        """Why the upload ended early; None if it did not."""
        self._chunks: deque[bytes] = deque()
        self._finished = False
        self._changed = threading.Condition()

    @property
    def has_room(self) -> bool:
        """Whether the writer may continue. After the end it always may: the bytes are discarded."""
        return self.unread_bytes < _MAX_BUFFERED_BYTES or self._finished

    def append(self, data: bytes) -> None:
        """Add bytes. Never waits: the writer checks `has_room` first."""
        with self._changed:
            if not self._finished and data:
                self.head += data[: HEAD_BYTES - len(self.head)]
                self.total_bytes += len(data)
                self.unread_bytes += len(data)
                self._chunks.append(data)
                self._changed.notify()

    def finish(self, break_reason: str | None = None) -> None:
        """End the upload: the reader gets what is left, then the end of the file.

        `break_reason` says why, if this is not its proper end. Only the first call counts.
        """
        with self._changed:
            if not self._finished:
                self._finished, self.break_reason = True, break_reason
            self._changed.notify()

    def readable(self) -> bool:
        """As for any file."""
        return True

    def read(self, size: int = -1) -> bytes:
        """At most `size` bytes as soon as there are any; none at the end."""
        with self._changed:
            while not self._chunks and not self._finished:
                self._changed.wait()
            if not self._chunks:
                return b""
            chunk = self._chunks.popleft()
            if 0 <= size < len(chunk):
                self._chunks.appendleft(chunk[size:])
                chunk = chunk[:size]
            self.unread_bytes -= len(chunk)
            return chunk


class ContainerReader:
    """A thread that decodes an upload into a session, no faster than it plays."""

    def __init__(
        self,
        upload: UploadBuffer,
        session: ServedSession,
        container: ContainerFormat,
        *,
        max_pixels: int,
    ) -> None:
        """Start the thread. Call it on the event loop."""
        self._max_pixels = max_pixels
        self._upload, self._session, self._format = upload, session, container
        self._loop = asyncio.get_running_loop()
        self.done = asyncio.Event()
        """Set when nothing more will be read."""
        self.opened = False
        """Whether the streams of the upload are known."""
        self.input_error: str | None = None
        """What is wrong with the upload, if it cannot be read."""
        self.server_error: str | None = None
        """What went wrong in the server, whatever was sent."""
        self.missing_end: str | None = None
        """How the upload shows that its end is missing, if it does."""
        self._frames = self._bad_in_a_row = 0
        self._reads_pictures = self._has_picture = False
        self._packets = self._packet_bytes = self._end = 0
        self._all_streams = True
        self._stop = threading.Event()
        threading.Thread(target=self._work, name="ingest", daemon=True).start()

    def stop(self) -> None:
        """Read nothing more."""
        self._stop.set()
        self._upload.finish()

    def _work(self) -> None:
        try:
            self._read()
            if not self._stop.is_set():
                self._check_end()
        except (av.FFmpegError, OSError, ValueError) as error:
            self.input_error = self._describe(error)
        except Exception as error:  # a fault of ours: without this the session would seem complete
            _log.exception("session %s: cannot read its media", self._session.id)
            self.server_error = f"an error of the server: {type(error).__name__}: {error}"
        finally:
            self._upload.finish()
            try:
                self._loop.call_soon_threadsafe(self.done.set)
            except RuntimeError:  # the loop ended first
                _log.debug("an ingest thread outlived its server")

    def _read(self) -> None:
        with av.open(
            self._upload,
            "r",
            format=self._format.demuxer,
            options={**_OPTIONS, **probe_options(self._max_pixels)},
            buffer_size=_READ_BYTES,
        ) as container:
            self.opened = True
            streams = self._readable(container)
            self._limit_pictures(streams)
            self._reads_pictures = any(stream.type == "video" for stream in streams)
            self._all_streams = len(streams) == len(container.streams)
            clock, throttle = ContainerClock(self._session.start_clock()), Throttle()
            for packet in _packets(container, streams):
                self._count(packet)
                for frame in self._decode(packet):
                    if frame.pts is None or frame.time_base is None or frame.is_corrupt:
                        self._session.bad_packets += 1
                        continue
                    media_s = float(frame.pts * frame.time_base)
                    if self._stopped_within(throttle.wait_s(media_s, time.monotonic())):
                        return
                    self._frames += 1
                    self._has_picture |= isinstance(frame, av.VideoFrame)
                    arrived_s = time.monotonic()
                    t_us = clock.session_us(frame, arrived_s)
                    self._session.push_frame(frame, t_us, arrived_s)

    def _readable(self, container: InputContainer) -> list[Stream]:
        """The first video and the first sound, if they can be decoded. Warns if there are no pictures."""
        found: list[Stream] = [*container.streams.video[:1], *container.streams.audio[:1]]
        if not found:
            raise ValueError("it holds neither video nor sound")
        readable = [stream for stream in found if stream.codec_context is not None]
        if not readable:
            raise ValueError("it is in a format that FFmpeg cannot decode here")
        if "video" in self._session.modalities and readable[0].type != "video":
            undecodable = found[0].type == "video"
            why = "are in a format that FFmpeg cannot decode here" if undecodable else "are missing"
            self._session.warn(f"the pictures {why}: only the sound of what was sent is used")
        return readable

    def _limit_pictures(self, streams: Sequence[Stream]) -> None:
        """Have FFmpeg refuse larger pictures before it decodes them."""
        for stream in streams:
            if not isinstance(stream, av.VideoStream):
                continue
            if (
                self._format is ContainerFormat.WEBM and not stream.width
            ):  # FFmpeg refused to read it
                raise ValueError(
                    "its pictures have no size, or more than the "
                    f"{self._max_pixels:,} pixels that this server allows"
                )
            try:
                limit_pixels(stream, self._max_pixels, "the upload")
            except SourceError as error:
                raise ValueError(error) from error

    def _stopped_within(self, wait_s: float) -> bool:
        """Wait, and return whether to stop. A client that is held back here is not silent."""
        while wait_s > SILENCE_WARNING_S / 2:
            self._session.mark_alive()
            if self._stop.wait(SILENCE_WARNING_S / 2):
                return True
            wait_s -= SILENCE_WARNING_S / 2
        return self._stop.wait(wait_s)

    def _count(self, packet: Packet) -> None:
        self._packets += 1
        self._packet_bytes += packet.size
        self._end = max(self._end, (packet.pos or 0) + packet.size)

    def _decode(self, packet: Packet) -> Sequence[DecodedFrame]:
        """The frames of a packet; none if it is damaged. Raises `ValueError` if all are."""
        try:
            frames = decode(packet)
        except av.FFmpegError as error:
            self._session.bad_packets += 1
            self._bad_in_a_row += 1
            if self._bad_in_a_row > _MAX_BAD_IN_A_ROW:
                raise ValueError(f"{_MAX_BAD_IN_A_ROW} packets in a row are damaged") from error
            return []
        self._bad_in_a_row = 0 if frames else self._bad_in_a_row
        return frames

    def _check_end(self) -> None:
        """Everything that came was read: check that nothing is missing."""
        if not self._frames:
            raise ValueError("nothing in it could be decoded")
        if self._reads_pictures and not self._has_picture:
            self._session.warn(
                "no picture could be decoded: all are damaged, or larger than the "
                f"{self._max_pixels:,} pixels that this server allows"
            )
        damage = self._find_damage()
        self.missing_end = damage.end
        if damage.skipped_bytes:
            self._session.warn(f"{damage.skipped_bytes} bytes are damaged and were skipped")

    def _find_damage(self) -> Damage:
        upload = self._upload
        counts = ReadCounts(upload.total_bytes, self._packets, self._packet_bytes, self._end)
        return find_damage(self._format, upload.head, counts, all_read=self._all_streams)

    def _describe(self, error: Exception) -> str:
        reason = error_text(error)
        if self._frames:
            return f"what was sent is no longer {self._format}: {reason}"
        return describe_unreadable(self._format, self._upload.head, reason)


def _packets(container: InputContainer, streams: Sequence[Stream]) -> Iterator[Packet]:
    try:
        yield from container.demux(streams)
    except IndexError as error:  # how PyAV reports streams that appeared later
        raise ValueError("further streams have turned up in it") from error
