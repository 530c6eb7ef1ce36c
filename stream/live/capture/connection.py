"""One opened source, read until it ends, on a daemon thread: FFmpeg can be stuck for good in any call.

packets ──► PacketDecoder ──► on_frame                   a live source
packets ──► Pacer ──► PacketDecoder ──► on_frame         what can be read faster than it plays
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path

import av
from av.container import InputContainer

from affectstream.stream.errors import SourceError
from affectstream.stream.live.capture.address import Opening
from affectstream.stream.live.capture.decoder import PacketDecoder, SourceFrame
from affectstream.stream.live.capture.diagnosis import diagnose
from affectstream.stream.live.capture.pacing import Pacer
from affectstream.stream.media.decoding.decode import Packet
from affectstream.stream.media.duration import describe_truncation, stated_end_us, stream_end_us
from affectstream.stream.media.opening import (
    REPLACE_BAD_METADATA,
    discard_others,
    refuse_non_media,
)
from affectstream.stream.media.pixel_limit import limit_pixels, probe_options
from affectstream.stream.media.probe import (
    choose_audio,
    choose_video,
    describe,
    pixel_aspect,
    refuse_unusable,
)

_DRAIN_S = 0.1


@dataclass(frozen=True, slots=True)
class SourceInfo:
    """What an opened source has. `origin_us` is its own time at its beginning."""

    video: bool
    voice: bool
    origin_us: int
    pixel_aspect: float


class Connection:
    """Opens a source and passes on its frames until it ends, fails, or is stopped."""

    def __init__(
        self,
        opening: Opening,
        *,
        on_open: Callable[[SourceInfo], None],
        on_frame: Callable[[SourceFrame, float], None],
    ) -> None:
        """`on_frame` gets each frame, and when it arrived by `time.monotonic`.

        Both are called on threads of this connection, `on_open` first and neither after `stop`.
        """
        self._opening = opening
        self._on_open, self._on_frame = on_open, on_frame
        self._stop = threading.Event()
        self.done = threading.Event()
        """Set when nothing more will come and the container is closed."""
        self.active_s = time.monotonic()
        """When something happened last."""
        self.is_open = False
        self.error: str | None = None
        """Why it ended, in words; None if the source simply ended."""
        self.exception: BaseException | None = None
        """An unexpected exception, for the owner to raise."""
        self._decoder = PacketDecoder()
        self._newest_us = 0
        self._thread = threading.Thread(
            target=self._run, name=f"source {opening.name}", daemon=True
        )

    @property
    def bad_packets(self) -> int:
        """Packets and pictures that could not be decoded."""
        return self._decoder.bad_packets

    @property
    def limit_s(self) -> float:
        """After this long without activity FFmpeg is stuck: its own limits should have come first.

        Opening counts twice there, for connecting and for reading the first packets.
        """
        return self._opening.read_s + 1.0 if self.is_open else 2 * self._opening.open_s + 1.0

    def start(self) -> None:
        """Start the thread."""
        self._touch()
        self._thread.start()

    def stop(self) -> None:
        """Pass on nothing more; the thread ends as soon as FFmpeg returns."""
        self._stop.set()

    def join(self, timeout_s: float) -> bool:
        """Whether the thread ended within the time."""
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

    def _touch(self) -> None:
        self.active_s = time.monotonic()

    def _run(self) -> None:
        began_s = time.monotonic()
        try:
            self._read()
        except (av.FFmpegError, OSError, ValueError, IndexError) as error:
            after_s = time.monotonic() - began_s
            self.error = diagnose(error, self._opening, opened=self.is_open, after_s=after_s)
        except SourceError as error:
            self.error = str(error)
        except BaseException as error:
            self.exception = error
        finally:
            self.done.set()

    def _read(self) -> None:
        opening = self._opening
        if opening.is_recording and opening.path.is_file():
            refuse_non_media(opening.path)
        with av.open(
            opening.url,
            "r",
            format=opening.format,
            options={**probe_options(opening.max_pixels), **opening.options},
            timeout=(opening.open_s, opening.read_s),
            **REPLACE_BAD_METADATA,
        ) as container:
            if self._stop.is_set():
                return
            streams = self._select(container)
            self.is_open = True
            self._touch()
            packets = (packet for packet in container.demux(streams))
            if opening.is_paced:
                self._play(packets)
            else:
                self._forward(packets)
            if opening.is_recording and not self._stop.is_set():
                self.error = self._missing(container, streams)

    def _select(self, container: InputContainer) -> list[av.stream.Stream]:
        """Choose the wanted streams and report them; FFmpeg does not even read the others."""
        opening, path = self._opening, Path(self._opening.name)
        video = choose_video(container) if "video" in opening.wants else None
        audio = choose_audio(container, None, path) if "voice" in opening.wants else None
        streams = [stream for stream in (video, audio) if stream is not None]
        if not streams:
            wanted = " and no ".join(opening.wants)
            raise SourceError(f"{opening.name}: gives no {wanted} that can be decoded")
        if opening.is_recording:
            refuse_unusable(describe(container, video, audio), audio, path)
            self._decoder = PacketDecoder(None if audio is None else stream_end_us(audio, 0))
        if video is not None:
            limit_pixels(video, opening.max_pixels, opening.name)
        discard_others(container, streams)
        self._on_open(
            SourceInfo(
                video=video is not None,
                voice=audio is not None,
                origin_us=container.start_time or 0,
                pixel_aspect=1.0 if video is None else pixel_aspect(video),
            )
        )
        return list(streams)

    def _forward(self, packets: Iterable[Packet]) -> None:
        for packet in packets:
            self._touch()
            if self._stop.is_set():
                return
            for frame in self._decoder.push(packet):
                self._give(frame)

    def _play(self, packets: Iterable[Packet]) -> None:
        """Pass on each frame when it is due."""
        with Pacer(self._decoder.push, self._give, self._stop, self._touch) as pacer:
            for packet in packets:
                self._touch()
                if not pacer.put(packet):
                    return
                self._touch()
            while not pacer.drained(_DRAIN_S):
                self._touch()

    def _give(self, frame: SourceFrame) -> None:
        if self._stop.is_set():
            return
        self._newest_us = max(self._newest_us, frame.source_us)
        self._on_frame(frame, time.monotonic())

    def _missing(self, container: InputContainer, streams: list[av.stream.Stream]) -> str | None:
        """A message for a recording that is cut off, as in `score`."""
        stated_us = stated_end_us(container, streams)
        if stated_us is None:
            return None
        path, reached_us = self._opening.path, self._newest_us - (container.start_time or 0)
        missing = describe_truncation(path, reached_us, stated_us)
        return missing and f"{path.name}: {missing}"
