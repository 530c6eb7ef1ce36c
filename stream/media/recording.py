"""A recording as frames and sound with times: anything FFmpeg opens, on one clock.

    container ──► demux ──► a lane for each stream (decoder, clock) ──► Frame | Samples | Bound

Times are those that a player shows: ``pts * time_base`` from the container's start, never a frame
number over a rate. Nothing is converted here; `picture.to_rgb` does that for wanted frames.
"""

from __future__ import annotations

import threading
from collections.abc import Generator, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Self

import av
from av.container import InputContainer
from av.stream import Discard

from affectstream.stream.errors import OptionError, SourceError
from affectstream.stream.media.decode_stats import DecodeStats
from affectstream.stream.media.decoders import AudioDecoder, VideoDecoder
from affectstream.stream.media.opening import error_text, open_container
from affectstream.stream.media.probe import (
    MediaInfo,
    choose_audio,
    choose_video,
    describe,
    refuse_unusable,
)
from affectstream.stream.media.seek import seek_before
from affectstream.stream.media.stream_decoder import Span, StreamDecoder
from affectstream.stream.media.truncation import (
    STATES_DURATION,
    declared_us,
    describe_truncation,
    is_truncated,
)
from affectstream.stream.media.types import FOREVER_US, Bound, Frame, Item, MediaKind

INTERLEAVE_US = 10_000_000
"""What is this much earlier than a packet that has been read will not come any more: FFmpeg's own
muxers never let streams drift further apart in a file (``max_interleave_delta``). What does come
later is dropped and counted."""
BOUND_STEP_US = 500_000
"""A stream that gives nothing gets a bound this often, in media time."""


class Recording:
    """One open recording; iterate once to get its items in the order of the file.

    Each `Frame` or `Samples` implies the bound of its kind; explicit bounds come where one stream is
    silent while the other goes on, and `FOREVER_US` as soon as a kind has ended or is missing. Use
    it with ``with``, from one thread at a time.
    """

    def __init__(
        self,
        path: Path,
        container: InputContainer,
        info: MediaInfo,
        lanes: tuple[StreamDecoder, ...],
        span: Span,
        stats: DecodeStats,
    ) -> None:
        """Use `open`."""
        self.path = path
        self.stats = stats
        self._container = container
        self._lanes = lanes
        self._span = span
        self._lock = threading.Lock()
        self._closed = False
        self.info = info
        self._items = self._read()
        self._ahead = self._look_ahead()

    @classmethod
    def open(
        cls,
        path: str | Path,
        *,
        audio_track: int | str | None = None,
        start_us: int | None = None,
        end_us: int | None = None,
        stereo: bool = False,
        frame_hz: int | None = None,
        threads: int = 1,
    ) -> Recording:
        """Open the recording at `path`.

        `audio_track` is a track counted from 1 or a language (FFmpeg's best one unless given);
        `start_us` and `end_us` cut on the recording's own clock, which the times keep. Sound has one
        channel, with `stereo` two. With `frame_hz` pictures that serve no point of that grid (see
        `GridSampler`) may be left out, not even decoded. `threads` are decoder threads; their number
        does not change what comes out. Raises `SourceError` when the file cannot be used,
        `OptionError` for an end that does not come after the start.
        """
        path, start_us = Path(path), start_us or 0
        end_us = FOREVER_US if end_us is None else end_us
        if start_us < 0 or end_us <= start_us:
            raise OptionError(
                f"start ({start_us / 1e6} s) must be 0 or later and end ({end_us / 1e6} s) after it"
            )
        span, stats = Span(start_us, end_us), DecodeStats()

        def start() -> tuple[InputContainer, MediaInfo, tuple[StreamDecoder, ...]]:
            return _start(path, audio_track, span, stats, 2 if stereo else 1, frame_hz, threads)

        container, info, lanes = start()
        try:
            stated = _stated_end(info, lanes)
            if stated is not None and start_us >= stated:
                raise SourceError(_beyond(path, start_us, stated))
            if not seek_before(container, lanes[0], start_us):
                container.close()
                container, info, lanes = start()
            return cls(path, container, info, lanes, span, stats)
        except BaseException:
            container.close()
            raise

    @property
    def start_us(self) -> int:
        """Where the wanted part begins."""
        return self._span.start_us

    @property
    def end_us(self) -> int:
        """Where the wanted part ends, as far as it has been read by now."""
        reached = max(lane.reached_us for lane in self._lanes)
        return max(self._span.start_us, min(self._span.end_us, reached))

    def counts(self) -> dict[str, int]:
        """How many frames were decoded, and of each fault how many, by name."""
        frames = sum(lane.items_out for lane in self._lanes if lane.kind is MediaKind.VIDEO)
        return {"frames": frames, **self.stats.counts()}

    def __iter__(self) -> Iterator[Item]:
        while True:
            with self._lock:
                if self._closed:
                    raise ValueError(f"{self.path}: the recording has been closed")
                item = self._ahead.pop(0) if self._ahead else next(self._items, None)
            if item is None:
                return
            yield item

    def close(self) -> None:
        """Close the file. A thread that is stuck in the decoder keeps it until it comes back."""
        if self._lock.acquire(timeout=0.5):
            try:
                self._closed = True
                self._items.close()
                self._container.close()
            finally:
                self._lock.release()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()

    def _look_ahead(self) -> list[Item]:
        """Read up to the first frame: nothing but a frame tells how a player turns the picture."""
        ahead: list[Item] = []
        video = self.info.video
        while video is not None and len(ahead) < _LOOK_AHEAD:
            item = next(self._items, None)
            if item is None:
                break
            ahead.append(item)
            if isinstance(item, Frame):
                video = replace(video, rotation=item.rotation.degrees)
                self.info = replace(self.info, video=video)
                break
        return ahead

    def _read(self) -> Generator[Item, None, None]:
        lanes = {lane.stream.index: lane for lane in self._lanes}
        for kind in MediaKind:
            if all(lane.kind is not kind for lane in self._lanes):
                yield Bound(kind, FOREVER_US)
        broken: str | None = None
        packets = self._container.demux([lane.stream for lane in self._lanes])
        while not all(lane.done for lane in self._lanes):
            try:
                packet = next(packets, None)
            except (av.FFmpegError, OSError) as exc:
                broken = error_text(exc)
                break
            except IndexError:
                break  # PyAV's way to end a file in which further streams have turned up
            if packet is None:
                break
            if packet.size == 0:  # the end of a stream, or nothing: lanes are finished below
                continue
            lane = lanes[packet.stream_index]
            if lane.done:
                continue
            yield from lane.push(packet)
            for other in self._lanes:
                if not other.done:
                    yield from _keep_up(other, lane.demuxed_us)
        cut = all(lane.done for lane in self._lanes)
        for lane in self._lanes:
            yield from lane.finish()
        self._conclude(broken, cut)

    def _conclude(self, broken: str | None, cut: bool) -> None:
        """Say what is to be said at the end: nothing usable, or less than the file announces."""
        reached = max(lane.reached_us for lane in self._lanes)
        if not any(lane.items_out for lane in self._lanes) and reached <= self._span.start_us:
            if self._span.start_us and reached:
                raise SourceError(_beyond(self.path, self._span.start_us, reached))
            why = broken or self.stats.first_error or "it holds no data"
            raise SourceError(f"{self.path}: nothing in it could be decoded: {why}")
        stated = _stated_end(self.info, self._lanes)
        if stated is not None and self.path.is_file():
            stated = declared_us(self.path, reached, stated)
        wanted = None if stated is None else min(stated, self._span.end_us)
        short = wanted is not None and is_truncated(reached, wanted)
        if cut or not (short or (broken and wanted is None)):
            return
        why = f" ({broken})" if broken else ""
        self.stats.ended_early = describe_truncation(reached, stated) + why


