"""What a live session says of itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from affectstream.stream.live.queue.intake import Intake
    from affectstream.stream.live.worker import LiveWorker


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
    sounds_late: int
    """Those that came when their time had been given up, at least in part."""
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


def stats_of(
    intake: Intake | None,
    flow: LiveWorker | None,
    *,
    fps: float,
    frame_hz: int,
    hops: int,
    events: int,
    reconnects: int,
) -> LiveStats:
    """Put together from a session's parts, which are not there before the first picture or sound."""
    stages = None if flow is None else flow.stages
    return LiveStats(
        frames_in=0 if intake is None else intake.counts.frames,
        frames_used=0 if flow is None else flow.perceived,
        frames_dropped=0 if intake is None else intake.pictures.dropped,
        frames_late=0 if intake is None else intake.grid.late,
        sounds_in=0 if intake is None else intake.counts.sounds,
        sounds_late=0 if intake is None else intake.counts.sounds_late,
        sounds_dropped=0 if intake is None else intake.sound.dropped,
        wrong_times=0 if intake is None else intake.counts.wrong_times + intake.grid.backwards,
        bad_sounds=0 if flow is None else flow.bad_sounds,
        gaps=0 if flow is None else flow.gap_count,
        reconnects=reconnects,
        pictures_waiting=0 if intake is None else len(intake.pictures),
        sounds_waiting=0 if intake is None else len(intake.sound),
        fps=fps,
        frame_hz=frame_hz,
        faces=0 if flow is None else flow.faces,
        hops=hops,
        events=events,
        av_skew_ms=None if intake is None else intake.lag_ms,
        latency_p50_ms=None if stages is None else stages.latency.quantile(0.5),
        latency_p95_ms=None if stages is None else stages.latency.quantile(0.95),
        age_p50_ms=None if stages is None else stages.age.quantile(0.5),
    )
