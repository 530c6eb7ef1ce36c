"""The time of what clients send: session time from the sender's time, and two checks of its speed.

A frame's time is translated once, here: from the sender's clock to session time, which is microseconds
since the session's t = 0. Two kinds of sender need two clocks:

- WebRTC: each track has a clock that starts anywhere and drifts. Of all frames in the last seconds, the
  one with the least delay shows best how this clock stands to ours. This least delay is about the same
  for sound and video, so both come out in step.
- A container (WebM, MPEG-TS): all its streams share one clock, so nothing has to be estimated.

The live session gets session time and arrival time, and changes neither. From the two, `LiveQueue`
measures how late each stream arrives at present, which decides how long a hop waits for it. This delay is
not an error of the clock: a frame that a slow network delays keeps its time. Both estimates use
`Arrivals`: over 10 s here, because the clock must not follow the network, and over 2 s there, because the
wait must.
"""

from __future__ import annotations

from abc import ABC, abstractmethod

import av

from affectstream.stream.live.capture.source_clock import TimestampRebaser
from affectstream.stream.live.queue.arrivals import Arrivals
from affectstream.stream.media.decoding.decode import DecodedFrame
from affectstream.stream.media.types import MediaKind
from affectstream.stream.serve.limits import SILENCE_WARNING_S

MAX_JUMP_US = 1_000_000
"""If media time runs ahead of the arrivals by more than this, the sender's clock was reset."""


def media_us(frame: DecodedFrame) -> int:
    """The sender's time of a frame that has one, in microseconds."""
    assert frame.pts is not None and frame.time_base is not None
    return int(frame.pts * frame.time_base * 1_000_000)


class SenderClock(ABC):
    """Translates the times of one sender to session time."""

    def __init__(self, origin_s: float) -> None:
        """`origin_s` is the session's t = 0, by `time.monotonic`."""
        self._origin_s = origin_s
        self._last_us: dict[MediaKind, int] = {}

    def session_us(self, frame: DecodedFrame, arrived_s: float) -> int:
        """The session time of a frame that arrived at `arrived_s`: at least 0, and increasing by kind."""
        kind = MediaKind.VIDEO if isinstance(frame, av.VideoFrame) else MediaKind.AUDIO
        return self.translate(kind, media_us(frame), arrived_s)

    def translate(self, kind: MediaKind, media_us: int, arrived_s: float) -> int:
        """As `session_us`, for the sender's time `media_us`."""
        t_us = self._translate(kind, media_us, arrived_s)
        self._last_us[kind] = max(t_us, self._last_us.get(kind, -1) + 1)
        return self._last_us[kind]

    @abstractmethod
    def _translate(self, kind: MediaKind, media_us: int, arrived_s: float) -> int: ...


class TrackClock(SenderClock):
    """The clock of one WebRTC track."""

    def __init__(self, origin_s: float) -> None:
        """As `SenderClock`."""
        super().__init__(origin_s)
        self._arrivals = Arrivals()
        self._newest: tuple[int, float] | None = None  # media time, arrival

    def _translate(self, kind: MediaKind, media_us: int, arrived_s: float) -> int:
        if self._was_reset(media_us, arrived_s):
            self._arrivals = Arrivals()
        self._arrivals.push(media_us, arrived_s)
        self._newest = media_us, arrived_s
        zero_s = self._arrivals.zero_s
        assert zero_s is not None  # something was just pushed
        return media_us + round((zero_s - self._origin_s) * 1e6)

    def _was_reset(self, media_us: int, arrived_s: float) -> bool:
        if self._newest is None:
            return False
        before_us, before_s = self._newest
        step_us = media_us - before_us
        return step_us < 0 or step_us - (arrived_s - before_s) * 1e6 > MAX_JUMP_US


class ContainerClock(SenderClock):
    """The clock that all streams of a container share; where its times jump, they are joined."""

    def __init__(self, origin_s: float) -> None:
        """As `SenderClock`."""
        super().__init__(origin_s)
        self._rebase = TimestampRebaser()

    def _translate(self, kind: MediaKind, media_us: int, arrived_s: float) -> int:
        return self._rebase.push(kind, media_us, arrived_s - self._origin_s)


class Throttle:
    """Holds back media that arrives faster than it was recorded, such as a file.

    The first 0.2 s pass at once, because the first frame of a live sender may have been slow on its way.
    The allowed lead then grows by 5 % of the time that has passed, up to 1 s: a live sender is soon
    never held back, and a file is read 5 % faster than it plays until it is 1 s ahead.
    """

    FIRST_LEAD_S, MAX_LEAD_S, GAIN = 0.2, 1.0, 0.05
    RESTART_S = 60.0
    """A time this far from where it should be belongs to another recording: start again."""

    def __init__(self) -> None:
        self._started_s = self._zero_s = float("-inf")

    def wait_s(self, media_s: float, now_s: float) -> float:
        """How long to wait before the frame at `media_s` is passed on."""
        if not abs(self._zero_s + media_s - now_s) <= self.RESTART_S:
            self._zero_s, self._started_s = now_s - media_s, now_s
        lead_s = min(self.MAX_LEAD_S, self.FIRST_LEAD_S + self.GAIN * (now_s - self._started_s))
        return max(0.0, self._zero_s + media_s - now_s - lead_s)


class DecodeSpeed:
    """Detects that decoding falls behind: media time that advances more slowly than the clock.

    aiortc queues packets for its decoders without a bound, so this can only be seen from outside.
    """

    SPAN_S = 30.0
    MIN_SPEED = 0.9
    """Seconds of media per second."""

    def __init__(self) -> None:
        self._since: tuple[int, float] | None = None  # media time, arrival
        self._newest_s = 0.0

    def push(self, media_us: int, arrived_s: float) -> float | None:
        """Add a frame. Returns seconds of media per second if that is too slow, else None."""
        # A sender that pauses may stop its clock too.
        paused = arrived_s - self._newest_s > SILENCE_WARNING_S
        self._newest_s = arrived_s
        if self._since is None or paused:
            self._since = media_us, arrived_s
        first_us, first_s = self._since
        if arrived_s - first_s < self.SPAN_S:
            return None
        self._since = media_us, arrived_s
        speed = (media_us - first_us) / 1e6 / (arrived_s - first_s)
        return speed if 0.0 <= speed < self.MIN_SPEED else None
