"""A recording as frames and sound with times: anything FFmpeg opens, on one clock.

    container ──► demux ──► a `StreamDecoder` for each stream ──► Frame | Samples | Bound

Times are those that a player shows: ``pts * time_base`` from the container's start, never a frame
number over a rate. No picture is converted here; `picture.to_rgb` converts the frames that are used.
"""

from __future__ import annotations

import threading
from collections.abc import Generator, Iterator
from dataclasses import replace
from pathlib import Path
from types import TracebackType
from typing import Literal, Self

import av
from av.container import InputContainer

from affectstream.stream.errors import OptionError, SourceError
from affectstream.stream.media.decoding.decode import DecodeStats
from affectstream.stream.media.decoding.decoders import (
    AudioDecoder,
    RemoteVideo,
    UndecodedVideo,
    VideoDecoder,
)
from affectstream.stream.media.decoding.seek import seek_before
from affectstream.stream.media.decoding.stream_decoder import Span, StreamDecoder
from affectstream.stream.media.decoding.timestamps import latest_time_us
from affectstream.stream.media.duration import describe_truncation, stated_end_us
from affectstream.stream.media.opening import discard_others, error_text, open_container
from affectstream.stream.media.pixel_limit import limit_pixels
from affectstream.stream.media.probe import (
    MediaInfo,
    choose_audio,
    choose_video,
    describe,
    refuse_unusable,
)
from affectstream.stream.media.types import FOREVER_US, Bound, Frame, Item, MediaKind
from affectstream.stream.options import MAX_PIXELS

INTERLEAVE_US = 10_000_000
"""A packet this much earlier than one that has been read is no longer expected: FFmpeg's own muxers
never let streams drift further apart in a file (``max_interleave_delta``). If it comes after all, it is
dropped and counted."""
BOUND_STEP_US = 500_000
"""A silent stream gets a bound this often, in media time."""
Pictures = Literal["decode", "elsewhere", "unused"]
"""What becomes of the pictures of a recording: they are decoded here; by others, who tell the recording what
they found with `Recording.add_pictures`; or by nobody."""
THREADED_PIXELS = 1920 * 1080
"""Pictures from this size on are decoded in several threads. Decoding smaller ones takes less time than
looking at them, which goes on beside it."""
MAX_DECODER_THREADS = 4
"""Each thread more holds a picture more, and adds less."""
_MAX_AHEAD = 256
"""Items read at opening, in search of the first frame."""


