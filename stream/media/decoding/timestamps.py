"""Filters for wrong timestamps in damaged files.

One wrong time far ahead would cost everything between it and the end: all later frames seem to go back,
and the bound passes them. So a jump ahead waits until later media confirms it.
"""

from __future__ import annotations

from typing import Generic, TypeVar

from affectstream.stream.media.types import FOREVER_US

T = TypeVar("T")

FAR_US = 10_000_000
"""A frame that jumps ahead by more than this must be confirmed."""
MAX_TIME_US = 10**15
"""The latest time that an event can hold: a billion seconds."""
_FAR_BEYOND_US = 600_000_000
_STEP_US = 1_000_000
"""The same for packets, which only measure how far a file has been read."""
_CONFIRM_US = 500_000
"""A time in doubt is confirmed once this much media follows it: one packet may hold several frames."""
_MAX_HELD = 16
"""Frames held back at most, to bound the memory; that many confirm each other."""


def latest_time_us(stated_us: int | None) -> int:
    """A jump beyond this is damage, where the container states that the recording ends at `stated_us`.

    The statement may be wrong, so the double of it and ten minutes are allowed.
    """
    if stated_us is None:
        return MAX_TIME_US
    return min(MAX_TIME_US, max(2 * stated_us, stated_us + _FAR_BEYOND_US))


class TimestampFilter(Generic[T]):
    """Passes items on with their times, and holds back those far ahead of all items before.

    A late timestamp is accepted once 0.5 s of media follows it. It is dropped when the next items
    continue where the earlier ones were, and always where it jumps beyond `latest_us`.
    """

    def __init__(self, start_us: int, latest_us: int = MAX_TIME_US) -> None:
        self._last_us, self._latest_us = start_us, latest_us
        self._held: list[tuple[T, int]] = []
        self.dropped = 0
        self.beyond_us: int | None = None
        """The time of the newest item if it is beyond `latest_us`."""

    def push(self, item: T, t_us: int) -> list[tuple[T, int]]:
        """The items that are accepted now, with their times."""
        out: list[tuple[T, int]] = []
        if t_us > max(self._latest_us, self._last_us + FAR_US):
            self.dropped, self.beyond_us = self.dropped + 1, t_us
            return out
        self.beyond_us = None
        if self._held:
            since_us = t_us - self._held[0][1]
            if since_us < 0:
                self.dropped += len(self._held)
                self._held = []
            elif since_us >= _CONFIRM_US or len(self._held) >= _MAX_HELD:
                out = self.confirm(FOREVER_US)
        if self._held or t_us > self._last_us + FAR_US:
            self._held.append((item, t_us))
            return out
        self._last_us = max(self._last_us, t_us)
        out.append((item, t_us))
        return out

    def confirm(self, t_us: int) -> list[tuple[T, int]]:
        """The held items up to `t_us`, which something else has reached: they are accepted."""
        out = [held for held in self._held if held[1] <= t_us]
        if out:
            self._held = [held for held in self._held if held[1] > t_us]
            self._last_us = out[-1][1]
        return out


class DemuxProgress:
    """How far a stream has been read, by the decode times of its packets."""

    def __init__(self, start_us: int, latest_us: int = MAX_TIME_US) -> None:
        self.t_us = -FOREVER_US
        """Packets to come are not much earlier than this."""
        self._start_us, self._latest_us = start_us, latest_us
        self._doubted_us = FOREVER_US

    def push(self, t_us: int) -> None:
        """Take the time of a packet; across a jump, go only as far as later packets confirm."""
        if t_us <= max(self.t_us, self._start_us) + _STEP_US:
            self.t_us, self._doubted_us = t_us, FOREVER_US
        elif t_us > self._latest_us:
            return
        elif t_us >= self._doubted_us + _CONFIRM_US:
            self.t_us, self._doubted_us = self._doubted_us, t_us
        elif t_us < self._doubted_us:
            self._doubted_us = t_us
