"""What was wrong with a recording, counted while it is read."""

from __future__ import annotations

from dataclasses import dataclass

from affectstream.stream.media.types import MediaKind


@dataclass(slots=True)
class DecodeStats:
    """Counts of what could not be used, and the first reason; grows while a recording is read.

    `ended_early` says why it was not read up to its end; None where it was.
    """

    bad_video_packets: int = 0
    bad_audio_packets: int = 0
    wrong_times: int = 0
    """Frames of video or sound whose time went back, or far ahead of all others; dropped."""
    missing_times: int = 0
    """Frames of video or sound without a time of their own; placed after the one before."""
    late: int = 0
    """Frames of video or sound that came after their time had been given up; dropped."""
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
