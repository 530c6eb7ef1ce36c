"""The decoders of the two kinds of stream: frames of video, and runs of sound."""

from __future__ import annotations

import av
from av.audio.stream import AudioStream
from av.video.stream import VideoStream

from affectstream.stream.media.decoding.decode import DecodedFrame, DecodeStats, Packet
from affectstream.stream.media.decoding.stream_decoder import Span, StreamDecoder
from affectstream.stream.media.grid import first_point
from affectstream.stream.media.opening import error_text
from affectstream.stream.media.picture import RotationReader
from affectstream.stream.media.resample import SoundResampler
from affectstream.stream.media.types import (
    FOREVER_US,
    Bound,
    Frame,
    Item,
    MediaKind,
    Samples,
    sample_at,
    sample_time_us,
)

_OVERLAP_US = 50_000
"""A smaller overlap with earlier sound comes from rounding; a larger one is a wrong time."""


_REMOTE_STEP_US = 500_000
"""Media between two bounds of pictures that other processes decode."""


class VideoDecoder(StreamDecoder):
    """Frames with times; see `StreamDecoder`. Set `counts_dts` for containers without display times.

    With `frame_hz`, pictures that serve no point of that grid are not decoded where no other picture
    refers to them: in a film with B-frames every other one.
    """

    def __init__(
        self,
        stream: VideoStream,
        origin_us: int,
        span: Span,
        stats: DecodeStats,
        *,
        counts_dts: bool,
        frame_hz: int | None = None,
    ) -> None:
        super().__init__(MediaKind.VIDEO, stream, origin_us, span, stats)
        rate = stream.guessed_rate or stream.average_rate
        self._step_us = round(1_000_000 / rate) if rate else 40_000
        # As FFmpeg's own players do: use the kind of time that has gone back less often.
        self._last_pts = self._last_dts = -FOREVER_US
        self._faulty_pts, self._faulty_dts = int(counts_dts), 0
        self._frame_hz = frame_hz
        self._rotation = RotationReader()

    def _prepare(self, packet: Packet, t_us: int) -> None:
        """Let the decoder skip a picture that serves no point of the grid.

        The picture shown next is at the latest the earliest of those that are in the decoder and come
        after this one. The decoder itself knows which pictures others refer to, and decodes those.
        """
        if self._frame_hz is None:
            return
        has_pts = packet.pts is not None and self._faulty_pts <= self._faulty_dts
        after = min((p for p in self._pending if p > t_us), default=None) if has_pts else None
        serves = after is None or (
            first_point(t_us, self._frame_hz) < first_point(after, self._frame_hz)
        )
        self.stream.codec_context.skip_frame = "DEFAULT" if serves else "NONREF"

    def _frame_time_us(self, frame: DecodedFrame) -> int:
        """The display time, else the decode time, else one step after the frame before."""
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
            self.stats.missing_times += pts is None
            return self.time_us(dts)
        self.stats.missing_times += 1
        return 0 if self._newest_us == -FOREVER_US else self._newest_us + self._step_us

    def _convert(self, frame: DecodedFrame, t_us: int) -> list[Item]:
        """One `Frame`; none for a frame that is damaged, repeated or outside the span."""
        assert isinstance(frame, av.VideoFrame)
        if frame.is_corrupt:
            self.stats.count_bad_packet(self.kind, "damaged picture", t_us)
            return []
        if t_us <= self._newest_us:
            self.stats.wrong_times += 1
            return []
        if t_us >= self.span.end_us:
            return self._end()
        ticks = frame.duration
        duration_us = ticks * self._ticks // self._per if ticks else self._step_us
        self.reached_us = self._end_of(t_us, duration_us)
        if t_us < self.bound_us:
            self.stats.late += t_us >= self.span.start_us
            return []
        self.bound_us = t_us
        self.item_count += 1
        return [Frame(t_us, frame, self._rotation.read(frame))]


