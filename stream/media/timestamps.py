"""Times that can be believed, in files that are damaged.

One wrong time far ahead would otherwise cost everything between it and the end: what follows seems
to go back, and silence is promised up to it. So a step ahead waits until something confirms it.
"""

from __future__ import annotations

from typing import Generic, TypeVar

from affectstream.stream.media.types import FOREVER_US

T = TypeVar("T")

FAR_US = 10_000_000
"""A step ahead of a frame by more than this is doubted."""
_STEP_US = 1_000_000
"""The same for packets, which only say how far a file has been read."""
_CONFIRM_US = 500_000
"""What comes this much after a doubted time confirms it: one packet may hold several frames."""
_MOST_HELD = 16
"""Frames that are held back, which is memory; as many are believed."""


class TimestampFilter(Generic[T]):
    """Passes things on with their times, and holds back those that are far ahead of all before.

    They are believed once as much follows them, and dropped when the next ones go on where it was.
    """

    def __init__(self, start_us: int) -> None:
        self._last_us = start_us
        self._held: list[tuple[T, int]] = []
        self.dropped = 0

    def push(self, thing: T, t_us: int) -> list[tuple[T, int]]:
        """The things, with their times, that can be believed now."""
        out: list[tuple[T, int]] = []
        if self._held:
            since_us = t_us - self._held[0][1]
            if since_us < 0:
                self.dropped += len(self._held)
                self._held = []
            elif since_us >= _CONFIRM_US or len(self._held) >= _MOST_HELD:
                out = self.confirm(FOREVER_US)
        if self._held or t_us > self._last_us + FAR_US:
            self._held.append((thing, t_us))
            return out
        self._last_us = max(self._last_us, t_us)
        out.append((thing, t_us))
        return out

    def confirm(self, t_us: int) -> list[tuple[T, int]]:
        """Something else has come to `t_us`: what is held up to there can be believed."""
        out = [held for held in self._held if held[1] <= t_us]
        if out:
            self._held = [held for held in self._held if held[1] > t_us]
            self._last_us = out[-1][1]
        return out


class DemuxProgress:
    """How far a stream has been read, by the decode times of its packets."""

    def __init__(self, start_us: int) -> None:
        self.t_us = -FOREVER_US
        """Packets to come are not much earlier than this."""
        self._start_us = start_us
        self._doubted_us = FOREVER_US

    def push(self, t_us: int) -> None:
        """Take the time of a packet; across a step, go only as far as later ones confirm."""
        if t_us <= max(self.t_us, self._start_us) + _STEP_US:
            self.t_us, self._doubted_us = t_us, FOREVER_US
        elif t_us >= self._doubted_us + _CONFIRM_US:
            self.t_us, self._doubted_us = self._doubted_us, t_us
        elif t_us < self._doubted_us:
            self._doubted_us = t_us