class Recording:
    """One open recording; iterate once to get its items in the order of the file.

    Each `Frame` or `Samples` implies the bound of its kind. Explicit bounds come where one stream is
    silent while the other continues, and `FOREVER_US` as soon as a kind has ended or is missing. Use
    it with ``with``, from one thread at a time.
    """

    def __init__(
        self,
        path: Path,
        container: InputContainer,
        info: MediaInfo,
        decoders: tuple[StreamDecoder, ...],
        span: Span,
        stats: DecodeStats,
        stated_us: int | None,
    ) -> None:
        """Use `open`."""
        self.path = path
        self.stats = stats
        self._container = container
        self._decoders = decoders
        self._stated_us = stated_us
        self._span = span
        self._lock = threading.Lock()
        self._closed = False
        self.info = info
        self._items = self._read()
        self._ahead = self._read_to_first_frame()

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
        max_pixels: int = MAX_PIXELS,
        pictures: Pictures = "decode",
        sound: bool = True,
    ) -> Recording:
        """Open the recording at `path`.

        `audio_track` is a track counted from 1 or a language (FFmpeg's best one unless given);
        `start_us` and `end_us` cut on the recording's own clock, and item times stay on that clock.
        Sound has one channel, or two with `stereo`. With `frame_hz`, pictures that serve no point of
        that grid (see `GridSampler`) may be skipped without decoding. Large pictures are decoded by up to
        `threads` threads; their number does not change the items. Pictures of more than `max_pixels` are
        refused before they are decoded; where `pictures` are not decoded here, the recording ends where it
        did. Without `sound` only the pictures are read. Raises `SourceError` where the file cannot be used,
        and `OptionError` for an end that does not come after the start.
        """
        path, start_us = Path(path), start_us or 0
        end_us = FOREVER_US if end_us is None else end_us
        if start_us < 0 or end_us <= start_us:
            raise OptionError(
                f"start ({start_us / 1e6} s) must be 0 or later and end ({end_us / 1e6} s) after it"
            )
        span, stats = Span(start_us, end_us), DecodeStats()

        def start() -> tuple[InputContainer, MediaInfo, tuple[StreamDecoder, ...]]:
            channels = (2 if stereo else 1) if sound else None
            limits = frame_hz, threads, max_pixels
            return _start(path, audio_track, span, stats, channels, pictures, *limits)

        container, info, decoders = start()
        try:
            stated = stated_end_us(container, [decoder.stream for decoder in decoders])
            if stated is not None and start_us >= stated:
                raise SourceError(_beyond(path, start_us, stated))
            if not seek_before(container, decoders[0], start_us):
                container.close()
                container, info, decoders = start()
            return cls(path, container, info, decoders, span, stats, stated)
        except BaseException as exc:
            container.close()
            if isinstance(exc, av.FFmpegError):
                raise SourceError(f"{path}: cannot be read: {error_text(exc)}") from exc
            raise

    @property
    def start_us(self) -> int:
        """Where the requested part begins."""
        return self._span.start_us

    @property
    def end_us(self) -> int:
        """Where the requested part ends, as far as it has been read."""
        reached = max(decoder.reached_us for decoder in self._decoders)
        return max(self._span.start_us, min(self._span.end_us, reached))

    def counts(self) -> dict[str, int]:
        """The number of decoded frames, and the counts of `DecodeStats`, by name."""
        frames = sum(
            decoder.item_count for decoder in self._decoders if decoder.kind is MediaKind.VIDEO
        )
        return {"frames": frames, **self.stats.counts()}

    def add_pictures(self, count: int, reached_us: int, stats: DecodeStats) -> None:
        """`count` pictures of a part were decoded elsewhere, up to `reached_us`."""
        for decoder in self._decoders:
            if isinstance(decoder, RemoteVideo):
                decoder.item_count += count
                decoder.reached_us = max(decoder.reached_us, reached_us)
        self.stats.add(stats)

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
        """Close the file. A thread that is stuck in the decoder keeps it open until it returns."""
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

    def _read_to_first_frame(self) -> list[Item]:
        """Read up to the first frame, because only a frame states how a player turns the pictures."""
        ahead: list[Item] = []
        video = self.info.video
        if any(isinstance(decoder, UndecodedVideo) for decoder in self._decoders):
            return ahead
        while video is not None and len(ahead) < _MAX_AHEAD:
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
        decoders = {decoder.stream.index: decoder for decoder in self._decoders}
        for kind in MediaKind:
            if not any(d.kind is kind and type(d) is not UndecodedVideo for d in self._decoders):
                yield Bound(kind, FOREVER_US)
        broken: str | None = None
        packets = self._container.demux([decoder.stream for decoder in self._decoders])
        while not all(decoder.done for decoder in self._decoders):
            try:
                packet = next(packets, None)
            except (av.FFmpegError, OSError) as exc:
                broken = error_text(exc)
                break
            except IndexError:
                break  # PyAV raises this at the end of a file whose streams were not all known at the start
            if packet is None:
                break
            if packet.size == 0:  # the end of a stream; the decoders are finished below
                continue
            decoder = decoders[packet.stream_index]
            if decoder.done:
                continue
            yield from decoder.push(packet)
            for other in self._decoders:
                if not other.done:
                    yield from _keep_up(other, decoder.demuxed_us)
        cut = all(decoder.done for decoder in self._decoders)
        for decoder in self._decoders:
            yield from decoder.finish()
        self._conclude(broken, cut)

    def _conclude(self, broken: str | None, cut: bool) -> None:
        """Raise `SourceError` where nothing could be decoded; note where the end is missing."""
        reached = max(decoder.reached_us for decoder in self._decoders)
        beyond = max((d.beyond_us for d in self._decoders if d.beyond_us is not None), default=None)
        if beyond is not None:
            broken = (
                f"its times jump from {reached / 1e6:.1f} s to {beyond / 1e6:.1f} s, far beyond its "
                "stated end: what follows the jump is not used"
            )
        if not any(decoder.item_count for decoder in self._decoders) and reached <= self.start_us:
            if self.start_us and reached:
                raise SourceError(_beyond(self.path, self.start_us, reached))
            why = broken or self.stats.first_error or "it holds no data"
            if self.info.video is not None and why.endswith("Invalid argument"):
                why += " (its pictures are damaged, or larger than --max-pixels allows)"
            raise SourceError(f"{self.path}: nothing in it could be decoded: {why}")
        if beyond is not None:
            self.stats.ended_early = broken
            return
        if cut or (self._stated_us is None and broken is None):
            return
        missing = describe_truncation(self.path, reached, self._stated_us, self._span.end_us)
        if missing is not None:
            self.stats.ended_early = f"{missing} ({broken})" if broken else missing


