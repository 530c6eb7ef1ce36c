"""The two kinds of lane: pictures and sound, each from decoded frames to items. See `lane`."""

from __future__ import annotations

import av
from av.audio.stream import AudioStream
from av.video.stream import VideoStream

from affectstream.stream.media.decode_stats import DecodeStats
from affectstream.stream.media.grid import first_point
from affectstream.stream.media.opening import error_text
from affectstream.stream.media.resample import SoundResampler, sample_at, sample_time_us
from affectstream.stream.media.rotation import UPRIGHT, read_rotation
from affectstream.stream.media.stream_decoder import Decoded, Packet, Span, StreamDecoder
from affectstream.stream.media.types import FOREVER_US, Frame, Item, MediaKind, Samples

_OVERLAP_US = 50_000
"""Sound that overlaps what came before by less is a matter of rounding, not of a wrong time."""


class VideoDecoder(StreamDecoder):
    """Frames with times; see `StreamDecoder`. `counts_dts` is set for containers without display times.

    With `frame_hz`, pictures that no point of that grid needs are not decoded where nothing else is
    built on them: every other one of a film with B-frames, at a fifth of the cost.
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
        # As in FFmpeg's own players: whichever kind of time has gone back less often is believed.
        self._last_pts = self._last_dts = -FOREVER_US
        self._faulty_pts, self._faulty_dts = int(counts_dts), 0
        self._frame_hz = frame_hz
        self._rotation: int | None = None
        self._turn = UPRIGHT

    def prepare(self, packet: Packet, t_us: int) -> None:
        """Let the decoder pass over a picture that serves no point of the grid.

        The picture shown next is at the latest the earliest of those that are in the decoder and come
        after this one. Only the decoder knows whether others refer to it; then it is decoded.
        """
        if self._frame_hz is None:
            return
        told = packet.pts is not None and self._faulty_pts <= self._faulty_dts
        after = min((p for p in self._pending if p > t_us), default=None) if told else None
        serves = after is None or (
            first_point(t_us, self._frame_hz) < first_point(after, self._frame_hz)
        )
        self.stream.codec_context.skip_frame = "DEFAULT" if serves else "NONREF"

    def frame_time(self, frame: Decoded) -> int:
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
            self.stats.missing_times += pts is None
            return self.time_us(dts)
        self.stats.missing_times += 1
        return 0 if self._newest_us == -FOREVER_US else self._newest_us + self._step_us

    def convert(self, frame: Decoded, t_us: int) -> list[Item]:
        """One `Frame`, or none where it is damaged, comes again, or is not wanted."""
        assert isinstance(frame, av.VideoFrame)
        if frame.is_corrupt:
            self.stats.count_bad_packet(self.kind, "damaged picture", t_us)
            return []
        if t_us <= self._newest_us:
            self.stats.wrong_times += 1
            return []
        if t_us >= self.span.end_us:
            return self.close()
        ticks = frame.duration
        duration_us = ticks * self._ticks // self._per if ticks else self._step_us
        self.reached_us = self._end_of(t_us, duration_us)
        if t_us < self.bound_us:
            self.stats.late += t_us >= self.span.start_us
            return []
        self.bound_us = t_us
        self.items_out += 1
        if frame.rotation != self._rotation:
            self._rotation, self._turn = frame.rotation, read_rotation(frame)
        return [Frame(t_us, frame, self._turn)]


class AudioDecoder(StreamDecoder):
    """Runs of 16 kHz sound; see `StreamDecoder` and `SoundResampler`."""

    def __init__(
        self, stream: AudioStream, origin_us: int, span: Span, stats: DecodeStats, *, channels: int
    ) -> None:
        super().__init__(MediaKind.AUDIO, stream, origin_us, span, stats)
        self._sound = SoundResampler(channels, first=sample_at(span.start_us))
        self._end = sample_at(span.end_us)
        self._settled_us = span.start_us

    def frame_time(self, frame: Decoded) -> int:
        """From the display time, or where the frame before ended."""
        if frame.pts is not None:
            return self.time_us(frame.pts)
        self.stats.missing_times += 1
        return self._sound.expected_us or max(self._newest_us, 0)

    def convert(self, frame: Decoded, t_us: int) -> list[Item]:
        """The samples that are complete with this frame."""
        assert isinstance(frame, av.AudioFrame)
        if t_us >= self.span.end_us:
            return self.close()
        ends = self._end_of(t_us, -(-frame.samples * 1_000_000 // frame.rate))
        if ends < self._settled_us and self._settled_us > self.span.start_us:
            self.stats.late += 1
        elif t_us < self.reached_us - _OVERLAP_US:
            self.stats.wrong_times += 1
        try:
            runs = self._sound.push(frame, t_us)
        except (av.FFmpegError, ValueError) as exc:
            self.stats.count_bad_packet(self.kind, error_text(exc), t_us)
            return []
        self.reached_us = max(self.reached_us, min(ends, self._sound.expected_us or ends))
        return self._kept(runs)

    def advance(self, t_us: int) -> list[Item]:
        """As `StreamDecoder.advance`; later samples that fall before the promise are cut off."""
        items = super().advance(t_us)
        if items:
            self._settled_us = self.bound_us
            self._sound.skip_to(sample_at(self.bound_us))
        return items

    def flush_held(self) -> list[Item]:
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
                self.bound_us = sample_time_us(kept.end)
                self.items_out += 1
        return items
