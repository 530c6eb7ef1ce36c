"""One stream of a container on its way through its decoder, onto the clock of the recording.

A lane turns packets into items whose times only go forward. What cannot be used is counted in
`Faults` and left out; nothing that one packet holds can end a lane.
"""

from __future__ import annotations

import contextlib
from dataclasses import dataclass
from typing import TypeAlias

import av
from av.audio.stream import AudioStream
from av.stream import Stream
from av.video.stream import VideoStream

from affectstream.stream.container import reason_of
from affectstream.stream.doubt import Believer, Progress
from affectstream.stream.faults import Faults
from affectstream.stream.media import FOREVER_US, Bound, Frame, Item, Kind, Samples
from affectstream.stream.resample import SoundResampler, sample_at, time_of

_MOST_PENDING = 64
"""Packets that a decoder may hold back (reordering, frame threads); more are taken for lost."""
_LONGEST_GROUP = 600
"""Packets kept from a key frame on, to resume from; where it is longer, the next one has to come."""
_OVERLAP_US = 50_000
"""Sound that overlaps what came before by less is a matter of rounding, not of a wrong time."""


Packet: TypeAlias = "av.Packet[Stream]"
Decoded = av.VideoFrame | av.AudioFrame


@dataclass(frozen=True, slots=True)
class Span:
    """The part of a recording that is wanted: [start, end), microseconds on its own clock."""

    start_us: int = 0
    end_us: int = FOREVER_US


class Lane:
    """What both kinds share: the clock, the span, the promises. See `VideoLane`, `AudioLane`."""

    def __init__(
        self,
        kind: Kind,
        stream: VideoStream | AudioStream,
        origin_us: int,
        span: Span,
        faults: Faults,
    ) -> None:
        self.kind = kind
        self.stream = stream
        self.span = span
        self.faults = faults
        self.done = False
        """Whether everything up to the end of the span has been given."""
        self.reached_us = 0
        """Where the newest frame ends, whether it was wanted or not."""
        self.promised_us = span.start_us
        """Nothing earlier will be given."""
        self.given = 0
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
        self._progress = Progress(span.start_us)
        self._believer: Believer[Decoded] = Believer(span.start_us)
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

    def settle(self, t_us: int) -> list[Item]:
        """Promise that nothing earlier than `t_us` will come, after giving what is held of it."""
        if t_us <= self.promised_us:
            return []
        items = self._drain() if self._pending and min(self._pending) < t_us else []
        items += self._confirm(t_us) + self.rest()
        self.promised_us = max(t_us, self.promised_us)
        return [*items, Bound(self.kind, self.promised_us)]

    def close(self) -> list[Item]:
        """Give the rest and promise that nothing more will come."""
        items = self._confirm(max(self.stated_end_us or 0, self.likely_end_us)) + self.rest()
        self.done, self.promised_us = True, FOREVER_US
        return [*items, Bound(self.kind, FOREVER_US)]

    def when(self, frame: Decoded) -> int:
        """When a frame plays; a guess is made, and counted, for one that does not say."""
        raise NotImplementedError

    def take(self, frame: Decoded, t_us: int) -> list[Item]:
        """The items that a decoded frame gives."""
        raise NotImplementedError

    def rest(self) -> list[Item]:
        """What is held after the decoder."""
        return []

    def _sort(self, frame: Decoded) -> list[Item]:
        """Pass a frame on, or those before it, once their times can be believed."""
        if self.done:
            return []
        t_us = self.when(frame)
        if t_us <= self._repeats_until_us:
            return []
        self._pending = [p for p in self._pending if p > t_us]
        dropped = self._believer.dropped
        items = self._take(self._believer.push(frame, t_us))
        self.faults.wrong_times += self._believer.dropped - dropped
        return items

    def _take(self, believed: list[tuple[Decoded, int]]) -> list[Item]:
        items: list[Item] = []
        for frame, t_us in believed:
            if not self.done:
                items += self.take(frame, t_us)
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
        return self._take(self._believer.confirm(t_us))

    def _end_of(self, t_us: int, duration_us: int) -> int:
        """Where a frame ends: codecs pad the last one, and the container says where to cut it.

        A frame that begins after the stated end proves the statement wrong.
        """
        end_us, stated = t_us + duration_us, self.stated_end_us
        return stated if stated is not None and t_us < stated < end_us else end_us

    def _failed(self, exc: Exception, t_us: int | None) -> None:
        self.faults.bad(self.kind, reason_of(exc), t_us)
        if t_us in self._pending:
            self._pending.remove(t_us)
        if isinstance(exc, av.error.BlockingIOError):
            # The decoder takes no packet before it is read, and PyAV reads only after a packet was
            # taken: nothing but a reset, up to the next key frame, gets it going again.
            self.stream.codec_context.flush_buffers()