def _keep_up(decoder: StreamDecoder, demuxed_us: int) -> list[Item]:
    """What a decoder returns while the file is read at decode time `demuxed_us`."""
    bound_us = demuxed_us - INTERLEAVE_US
    if bound_us >= decoder.span.end_us:
        return decoder.finish()
    if bound_us < decoder.bound_us + BOUND_STEP_US:
        return []
    return decoder.advance(bound_us)


def _start(
    path: Path,
    audio_track: int | str | None,
    span: Span,
    stats: DecodeStats,
    channels: int | None,
    pictures: Pictures,
    frame_hz: int | None,
    threads: int,
    max_pixels: int,
) -> tuple[InputContainer, MediaInfo, tuple[StreamDecoder, ...]]:
    """Open the file and its decoders. FFmpeg does not even read the streams that are not used.

    Without `channels` the sound is not used.
    """
    container = open_container(path, max_pixels)
    try:
        video = choose_video(container)
        audio = choose_audio(container, audio_track, path)
        info = describe(container, video, audio)
        refuse_unusable(info, audio, path)
        if channels is None:
            audio = None
        used = [stream for stream in (video, audio) if stream is not None]
        discard_others(container, used)
        span = replace(span, latest_us=latest_time_us(stated_end_us(container, used)))
        origin, decoders = info.start_time_us, list[StreamDecoder]()
        if video is not None and pictures != "decode":
            kind = UndecodedVideo if pictures == "unused" else RemoteVideo
            decoders.append(kind(video, origin, span, stats))
        elif video is not None:
            limit_pixels(video, max_pixels, str(path))
            counts_dts = info.format == "avi"
            decoders.append(
                VideoDecoder(video, origin, span, stats, counts_dts=counts_dts, frame_hz=frame_hz)
            )
        if audio is not None and channels is not None:
            decoders.append(AudioDecoder(audio, origin, span, stats, channels=channels))
        for decoder in decoders:
            decoder.likely_end_us = info.duration_us or 0
            decoder.stream.codec_context.thread_count = 1
        if video is not None and video.width * video.height >= THREADED_PIXELS:
            # Several pictures at once: a picture often has one slice only, which one thread decodes.
            video.codec_context.thread_count = min(threads, MAX_DECODER_THREADS)
            video.codec_context.thread_type = "FRAME"
        return container, info, tuple(decoders)
    except BaseException:
        container.close()
        raise


def _beyond(path: Path, start_us: int, end_us: int) -> str:
    return f"{path}: start {start_us / 1e6} s is beyond its end at {end_us / 1e6:.3f} s"
