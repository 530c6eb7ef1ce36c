"""What the process of a recording and those that perceive its ranges send each other."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from pathlib import Path

from affectstream.stream.faces.batches import Turned
from affectstream.stream.faces.face import FrameObservation
from affectstream.stream.faces.turn import TurnState
from affectstream.stream.media.decoding.decode import DecodeStats


@dataclass(frozen=True, slots=True)
class RangeSettings:
    """What a process needs before its first range."""

    bundle: Path
    device: str
    path: Path
    start_us: int | None
    """Where the part of the recording begins that is scored; None: at the beginning."""
    end_us: int | None
    max_pixels: int


@dataclass(frozen=True, slots=True)
class RangeJob:
    """A range to perceive, in points of the grid."""

    number: int
    attempt: int
    first: int
    """0 in the first range."""
    stop: int | None
    """The first point of the next range; None in the last one."""
    decode_from_us: int | None
    """Decode from here on, or from the key frame before; None: from the beginning."""
    turn: TurnState


Seam = tuple[tuple[int, int], ...]
"""The time of each of the last frames before a cut, and a checksum of its picture: two processes that decoded
the same have the same."""


@dataclass(frozen=True, slots=True)
class RangeBegun:
    """The range begins; `seam` is what was decoded before it."""

    seam: Seam


@dataclass(frozen=True, slots=True)
class TurnFound:
    """What is known of the turn of the recording by now."""

    turn: TurnState


@dataclass(frozen=True, slots=True, eq=False)
class Observed:
    """Points of the grid in order, and the observation of the frame that serves them; None without one."""

    observations: tuple[tuple[range, FrameObservation | None], ...]
    last: bool = False
    """Whether the pictures have ended: the recording may end before the last point."""

    def before(self, stop: int) -> Observed:
        """Without the points from `stop` on."""
        cut = ((range(p.start, min(p.stop, stop)), seen) for p, seen in self.observations)
        return replace(self, observations=tuple((p, seen) for p, seen in cut if p))


@dataclass(frozen=True, slots=True)
class RangeEnd:
    """All frames of the range are decoded; the last observations follow.

    `frames` were decoded in it, up to `reached_us`; `stats` counts what could not be used; `seam` is what the
    next range must begin with; `turn` what is known of the turn of the recording.
    """

    frames: int
    reached_us: int
    turn: TurnState
    seam: Seam = ()
    stats: DecodeStats = field(default_factory=DecodeStats)


@dataclass(frozen=True, slots=True)
class RangeDone:
    """The process waits for its next range."""


Message = RangeBegun | TurnFound | Turned | Observed | RangeEnd | RangeDone | Exception
"""What a process sends of a range, in this order; an exception ends it."""
