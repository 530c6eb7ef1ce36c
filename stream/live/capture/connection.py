"""One opening of one container, on a daemon thread of its own: FFmpeg can be stuck for good in any call.

demux ──► decode ──► deliver                          what comes as it happens
demux ──► waiting packets ──► decode ──► deliver      what can be read faster than it plays
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.container import InputContainer
from av.stream import Discard

from affectstream.stream.errors import SourceError
from affectstream.stream.live.capture.address import Opening
from affectstream.stream.live.capture.diagnosis import diagnose
from affectstream.stream.live.capture.pacing import Paced, Pacer
from affectstream.stream.media.decode import DecodedFrame, Packet, decode
from affectstream.stream.media.duration import describe_truncation, stated_end_us, stream_end_us
from affectstream.stream.media.opening import refuse_non_media
from affectstream.stream.media.probe import (
    choose_audio,
    choose_video,
    describe,
    pixel_aspect,
    refuse_unusable,
)
from affectstream.stream.media.types import MediaKind

_PAUSE_S = 0.1


@dataclass(frozen=True, slots=True)
class SourceInfo:
    """What an opened source has. `origin_us` is what it calls its beginning."""

    video: bool
    voice: bool
    origin_us: int
    pixel_aspect: float


@dataclass(frozen=True, slots=True)
class Delivery:
    """A decoded frame with the source's own time, given out at `arrived_s`."""

    kind: MediaKind
    frame: DecodedFrame
    source_us: int
    arrived_s: float