class UndecodedVideo(StreamDecoder):
    """A stream of pictures that nobody uses: its packets say where it ends, and none is decoded."""

    def __init__(self, stream: VideoStream, origin_us: int, span: Span, stats: DecodeStats) -> None:
        super().__init__(MediaKind.VIDEO, stream, origin_us, span, stats)
        self._drained = True  # the decoder holds nothing

    def push(self, packet: Packet) -> list[Item]:
        """Nothing, or the last bound once the pictures are beyond the span."""
        ticks = packet.dts if packet.pts is None else packet.pts
        if ticks is None:
            return []
        t_us = self.time_us(ticks)
        self._progress.push(t_us if packet.dts is None else self.time_us(packet.dts))
        if self.demuxed_us >= self.span.end_us:
            return self._end()
        if t_us < min(self.span.end_us, self.span.latest_us):
            duration_us = (packet.duration or 0) * self._ticks // self._per
            self.reached_us = max(self.reached_us, self._end_of(t_us, duration_us))
        return []

    def _frame_time_us(self, frame: DecodedFrame) -> int:
        raise NotImplementedError("no frame is decoded")

    def _convert(self, frame: DecodedFrame, t_us: int) -> list[Item]:
        raise NotImplementedError("no frame is decoded")


class RemoteVideo(UndecodedVideo):
    """A stream of pictures that other processes decode: its packets say how far the file is read.

    Whoever takes the pictures counts them in `item_count` and sets `reached_us`, before the end.
    """

    def push(self, packet: Packet) -> list[Item]:
        """A bound now and then, or the last one once the pictures are beyond the span."""
        ticks = packet.dts if packet.dts is not None else packet.pts
        if ticks is not None:
            self._progress.push(self.time_us(ticks))
        if self.demuxed_us >= self.span.end_us:
            return self._end()
        if self.demuxed_us < self.bound_us + _REMOTE_STEP_US:
            return []
        self.bound_us = self.demuxed_us
        return [Bound(self.kind, self.bound_us)]


class AudioDecoder(StreamDecoder):
    """Runs of 16 kHz sound; see `StreamDecoder` and `SoundResampler`."""

    def __init__(
        self, stream: AudioStream, origin_us: int, span: Span, stats: DecodeStats, *, channels: int
    ) -> None:
        super().__init__(MediaKind.AUDIO, stream, origin_us, span, stats)
        self._sound = SoundResampler(channels, first=sample_at(span.start_us))
        self._end_sample = sample_at(span.end_us)
        self._advanced_us = span.start_us

    def advance(self, t_us: int) -> list[Item]:
        """As `StreamDecoder.advance`; samples that come later and lie before the bound are cut off."""
        items = super().advance(t_us)
        if items:
            self._advanced_us = self.bound_us
            self._sound.skip_to(sample_at(self.bound_us))
        return items

    def _frame_time_us(self, frame: DecodedFrame) -> int:
        """The display time, else the end of the frame before."""
        if frame.pts is not None:
            return self.time_us(frame.pts)
        self.stats.missing_times += 1
        return self._sound.expected_us or max(self._newest_us, 0)

    def _convert(self, frame: DecodedFrame, t_us: int) -> list[Item]:
        """The samples that are complete with this frame."""
        assert isinstance(frame, av.AudioFrame)
        if t_us >= self.span.end_us:
            return self._end()
        end_us = self._end_of(t_us, -(-frame.samples * 1_000_000 // frame.rate))
        if end_us < self._advanced_us and self._advanced_us > self.span.start_us:
            self.stats.late += 1
        elif t_us < self.reached_us - _OVERLAP_US:
            self.stats.wrong_times += 1
        try:
            runs = self._sound.push(frame, t_us)
        except (av.FFmpegError, ValueError) as exc:
            return self._count_unusable(exc, t_us)
        self.reached_us = max(self.reached_us, min(end_us, self._sound.expected_us or end_us))
        return self._within_span(runs)

    def _held_items(self) -> list[Item]:
        """What the resampler holds."""
        try:
            return self._within_span(self._sound.flush())
        except (av.FFmpegError, ValueError) as exc:
            return self._count_unusable(exc, None)

    def _count_unusable(self, exc: Exception, t_us: int | None) -> list[Item]:
        reason = f"the sound cannot be resampled: {error_text(exc)}"
        self.stats.count_bad_packet(self.kind, reason, t_us)
        return []

    def _within_span(self, runs: list[Samples]) -> list[Item]:
        """`runs` without the samples after the span, or after the stated end of the stream."""
        items: list[Item] = []
        end = self._end_sample
        if self.stated_end_us is not None and self.reached_us == self.stated_end_us:
            end = min(end, sample_at(self.stated_end_us))
        for run in runs:
            if run.start < end:
                cut = run if run.end <= end else Samples(run.start, run.data[: end - run.start])
                items.append(cut)
                self.bound_us = sample_time_us(cut.end)
                self.item_count += 1
        return items