_LOOK_AHEAD = 256


def _keep_up(lane: StreamDecoder, demuxed_us: int) -> list[Item]:
    """Bounds for a lane while packets of decode time `demuxed_us` are read."""
    settled = demuxed_us - INTERLEAVE_US
    if settled >= lane.span.end_us:
        return lane.finish()
    if settled < lane.bound_us + BOUND_STEP_US:
        return []
    return lane.advance(settled)


def _start(
    path: Path,
    audio_track: int | str | None,
    span: Span,
    stats: DecodeStats,
    channels: int,
    frame_hz: int | None,
    threads: int,
) -> tuple[InputContainer, MediaInfo, tuple[StreamDecoder, ...]]:
    """Open the file and make a lane for each stream that is used; the others are not even read."""
    container = open_container(path)
    try:
        video = choose_video(container)
        audio = choose_audio(container, audio_track, path)
        info = describe(container, video, audio)
        refuse_unusable(info, audio, path)
        for stream in container.streams:
            if stream is not video and stream is not audio:
                stream.discard = Discard.all
        origin, lanes = info.start_time_us, list[StreamDecoder]()
        if video is not None:
            counts_dts = info.format == "avi"
            lanes.append(
                VideoDecoder(video, origin, span, stats, counts_dts=counts_dts, frame_hz=frame_hz)
            )
        if audio is not None:
            lanes.append(AudioDecoder(audio, origin, span, stats, channels=channels))
        for lane in lanes:
            lane.likely_end_us = info.duration_us or 0
            lane.stream.codec_context.thread_count = threads
            lane.stream.codec_context.thread_type = "AUTO"
        return container, info, tuple(lanes)
    except BaseException:
        container.close()
        raise


def _stated_end(info: MediaInfo, lanes: Sequence[StreamDecoder]) -> int | None:
    """Where the streams that are used end, by what the file itself states; None if it does not."""
    if not STATES_DURATION & set(info.format.split(",")):
        return None
    ends = [lane.stated_end_us for lane in lanes if lane.stated_end_us is not None]
    return max(ends) if len(ends) == len(lanes) else info.duration_us


def _beyond(path: Path, start_us: int, end_us: int) -> str:
    return f"{path}: start {start_us / 1e6} s is beyond its end at {end_us / 1e6:.3f} s"