class Connection:
    """Opens a source and delivers what it gives until it ends, fails, or is told to stop."""

    def __init__(
        self,
        opening: Opening,
        *,
        opened: Callable[[SourceInfo], None],
        deliver: Callable[[Delivery], None],
    ) -> None:
        """`opened` and `deliver` are called on the attempt's threads, and not after `stop`.

        What `deliver` needs has to be ready when `opened` returns.
        """
        self._opening = opening
        self._opened, self._deliver = opened, deliver
        self._stop = threading.Event()
        self.done = threading.Event()
        """Set when nothing more will be delivered, the container being closed."""
        self.beat_s = time.monotonic()
        """When something happened last."""
        self.is_open = False
        self.error: str | None = None
        """Why it ended, in words; None where the source simply ended."""
        self.fault: BaseException | None = None
        """An error that is nobody's but ours."""
        self.bad_packets = 0
        self._last_us: dict[MediaKind, int] = {}
        self._sound_ends_us: int | None = None
        self._stated_us: int | None = None  # where a file ends by what it states
        self._reached_us = 0
        self._thread = threading.Thread(
            target=self._run, name=f"source {opening.name}", daemon=True
        )

    @property
    def limit_s(self) -> float:
        """How long nothing may happen before FFmpeg must be taken to be stuck: its own limits should
        have come first. Opening counts twice there, for connecting and for looking at what comes."""
        return self._opening.read_s + 1.0 if self.is_open else 2 * self._opening.open_s + 1.0

    def start(self) -> None:
        """Begin."""
        self.beat_s = time.monotonic()
        self._thread.start()

    def stop(self) -> None:
        """Deliver nothing more; the thread ends as soon as FFmpeg lets it."""
        self._stop.set()

    def join(self, timeout_s: float) -> bool:
        """Whether the thread ended within the time."""
        self._thread.join(timeout_s)
        return not self._thread.is_alive()

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
            self.fault = error
        finally:
            self.done.set()

    def _read(self) -> None:
        opening = self._opening
        if opening.ends and opening.path.is_file():
            refuse_non_media(opening.path)
        with av.open(
            opening.url,
            "r",
            format=opening.format,
            options=dict(opening.options),
            timeout=(opening.open_s, opening.read_s),
            metadata_errors="replace",
        ) as container:
            if self._stop.is_set():
                return
            streams = self._choose(container)
            self.is_open = True
            self.beat_s = time.monotonic()
            packets = (packet for packet in container.demux(streams))
            if not opening.paced:
                for packet in packets:
                    self.beat_s = time.monotonic()
                    if self._stop.is_set():
                        return
                    self._decode(packet)
                return
            with Pacer(self._decoded, self._give, self._stop) as pacer:
                for packet in packets:
                    self.beat_s = time.monotonic()
                    if not pacer.put(packet):
                        return
                    self.beat_s = time.monotonic()
                while not pacer.drained(_PAUSE_S):
                    self.beat_s = time.monotonic()
            if self._stated_us is not None and not self._stop.is_set():
                reached_us = self._reached_us - (container.start_time or 0)
                missing = describe_truncation(opening.path, reached_us, self._stated_us)
                self.error = missing and f"{opening.path.name}: {missing}"

    def _choose(self, container: InputContainer) -> list[av.stream.Stream]:
        """The streams that are wanted; the others are not even read."""
        wants, path = self._opening.wants, Path(self._opening.name)
        video = choose_video(container) if "video" in wants else None
        audio = choose_audio(container, None, path) if "voice" in wants else None
        chosen = [stream for stream in (video, audio) if stream is not None]
        if not chosen:
            raise SourceError(
                f"{self._opening.name}: gives no {' and no '.join(wants)} that can be decoded"
            )
        if self._opening.ends:
            refuse_unusable(describe(container, video, audio), audio, path)
            self._stated_us = stated_end_us(container, chosen)
        for stream in container.streams:
            if stream not in chosen:
                stream.discard = Discard.all
        if self._opening.ends and audio is not None:
            self._sound_ends_us = stream_end_us(audio, 0)
        self._opened(
            SourceInfo(
                video=video is not None,
                voice=audio is not None,
                origin_us=container.start_time or 0,
                pixel_aspect=1.0 if video is None else pixel_aspect(video),
            )
        )
        return list(chosen)

    def _decode(self, packet: Packet) -> None:
        for frame in self._decoded(packet):
            self._give(frame)

    def _decoded(self, packet: Packet) -> list[Paced]:
        """The frames that a packet completes; one that cannot be decoded is counted."""
        try:
            frames = decode(packet)
        except av.FFmpegError:
            self.bad_packets += 1
            return []
        paced = []
        for frame in frames:
            if (source_us := self._when(frame)) is None:
                continue
            if (kept := self._cut(frame, source_us)) is not None:
                paced.append(Paced(kept, source_us))
        return paced

    def _cut(self, frame: DecodedFrame, source_us: int) -> DecodedFrame | None:
        """The frame without what a codec padded it with after the end that a file states."""
        if self._sound_ends_us is None or not isinstance(frame, av.AudioFrame):
            return frame
        wanted = (self._sound_ends_us - source_us) * frame.sample_rate // 1_000_000
        if wanted >= frame.samples:
            return frame
        if wanted <= 0:
            return None
        packed = 1 if frame.format.is_planar else frame.layout.nb_channels
        data: Any = np.ascontiguousarray(frame.to_ndarray()[:, : wanted * packed])
        cut = av.AudioFrame.from_ndarray(data, format=frame.format.name, layout=frame.layout.name)
        cut.sample_rate = frame.sample_rate
        return cut

    def _when(self, frame: DecodedFrame) -> int | None:
        """The frame's own time; sound that has none follows on, pictures that have none are left out."""
        if isinstance(frame, av.VideoFrame):
            if frame.is_corrupt or frame.pts is None or frame.time_base is None:
                self.bad_packets += 1
                return None
            return round(frame.pts * frame.time_base * 1_000_000)
        if frame.pts is not None and frame.time_base is not None:
            t_us = round(frame.pts * frame.time_base * 1_000_000)
        elif MediaKind.AUDIO in self._last_us:
            t_us = self._last_us[MediaKind.AUDIO]
        else:
            return None
        self._last_us[MediaKind.AUDIO] = t_us + frame.samples * 1_000_000 // max(
            1, frame.sample_rate
        )
        return t_us

    def _give(self, paced: Paced) -> None:
        if self._stop.is_set():
            return
        self._reached_us = max(self._reached_us, paced.source_us)
        kind = MediaKind.VIDEO if isinstance(paced.frame, av.VideoFrame) else MediaKind.AUDIO
        self._deliver(Delivery(kind, paced.frame, paced.source_us, time.monotonic()))
