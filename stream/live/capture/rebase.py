"""One clock across restarts: what a source calls its time, put onto that of the session.

Network sources begin anywhere, begin again after a restart, wrap (MPEG-TS after 26.5 hours) and jump.
A step back, or one of more than a second that took no such time to arrive, is taken for a break: time
goes on by as much as passed between the two arrivals. Sound and pictures share their offset, so they
stay in step; whichever comes across a break first decides, and the other follows when it gets there.
"""

from __future__ import annotations

from dataclasses import dataclass

from affectstream.stream.media.types import MediaKind

JUMP_US = 1_000_000
BACK_US = 250_000
"""Time may go back by this within a stream without a break: such items are left out further on."""


@dataclass(slots=True)
class _Track:
    source_us: int
    offset_us: int
    arrived_s: float


class Rebase:
    """Push the times of one source as they come; get them on the session's clock."""

    def __init__(self) -> None:
        self.breaks = 0
        """How often time was put together again."""
        self._tracks: dict[MediaKind, _Track] = {}
        self._offset_us: int | None = None
        self._newest_us = 0
        self._arrived_s = 0.0
        self._restarted = True

    def restart(self) -> None:
        """The source was opened anew: whatever comes next follows on."""
        self._tracks.clear()
        self._restarted = True

    def push(self, kind: MediaKind, source_us: int, session_s: float) -> int:
        """The session's time of what the source says was at `source_us`, in microseconds.

        `session_s` is when it arrived, in seconds of the session; the very first item is given that
        time.
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
            # The first of its kind: far from all others it belongs to another clock.
            ahead_us = source_us + self._offset_us - self._newest_us
            if abs(ahead_us) > 10 * JUMP_US:
                return self._onward_us(session_s) - source_us
            return self._offset_us
        step_us = source_us - track.source_us
        waited_us = round((session_s - track.arrived_s) * 1e6)
        if -BACK_US <= step_us <= JUMP_US or 0 < step_us <= waited_us + JUMP_US:
            return track.offset_us
        if track.offset_us != self._offset_us:
            # The other kind has crossed a break already; this may be the same one.
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
        """Where time goes on: after as much as passed since the newest item arrived."""
        return self._newest_us + max(1, round((session_s - self._arrived_s) * 1e6))
