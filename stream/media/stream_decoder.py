"""One stream of a container on its way through its decoder, onto the clock of the recording.

A lane turns packets into items whose times only go forward. What cannot be used is counted in
`DecodeStats` and left out; nothing that one packet holds can end a lane.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import TypeAlias

import av
from av.audio.stream import AudioStream
from av.stream import Stream
from av.video.stream import VideoStream

from affectstream.stream.media.decode_stats import DecodeStats
from affectstream.stream.media.opening import error_text
from affectstream.stream.media.timestamps import DemuxProgress, TimestampFilter
from affectstream.stream.media.types import FOREVER_US, Bound, Item, MediaKind

_MOST_PENDING = 64
"""Packets that a decoder may hold back (reordering, frame threads); more are taken for lost."""
_LONGEST_GROUP = 600
"""Packets kept from a key frame on, to resume from; where it is longer, the next one has to come."""


Packet: TypeAlias = "av.Packet[Stream]"
Decoded = av.VideoFrame | av.AudioFrame


@dataclass(frozen=True, slots=True)
class Span:
    """The part of a recording that is wanted: [start, end), microseconds on its own clock."""

    start_us: int = 0
    end_us: int = FOREVER_US


class StreamDecoder:
    """What both kinds share: the clock, the span, the promises. See `lanes`."""

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
        """Whether everything up to the end of the span has been given."""
        self.reached_us = 0
        """Where the newest frame ends, whether it was wanted or not."""
        self.bound_us = span.start_us
        """Nothing earlier will be given."""
        self.items_out = 0
        time_base = stream.time_base
        assert time_base is not None
        self._ticks, self._per = 1_000_000 * time_base.numerator, time_base.denominator
        self._origin_us = origin_us
        self.stated_end_us = (
            self.time_us((stream.start_time or 0) + stream.duration) if stream.duration else None
        )
        """Where the container says that the stream ends; None where it does not."""
        self.likely_end_us = 0
        """Where the whole recording is said to end, which may be a guess."""
        self._pending: list[int] = []
        self._group: list[Packet] | None = []
        self._drained = False
        self._repeats_until_us = -FOREVER_US
        self._progress = DemuxProgress(span.start_us)
        self._filter: TimestampFilter[Decoded] = TimestampFilter(span.start_us)
        self._newest_us = -FOREVER_US

    @property
    def demuxed_us(self) -> int:
        """Decode time of the newest packets: those to come are not much earlier."""
        return self._progress.t_us

    def time_us(self, ticks: int) -> int:
        """Time on the recording's clock of a count of the stream's time base, to the nearest."""
        return (2 * ticks * self._ticks + self._per) // (2 * self._per) - self._origin_us

    def push(self, packet: Packet) -> list[Item]:
        """The items that a packet completes; an empty list for one that cannot be decoded."""
        ticks = packet.pts if packet.pts is not None else packet.dts
        t_us = None if ticks is None else self.time_us(ticks)
        if t_us is not None:
            self._progress.push(t_us if packet.dts is None else self.time_us(packet.dts))
            self._pending.append(t_us)
            del self._pending[:-_MOST_PENDING]
        if self._drained:
            self._resume(packet)
        self._remember(packet)
        if t_us is not None:
            self.prepare(packet, t_us)
        try:
            frames = packet.decode()
        except av.FFmpegError as exc:
            self._failed(exc, t_us)
            return []
        return [
            item for frame in frames if isinstance(frame, Decoded) for item in self._sort(frame)
        ]

    def finish(self) -> list[Item]:
        """What the decoder still holds, and the last bound."""
        if self.done:
            return []
        items = [] if self._drained else self._drain()
        return items if self.done else items + self.close()

    def advance(self, t_us: int) -> list[Item]:
        """Promise that nothing earlier than `t_us` will come, after giving what is held of it."""
        if t_us <= self.bound_us:
            return []
        items = self._drain() if self._pending and min(self._pending) < t_us else []
        items += self._confirm(t_us) + self.flush_held()
        self.bound_us = max(t_us, self.bound_us)
        return [*items, Bound(self.kind, self.bound_us)]

    def close(self) -> list[Item]:
        """Give the rest and promise that nothing more will come."""
        items = self._confirm(max(self.stated_end_us or 0, self.likely_end_us)) + self.flush_held()
        self.done, self.bound_us = True, FOREVER_US
        return [*items, Bound(self.kind, FOREVER_US)]

    def prepare(self, packet: Packet, t_us: int) -> None:
        """Prepare the decoder for a packet of time `t_us`."""

    def frame_time(self, frame: Decoded) -> int:
        """When a frame plays; a guess is made, and counted, for one that does not say."""
        raise NotImplementedError

    def convert(self, frame: Decoded, t_us: int) -> list[Item]:
        """The items that a decoded frame gives."""
        raise NotImplementedError

    def flush_held(self) -> list[Item]:
        """What is held after the decoder."""
        return []

    def _sort(self, frame: Decoded) -> list[Item]:
        """Pass a frame on, or those before it, once their times can be believed."""
        if self.done:
            return []
        t_us = self.frame_time(frame)
        if t_us <= self._repeats_until_us:
            return []
        self._pending = [p for p in self._pending if p > t_us]
        dropped = self._filter.dropped
        items = self._take(self._filter.push(frame, t_us))
        self.stats.wrong_times += self._filter.dropped - dropped
        return items

    def _take(self, believed: list[tuple[Decoded, int]]) -> list[Item]:
        items: list[Item] = []
        for frame, t_us in believed:
            if not self.done:
                items += self.convert(frame, t_us)
                self._newest_us = max(self._newest_us, t_us)
        return items

    def _drain(self) -> list[Item]:
        """Have the decoder give what it holds back, though more packets may come."""
        self._drained = True
        self._pending.clear()
        try:
            frames = self.stream.codec_context.decode(None)
        except av.FFmpegError as exc:
            self._failed(exc, None)
            frames = []
        return [item for frame in frames for item in self._sort(frame)]

    def _remember(self, packet: Packet) -> None:
        if packet.is_keyframe:
            self._group = [packet]
        elif self._group is not None:
            self._group.append(packet)
            if len(self._group) > _LONGEST_GROUP:
                self._group = None

    def _resume(self, packet: Packet) -> None:
        """More came: take the decoder back to where it was, from the last key frame on."""
        self._drained = False
        self.stream.codec_context.flush_buffers()
        self._repeats_until_us = self._newest_us
        for earlier in () if packet.is_keyframe else self._group or ():
            with contextlib.suppress(av.FFmpegError):
                earlier.decode()

    def _confirm(self, t_us: int) -> list[Item]:
        """Something has come to `t_us`: what was in doubt up to there is believed."""
        return self._take(self._filter.confirm(t_us))

    def _end_of(self, t_us: int, duration_us: int) -> int:
        """Where a frame ends: codecs pad the last one, and the container says where to cut it.

        A frame that begins after the stated end proves the statement wrong.
        """
        end_us, stated = t_us + duration_us, self.stated_end_us
        return stated if stated is not None and t_us < stated < end_us else end_us

    def _failed(self, exc: Exception, t_us: int | None) -> None:
        self.stats.count_bad_packet(self.kind, error_text(exc), t_us)
        if t_us in self._pending:
            self._pending.remove(t_us)
        if isinstance(exc, av.error.BlockingIOError):
            # The decoder takes no packet before it is read, and PyAV reads only after a packet was
            # taken: nothing but a reset, up to the next key frame, gets it going again.
            self.stream.codec_context.flush_buffers()