class VideoLane(Lane):
    """Frames with times; see `Lane`. `counts_dts` is set for containers without display times."""

    def __init__(
        self, stream: VideoStream, origin_us: int, span: Span, faults: Faults, *, counts_dts: bool
    ) -> None:
        super().__init__(Kind.VIDEO, stream, origin_us, span, faults)
        rate = stream.guessed_rate or stream.average_rate
        self._step_us = round(1_000_000 / rate) if rate else 40_000
        # As in FFmpeg's own players: whichever kind of time has gone back less often is believed.
        self._last_pts = self._last_dts = -FOREVER_US
        self._faulty_pts, self._faulty_dts = int(counts_dts), 0

    def when(self, frame: Decoded) -> int:
        """From the display time, the decode time, or the frame before, as far as there is one."""
        assert isinstance(frame, av.VideoFrame)
        pts, dts = frame.pts, frame.dts
        if dts is not None:
            self._faulty_dts += dts <= self._last_dts
            self._last_dts = dts
        if pts is not None:
            self._faulty_pts += pts <= self._last_pts
            self._last_pts = pts
        if pts is not None and (dts is None or self._faulty_pts <= self._faulty_dts):
            return self.time_us(pts)
        if dts is not None:
            self.faults.missing_times += pts is None
            return self.time_us(dts)
        self.faults.missing_times += 1
        return 0 if self._newest_us == -FOREVER_US else self._newest_us + self._step_us

    def take(self, frame: Decoded, t_us: int) -> list[Item]:
        """One `Frame`, or none where it is damaged, comes again, or is not wanted."""
        assert isinstance(frame, av.VideoFrame)
        if frame.is_corrupt:
            self.faults.bad(self.kind, "damaged picture", t_us)
            return []
        if t_us <= self._newest_us:
            self.faults.wrong_times += 1
            return []
        if t_us >= self.span.end_us:
            return self.close()
        ticks = frame.duration
        duration_us = ticks * self._ticks // self._per if ticks else self._step_us
        self.reached_us = self._end_of(t_us, duration_us)
        if t_us < self.promised_us:
            self.faults.late += t_us >= self.span.start_us
            return []
        self.promised_us = t_us
        self.given += 1
        return [Frame(t_us, frame)]


class AudioLane(Lane):
    """Runs of 16 kHz sound; see `Lane` and `SoundResampler`."""

    def __init__(
        self, stream: AudioStream, origin_us: int, span: Span, faults: Faults, *, channels: int
    ) -> None:
        super().__init__(Kind.AUDIO, stream, origin_us, span, faults)
        self._sound = SoundResampler(channels, first=sample_at(span.start_us))
        self._end = sample_at(span.end_us)
        self._settled_us = span.start_us

    def when(self, frame: Decoded) -> int:
        """From the display time, or where the frame before ended."""
        if frame.pts is not None:
            return self.time_us(frame.pts)
        self.faults.missing_times += 1
        return self._sound.expected_us or max(self._newest_us, 0)

    def take(self, frame: Decoded, t_us: int) -> list[Item]:
        """The samples that are complete with this frame."""
        assert isinstance(frame, av.AudioFrame)
        if t_us >= self.span.end_us:
            return self.close()
        ends = self._end_of(t_us, -(-frame.samples * 1_000_000 // frame.rate))
        if ends < self._settled_us and self._settled_us > self.span.start_us:
            self.faults.late += 1
        elif t_us < self.reached_us - _OVERLAP_US:
            self.faults.wrong_times += 1
        try:
            runs = self._sound.push(frame, t_us)
        except (av.FFmpegError, ValueError) as exc:
            self.faults.bad(self.kind, reason_of(exc), t_us)
            return []
        self.reached_us = max(self.reached_us, min(ends, self._sound.expected_us or ends))
        return self._kept(runs)

    def settle(self, t_us: int) -> list[Item]:
        """As `Lane.settle`; later samples that fall before the promise are cut off."""
        items = super().settle(t_us)
        if items:
            self._settled_us = self.promised_us
            self._sound.skip_to(sample_at(self.promised_us))
        return items

    def rest(self) -> list[Item]:
        """What the resampler holds."""
        return self._kept(self._sound.flush())

    def _kept(self, runs: list[Samples]) -> list[Item]:
        items: list[Item] = []
        end = self._end
        if self.stated_end_us is not None and self.reached_us == self.stated_end_us:
            end = min(end, sample_at(self.stated_end_us))
        for run in runs:
            if run.start < end:
                kept = run if run.end <= end else Samples(run.start, run.data[: end - run.start])
                items.append(kept)
                self.promised_us = time_of(kept.end)
                self.given += 1
        return items
