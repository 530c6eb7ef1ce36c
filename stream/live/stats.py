"""The state of a live session in numbers. Counts run from its start."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class QueueStats:
    """What came in, and what became of it."""

    frames_in: int
    """Pictures that the source gave."""
    frames_dropped: int
    """Pictures that were due for analysis and dropped for newer ones."""
    frames_late: int
    """Pictures that came after their deadline."""
    sounds_in: int
    """Frames of sound that the source gave."""
    sounds_late: int
    """Frames of sound that came after their deadline, at least in part."""
    sounds_dropped: int
    """Frames of sound that were dropped: only if the machine stands still for seconds."""
    wrong_times: int
    """Pictures, sound and words left out because their time went back or was far from all others."""
    pictures_waiting: int
    sounds_waiting: int
    most_waiting: int
    """The most pictures and frames of sound that ever waited together."""
    fps: float
    """Pictures a second that came in over the last two seconds; 0.0 if none did."""
    av_skew_ms: float | None
    """How much later pictures arrive than sound of the same time (negative: earlier). None without both.
    What the source itself put out of step cannot be seen here: `affectstream bench live` measures it."""


@dataclass(frozen=True, slots=True)
class LiveStats(QueueStats):
    """A session as it stands."""

    frames_used: int
    """Pictures that were analyzed; most others fall between two points of the grid."""
    bad_sounds: int
    """Frames of sound that could not be resampled."""
    bad_faces: int
    """Detected faces that were left out, because nothing can be cropped from their landmarks."""
    gaps: int
    """Gaps of more than a second in pictures or sound, each reported by a `gap` event."""
    reconnects: int
    frame_hz: int
    """Frames a second that are analyzed: the bundle's own rate, unless the machine is too slow."""
    faces: int
    """Faces in the newest analyzed picture."""
    hops: int
    events: int
    latency_p50_ms: float | None
    latency_p95_ms: float | None
    """Of the last two minutes; None before the first hop."""
    age_p50_ms: float | None
