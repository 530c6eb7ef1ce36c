"""From the times of a source to the clock of the session: skip the backlog, then rebase what follows.

Network sources begin anywhere, begin again after a restart, wrap (MPEG-TS after 26.5 hours) and jump.
"""

from __future__ import annotations

from dataclasses import dataclass

from affectstream.stream.media.types import MediaKind

COMPARE_S = 0.15
"""Media time and real time are compared over this long."""
_FASTER = 1.5
_MAX_BACKLOG_S = 3.0
"""A source that stays faster than real time for this long is no longer skipped."""
JUMP_US = 1_000_000
"""A larger step that did not take as long to arrive is a break."""
BACK_US = 250_000
"""A smaller step back is no break; later code leaves such frames out."""


class BacklogSkipper:
    """Push the times of a source that was just opened; get False for the frames to skip.

    What the sender had buffered comes all at once. It is old, and analyzing it would delay everything
    after it. So frames are skipped until media time no longer runs faster than real time.
    """

    def __init__(self) -> None:
        self._done = False
        self._began_s: float | None = None
        self._compared_us, self._compared_s = 0, 0.0
        self._newest_us = 0
        self.skipped = 0
        """Frames that were skipped."""

    @property
    def done(self) -> bool:
        """Whether the backlog is over: nothing is skipped any more."""
        return self._done

    def push(self, source_us: int, arrived_s: float) -> bool:
        """A frame of `source_us` (any origin) arrived; False if it is to be skipped."""
        if self._done:
            return True
        if self._began_s is None:
            self._began_s = self._compared_s = arrived_s
            self._compared_us = self._newest_us = source_us
        self._newest_us = max(self._newest_us, source_us)
        real_s = arrived_s - self._compared_s
        if real_s >= COMPARE_S:
            media_s = (self._newest_us - self._compared_us) / 1e6
            self._done = media_s <= _FASTER * real_s or arrived_s - self._began_s >= _MAX_BACKLOG_S
            self._compared_us, self._compared_s = self._newest_us, arrived_s
        self.skipped += not self._done
        return self._done


@dataclass(slots=True)
class _Track:
    source_us: int
    offset_us: int
    arrived_s: float


class TimestampRebaser:
    """Push the times of one source as they come; get them on the session's clock, across restarts.

    A step back, or a jump ahead, is a break: session time then advances by the time between the two
    arrivals. Sound and pictures share one offset, so they stay in step. Whichever reaches a break first
    sets the new offset, and the other follows when it gets there.
    """

    def __init__(self) -> None:
        self.breaks = 0
        """The number of breaks so far."""
        self._tracks: dict[MediaKind, _Track] = {}
        self._offset_us: int | None = None
        self._newest_us = 0
        self._arrived_s = 0.0
        self._restarted = True

    def restart(self) -> None:
        """The source was opened again: the next frame begins after the newest one."""
        self._tracks.clear()
        self._restarted = True

    def push(self, kind: MediaKind, source_us: int, session_s: float) -> int:
        """The session's time, in microseconds, of what the source places at `source_us`.

        `session_s` is when it arrived, in seconds of the session; the very first item gets that time.
        """
        if self._restarted:
            self._restarted = False
            self._break(source_us, session_s)
        offset_us = self._offset_of(kind, source_us, session_s)
        self._tracks[kind] = _Track(source_us, offset_us, session_s)
        t_us = source_us + offset_us
        self._newest_us = max(self._newest_us, t_us)
        self._arrived_s = session_s
        return t_us

    def _offset_of(self, kind: MediaKind, source_us: int, session_s: float) -> int:
        assert self._offset_us is not None
        track = self._tracks.get(kind)
        if track is None:
            # The first of its kind. If it is far from all others, it has another clock.
            ahead_us = source_us + self._offset_us - self._newest_us
            if abs(ahead_us) > 10 * JUMP_US:
                return self._onward_us(session_s) - source_us
            return self._offset_us
        step_us = source_us - track.source_us
        waited_us = round((session_s - track.arrived_s) * 1e6)
        if -BACK_US <= step_us <= JUMP_US or 0 < step_us <= waited_us + JUMP_US:
            return track.offset_us
        if track.offset_us != self._offset_us:
            # The other kind has crossed a break already; this may be the same break.
            ahead_us = source_us + self._offset_us - (track.source_us + track.offset_us)
            if (
                -JUMP_US
                <= ahead_us
                <= self._newest_us - track.source_us - track.offset_us + JUMP_US
            ):
                return self._offset_us
        self._break(source_us, session_s)
        return self._offset_us

    def _break(self, source_us: int, session_s: float) -> None:
        if self._offset_us is None:
            self._offset_us = round(session_s * 1e6) - source_us
        else:
            self.breaks += 1
            self._offset_us = self._onward_us(session_s) - source_us

    def _onward_us(self, session_s: float) -> int:
        """The newest time, plus the time since it arrived."""
        return self._newest_us + max(1, round((session_s - self._arrived_s) * 1e6))
