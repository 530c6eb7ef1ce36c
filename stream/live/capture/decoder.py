"""From the packets of one container to frames, each with the source's own time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import av
import numpy as np

from affectstream.stream.media.decoding.decode import DecodedFrame, Packet, decode
from affectstream.stream.media.types import MediaKind


@dataclass(frozen=True, slots=True, eq=False)
class SourceFrame:
    """A decoded frame with the source's own time, in microseconds from any origin."""

    frame: DecodedFrame
    source_us: int

    @property
    def kind(self) -> MediaKind:
        """Whether it is a picture or sound."""
        return MediaKind.VIDEO if isinstance(self.frame, av.VideoFrame) else MediaKind.AUDIO


class PacketDecoder:
    """Push packets, get frames. What cannot be decoded is left out and counted."""

    def __init__(self, sound_end_us: int | None = None) -> None:
        """Sound after `sound_end_us` is left out: a codec pads the end of a file."""
        self._sound_end_us = sound_end_us
        self._next_sound_us: int | None = None
        self.bad_packets = 0
        """Packets and pictures that could not be decoded."""

    def push(self, packet: Packet) -> list[SourceFrame]:
        """The frames that a packet completes."""
        try:
            frames = decode(packet)
        except av.FFmpegError:
            self.bad_packets += 1
            return []
        timed = []
        for frame in frames:
            if isinstance(frame, av.VideoFrame):
                timed += self._picture(frame)
            else:
                timed += self._sound(frame)
        return timed

    def _picture(self, frame: av.VideoFrame) -> list[SourceFrame]:
        if frame.is_corrupt or frame.pts is None or frame.time_base is None:
            self.bad_packets += 1
            return []
        return [SourceFrame(frame, round(frame.pts * frame.time_base * 1_000_000))]

    def _sound(self, frame: av.AudioFrame) -> list[SourceFrame]:
        """The frame up to the end of the file. Sound without a time follows on what came before."""
        if frame.pts is not None and frame.time_base is not None:
            t_us = round(frame.pts * frame.time_base * 1_000_000)
        elif self._next_sound_us is not None:
            t_us = self._next_sound_us
        else:
            return []
        self._next_sound_us = t_us + frame.samples * 1_000_000 // max(1, frame.sample_rate)
        if self._sound_end_us is None:
            return [SourceFrame(frame, t_us)]
        samples = (self._sound_end_us - t_us) * frame.sample_rate // 1_000_000
        return [SourceFrame(_first(frame, samples), t_us)] if samples > 0 else []


def _first(frame: av.AudioFrame, samples: int) -> av.AudioFrame:
    """The first `samples` samples of a frame."""
    if samples >= frame.samples:
        return frame
    packed = 1 if frame.format.is_planar else frame.layout.nb_channels
    data: Any = np.ascontiguousarray(frame.to_ndarray()[:, : samples * packed])
    cut = av.AudioFrame.from_ndarray(data, format=frame.format.name, layout=frame.layout.name)
    cut.sample_rate = frame.sample_rate
    return cut
