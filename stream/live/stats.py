"""What a live session says of itself."""

from __future__ import annotations

from dataclasses import dataclass

from affectstream.stream.live.latency import Histogram


@dataclass(frozen=True, slots=True)
class LiveStats:
    """A session as it stands. Counts run from its start."""

    frames_in: int
    """Pictures that the source gave."""
    frames_used: int
    """Those that were looked at; most others fall between two points of the grid."""
    frames_dropped: int
    """Those that should have been looked at and were overtaken by newer ones."""
    frames_late: int
    """Those that came when their time had been given up."""
    sounds_in: int
    """Frames of sound that the source gave."""
    sounds_dropped: int
    """Those that nobody had time for: only where the machine stands still for seconds."""
    wrong_times: int
    """Pictures and sound whose time went back or was far from all others."""
    bad_sounds: int
    """Frames of sound that could not be resampled."""
    gaps: int
    """Holes of more than a second in pictures or sound that were told as `gap` events."""
    reconnects: int
    pictures_waiting: int
    sounds_waiting: int
    fps: float
    """Pictures a second that came in over the last two seconds; 0.0 where none did."""
    frame_hz: int
    """Frames a second that are looked at, the bundle's own rate unless the machine is too slow."""
    faces: int
    """Faces in the newest picture that was looked at."""
    hops: int
    events: int
    av_skew_ms: float | None
    """How much later pictures arrive than sound of the same time (negative: earlier). None without
    both. What the source itself put out of step cannot be seen here: see `skew.FlashBeep`."""
    latency_p50_ms: float | None
    latency_p95_ms: float | None
    """Of the last two minutes; None before the first hop."""
    age_p50_ms: float | None
    latency: Histogram
    age: Histogram
    perceive: Histogram
    """Face detection and encoding, each picture."""
    read: Histogram
    """What a hop takes: voice, words, fusion, events."""
