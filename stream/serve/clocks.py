"""From the times that a sender writes to the clock of the session.

Every track of WebRTC has a clock of its own, which starts anywhere. Of what arrives, that with the least
delay tells best how the two stand (`Arrivals`); this delay is about the same for sound and for pictures,
so that both come out in step. In a container all streams share one clock, which needs no guess.
"""

from __future__ import annotations

from typing import Protocol

from affectstream.stream.live.capture.rebase import Rebase
from affectstream.stream.live.queue.arrival import Arrivals
from affectstream.stream.media.types import MediaKind
from affectstream.stream.serve.limits import QUIET_S

JUMP_US = 1_000_000
"""Media time that goes back, or runs ahead of the arrivals by more than this, starts anew."""


class MediaClock(Protocol):
    """One clock of a sender."""

    def stamp(self, kind: MediaKind, media_us: int, arrived_s: float) -> int:
        """When what `media_us` names took place: microseconds of the session, at least 0.

        Results of one kind always increase.
        """
        ...


class TrackClock:
    """The `MediaClock` of one track of WebRTC."""

    def __init__(self, origin_s: float) -> None:
        """`origin_s` is when the session's t = 0 was, on the monotonic clock."""
        self._origin_s = origin_s
        self._arrivals = Arrivals()
        self._newest: dict[MediaKind, tuple[int, float]] = {}  # media time, arrival
        self._told: dict[MediaKind, int] = {}

    def stamp(self, kind: MediaKind, media_us: int, arrived_s: float) -> int:
        """As `MediaClock.stamp`."""
        if self._jumped(kind, media_us, arrived_s):
            self._arrivals = Arrivals()
        self._arrivals.push(media_us, arrived_s)
        self._newest[kind] = media_us, arrived_s
        zero_s = self._arrivals.zero_s
        assert zero_s is not None  # something was just pushed
        t_us = media_us + round((zero_s - self._origin_s) * 1e6)
        self._told[kind] = max(t_us, self._told.get(kind, -1) + 1)
        return self._told[kind]

    def _jumped(self, kind: MediaKind, media_us: int, arrived_s: float) -> bool:
        if kind not in self._newest:
            return False
        before_us, then_s = self._newest[kind]
        on_us = media_us - before_us
        return on_us < 0 or on_us - (arrived_s - then_s) * 1e6 > JUMP_US


class ContainerClock:
    """The `MediaClock` of a container: its times as they are, put together again where they jump."""

    def __init__(self, origin_s: float) -> None:
        """`origin_s` is when the session's t = 0 was, on the monotonic clock."""
        self._origin_s = origin_s
        self._rebase = Rebase()
        self._told: dict[MediaKind, int] = {}

    def stamp(self, kind: MediaKind, media_us: int, arrived_s: float) -> int:
        """As `MediaClock.stamp`."""
        t_us = self._rebase.push(kind, media_us, arrived_s - self._origin_s)
        self._told[kind] = max(t_us, self._told.get(kind, -1) + 1)
        return self._told[kind]


class Pace:
    """Holds back what comes faster than it was recorded, a file say.

    A little may come at once, for the first picture of a live sender may be slow on its way. What a
    sender can be ahead grows from then on: so a live one is soon not held back at all, and a file is
    read a little faster than it plays until then, not in one go.
    """

    AT_ONCE_S, MOST_S, GAIN = 0.2, 1.0, 0.05
    JUMP_S = 60.0
    """Times that are so far from where they should be belong to another recording: start anew."""

    def __init__(self) -> None:
        self._began_s = self._zero_s = float("-inf")

    def wait_s(self, media_s: float, now_s: float) -> float:
        """How long to wait before what is at `media_s` is passed on."""
        if not abs(self._zero_s + media_s - now_s) <= self.JUMP_S:
            self._zero_s, self._began_s = now_s - media_s, now_s
        ahead_s = min(self.MOST_S, self.AT_ONCE_S + self.GAIN * (now_s - self._began_s))
        return max(0.0, self._zero_s + media_s - now_s - ahead_s)


class Slowness:
    """Whether decoding falls behind: media time that goes by more slowly than the clock, for long.

    What waits for a decoder of aiortc waits without bound, so that it has to be noticed from outside.
    """

    WHILE_S = 30.0
    LEAST = 0.9
    """Seconds of media a second."""

    def __init__(self) -> None:
        self._since: tuple[int, float] | None = None
        self._newest_s = 0.0

    def push(self, media_us: int, arrived_s: float) -> float | None:
        """Tell of each frame. Returns seconds of media a second where that is too slow, else None."""
        paused = arrived_s - self._newest_s > QUIET_S  # a sender's clock may stand still meanwhile
        self._newest_s = arrived_s
        if self._since is None or paused:
            self._since = media_us, arrived_s
        first_us, first_s = self._since
        if arrived_s - first_s < self.WHILE_S:
            return None
        self._since = media_us, arrived_s
        speed = (media_us - first_us) / 1e6 / (arrived_s - first_s)
        return speed if 0.0 <= speed < self.LEAST else None
