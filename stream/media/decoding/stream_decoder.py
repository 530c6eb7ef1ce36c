"""One stream of a container: its packets are decoded and placed on the clock of the recording.

A `StreamDecoder` turns packets into items whose times only go forward. It counts in `DecodeStats` what
it cannot use, and leaves that out; no damaged packet ends the stream.
"""

from __future__ import annotations

import contextlib
from abc import ABC, abstractmethod
from dataclasses import dataclass

import av
from av.audio.stream import AudioStream
from av.video.stream import VideoStream

from affectstream.stream.media.decoding.decode import (
    DecodedFrame,
    DecodeStats,
    Packet,
    decode,
    drain,
    reset_decoder,
)
from affectstream.stream.media.decoding.timestamps import (
    MAX_TIME_US,
    DemuxProgress,
    TimestampFilter,
)
from affectstream.stream.media.duration import stream_end_us
from affectstream.stream.media.opening import error_text
from affectstream.stream.media.types import FOREVER_US, Bound, Item, MediaKind

_MAX_PENDING = 64
"""Packets that a decoder may hold back (reordering, frame threads); older ones count as lost."""
_MAX_GROUP = 600
"""Packets kept from a key frame on, to resume from; in longer groups decoding resumes at the next one."""


@dataclass(frozen=True, slots=True)
class Span:
    """The requested part of a recording: [start, end), microseconds on its own clock.

    A jump in time beyond `latest_us` is damage.
    """

    start_us: int = 0
    end_us: int = FOREVER_US
    latest_us: int = MAX_TIME_US


