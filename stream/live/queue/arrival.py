"""When something was captured, told from when it arrived.

A source's times say how far apart things are, not when they happened. What arrives with the least
delay tells the most: of all arrivals in the last seconds, the one that was earliest against its own
time places t = 0. The delay that even this one had on its way cannot be seen from here.
"""

from __future__ import annotations

REMEMBER_S = 10.0
"""An arrival counts for this long, at most twice: the clock of a sender may run 100 ppm too slow, or its
way grow longer, and what was early an hour ago would make all of today late."""


class Arrivals:
    """The earliest that time 0 of one kind of stream can have been, on the monotonic clock."""

    def __init__(self, remember_s: float = REMEMBER_S) -> None:
        self._remember_s = remember_s
        self._since_s = 0.0
        self._before: float | None = None
        self._now: float | None = None

    @property
    def zero_s(self) -> float | None:
        """When t = 0 was, in seconds of the monotonic clock; None before anything came."""
        known = [zero for zero in (self._before, self._now) if zero is not None]
        return min(known, default=None)

    def push(self, t_us: int, arrived_s: float) -> None:
        """Something of media time `t_us` arrived."""
        zero_s = arrived_s - t_us / 1e6
        if self._now is None or arrived_s - self._since_s > self._remember_s:
            self._before, self._now, self._since_s = self._now, zero_s, arrived_s
        else:
            self._now = min(self._now, zero_s)
