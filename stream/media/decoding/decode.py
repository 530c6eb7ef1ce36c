"""Decoding of damaged recordings: one packet at a time, and counts of what could not be used."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeAlias

import av
from av.audio.stream import AudioStream
from av.stream import Stream
from av.video.stream import VideoStream

from affectstream.engines.spans import span
from affectstream.stream.media.types import MediaKind

Packet: TypeAlias = "av.Packet[Stream]"
DecodedFrame = av.VideoFrame | av.AudioFrame


def decode(packet: Packet) -> list[DecodedFrame]:
    """The frames that `packet` completes.

    Raises `av.FFmpegError` where the packet cannot be decoded; the decoder takes the next one then.
    """
    try:
        with span("decode"):
            return [frame for frame in packet.decode() if isinstance(frame, DecodedFrame)]
    except av.error.BlockingIOError:
        reset_decoder(packet.stream)
        raise


def drain(stream: VideoStream | AudioStream) -> list[DecodedFrame]:
    """The frames that the decoder of `stream` still holds. Raises as `decode` does."""
    try:
        with span("decode"):
            return list(stream.codec_context.decode(None))
    except av.error.BlockingIOError:
        reset_decoder(stream)
        raise


def reset_decoder(stream: Stream) -> None:
    """Throw away what the decoder holds; it goes on at the next key frame.

    A decoder that reports `BlockingIOError` takes no packet before its frames are read, and PyAV reads
    them only after the decoder has taken a packet. Only a reset resolves that.
    """
    stream.codec_context.flush_buffers()


@dataclass(slots=True)
class DecodeStats:
    """Counts of what could not be used, and the first error. Grows while a recording is read.

    `ended_early` says why the recording was not read to its end; None where it was.
    """

    bad_video_packets: int = 0
    bad_audio_packets: int = 0
    wrong_times: int = 0
    """Dropped frames of video or sound: their time went back, or far ahead of all others."""
    missing_times: int = 0
    """Frames of video or sound without a time of their own; placed after the one before."""
    late: int = 0
    """Dropped frames of video or sound: they came after the bound had passed their time."""
    first_error: str | None = None
    ended_early: str | None = None

    def count_bad_packet(self, kind: MediaKind, reason: str, t_us: int | None) -> None:
        """Count a packet that could not be decoded."""
        if kind is MediaKind.VIDEO:
            self.bad_video_packets += 1
        else:
            self.bad_audio_packets += 1
        if self.first_error is None:
            when = "" if t_us is None else f" at {t_us / 1e6:.3f} s"
            self.first_error = f"{kind.value}{when}: {reason}"

    def counts(self) -> dict[str, int]:
        """Each count by its name."""
        return {
            "bad_video_packets": self.bad_video_packets,
            "bad_audio_packets": self.bad_audio_packets,
            "wrong_times": self.wrong_times,
            "missing_times": self.missing_times,
            "late": self.late,
        }

    def add(self, other: DecodeStats) -> None:
        """Add the counts of another part of the recording."""
        self.bad_video_packets += other.bad_video_packets
        self.bad_audio_packets += other.bad_audio_packets
        self.wrong_times += other.wrong_times
        self.missing_times += other.missing_times
        self.late += other.late
        self.first_error = self.first_error or other.first_error

    def since(self, before: DecodeStats) -> DecodeStats:
        """What was counted after `before`, a copy of earlier counts."""
        return DecodeStats(
            bad_video_packets=self.bad_video_packets - before.bad_video_packets,
            bad_audio_packets=self.bad_audio_packets - before.bad_audio_packets,
            wrong_times=self.wrong_times - before.wrong_times,
            missing_times=self.missing_times - before.missing_times,
            late=self.late - before.late,
            first_error=None if before.first_error is not None else self.first_error,
        )