class StreamDecoder(ABC):
    """What `VideoDecoder` and `AudioDecoder` share: the clock, the span and the bounds."""

    def __init__(
        self,
        kind: MediaKind,
        stream: VideoStream | AudioStream,
        origin_us: int,
        span: Span,
        stats: DecodeStats,
    ) -> None:
        self.kind = kind
        self.stream = stream
        self.span = span
        self.stats = stats
        self.done = False
        """Whether everything up to the end of the span has been returned."""
        self.reached_us = 0
        """Where the newest frame ends, inside the span or not."""
        self.bound_us = span.start_us
        """No item earlier than this will be returned."""
        self.item_count = 0
        """Frames or runs of sound returned so far."""
        time_base = stream.time_base
        assert time_base is not None
        self._ticks, self._per = 1_000_000 * time_base.numerator, time_base.denominator
        self._origin_us = origin_us
        self.stated_end_us = stream_end_us(stream, origin_us)
        """Where the container says that the stream ends; None where it does not say."""
        self.likely_end_us = 0
        """Where the whole recording should end; this may be a guess."""
        self._pending: list[int] = []
        self._group: list[Packet] | None = []
        self._drained = False
        self._repeats_until_us = -FOREVER_US
        self._progress = DemuxProgress(span.start_us, span.latest_us)
        self._filter: TimestampFilter[DecodedFrame] = TimestampFilter(span.start_us, span.latest_us)
        self._newest_us = -FOREVER_US

    @property
    def demuxed_us(self) -> int:
        """Decode time of the newest packets; later packets are not much earlier than this."""
        return self._progress.t_us

    @property
    def beyond_us(self) -> int | None:
        """The time of the newest frame if it is not used because it is beyond `Span.latest_us`."""
        return self._filter.beyond_us

    def time_us(self, ticks: int) -> int:
        """`ticks` of the stream's time base as time on the recording's clock, to the nearest."""
        return (2 * ticks * self._ticks + self._per) // (2 * self._per) - self._origin_us

    def push(self, packet: Packet) -> list[Item]:
        """The items that a packet completes; none where it cannot be decoded."""
        ticks = packet.pts if packet.pts is not None else packet.dts
        t_us = None if ticks is None else self.time_us(ticks)
        if t_us is not None:
            self._progress.push(t_us if packet.dts is None else self.time_us(packet.dts))
            self._pending.append(t_us)
            del self._pending[:-_MAX_PENDING]
        if self._drained:
            self._resume(packet)
        self._remember(packet)
        if t_us is not None:
            self._prepare(packet, t_us)
        try:
            frames = decode(packet)
        except av.FFmpegError as exc:
            self._count_failure(exc, t_us)
            return []
        return [item for frame in frames for item in self._filtered(frame)]

    def advance(self, t_us: int) -> list[Item]:
        """The held items before `t_us`, then the bound that nothing earlier will come."""
        if t_us <= self.bound_us:
            return []
        items = self._drain() if self._pending and min(self._pending) < t_us else []
        items += self._confirm(t_us) + self._held_items()
        self.bound_us = max(t_us, self.bound_us)
        return [*items, Bound(self.kind, self.bound_us)]

    def finish(self) -> list[Item]:
        """What the decoder still holds, and the last bound."""
        if self.done:
            return []
        items = [] if self._drained else self._drain()
        return items if self.done else items + self._end()

    @abstractmethod
    def _frame_time_us(self, frame: DecodedFrame) -> int:
        """When a frame plays. For a frame that does not say, this guesses, and counts the guess."""

    @abstractmethod
    def _convert(self, frame: DecodedFrame, t_us: int) -> list[Item]:
        """The items that a decoded frame completes."""

    def _held_items(self) -> list[Item]:
        """What is held after the decoder."""
        return []

    def _prepare(self, packet: Packet, t_us: int) -> None:
        """Set up the decoder for a packet of time `t_us`."""
        return

    def _end(self) -> list[Item]:
        """The last items of the span, and the bound that nothing more will come."""
        items = self._confirm(max(self.stated_end_us or 0, self.likely_end_us)) + self._held_items()
        self.done, self.bound_us = True, FOREVER_US
        return [*items, Bound(self.kind, FOREVER_US)]

    def _filtered(self, frame: DecodedFrame) -> list[Item]:
        """The items of a frame, or of frames before it, as soon as their times are confirmed."""
        if self.done:
            return []
        t_us = self._frame_time_us(frame)
        if t_us <= self._repeats_until_us:
            return []
        self._pending = [p for p in self._pending if p > t_us]
        dropped = self._filter.dropped
        items = self._converted(self._filter.push(frame, t_us))
        self.stats.wrong_times += self._filter.dropped - dropped
        return items

    def _converted(self, confirmed: list[tuple[DecodedFrame, int]]) -> list[Item]:
        items: list[Item] = []
        for frame, t_us in confirmed:
            if not self.done:
                items += self._convert(frame, t_us)
                self._newest_us = max(self._newest_us, t_us)
        return items

    def _drain(self) -> list[Item]:
        """What the decoder holds back, although more packets may come."""
        self._drained = True
        self._pending.clear()
        try:
            frames = drain(self.stream)
        except av.FFmpegError as exc:
            self._count_failure(exc, None)
            frames = []
        return [item for frame in frames for item in self._filtered(frame)]

    def _remember(self, packet: Packet) -> None:
        """Keep the packets from the last key frame on."""
        if packet.is_keyframe:
            self._group = [packet]
        elif self._group is not None:
            self._group.append(packet)
            if len(self._group) > _MAX_GROUP:
                self._group = None

    def _resume(self, packet: Packet) -> None:
        """Bring a drained decoder back to where it was, by decoding from the last key frame again."""
        self._drained = False
        reset_decoder(self.stream)
        self._repeats_until_us = self._newest_us
        for earlier in () if packet.is_keyframe else self._group or ():
            with contextlib.suppress(av.FFmpegError):
                earlier.decode()

    def _confirm(self, t_us: int) -> list[Item]:
        """The recording has reached `t_us`: times in doubt up to there are right."""
        return self._converted(self._filter.confirm(t_us))

    def _end_of(self, t_us: int, duration_us: int) -> int:
        """Where a frame ends. Codecs pad the last frame, and the container says where to cut it.

        A frame that begins after the stated end proves the statement wrong.
        """
        end_us, stated = t_us + duration_us, self.stated_end_us
        return stated if stated is not None and t_us < stated < end_us else end_us

    def _count_failure(self, exc: Exception, t_us: int | None) -> None:
        self.stats.count_bad_packet(self.kind, error_text(exc), t_us)
        if t_us in self._pending:
            self._pending.remove(t_us)
