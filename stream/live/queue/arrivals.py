"""When something was captured, estimated from when it arrived.

The times of a source say how far apart things are, not when they happened. The arrival with the least
delay says most: of all arrivals in the last seconds, the one that was earliest against its own time
places t = 0. The delay that even this one had on its way cannot be seen from here.
"""

from __future__ import annotations

REMEMBER_S = 10.0
"""An arrival counts for this long, at most twice. The clock of a sender may run 100 ppm too slow, or its
route get longer: an early arrival of an hour ago would make everything of now late."""


class Arrivals:
    """The earliest that t = 0 of one kind of stream can have been, on the monotonic clock."""

    def __init__(self, remember_s: float = REMEMBER_S) -> None:
        self._remember_s = remember_s
        self._since_s = 0.0
        self._before_s: float | None = None
        self._now_s: float | None = None

    @property
    def zero_s(self) -> float | None:
        """When t = 0 was, in seconds of the monotonic clock; None before anything came."""
        known = [zero_s for zero_s in (self._before_s, self._now_s) if zero_s is not None]
        return min(known, default=None)

    def push(self, t_us: int, arrived_s: float) -> None:
        """Something of media time `t_us` arrived."""
        zero_s = arrived_s - t_us / 1e6
        if self._now_s is None or arrived_s - self._since_s > self._remember_s:
            self._before_s, self._now_s, self._since_s = self._now_s, zero_s, arrived_s
        else:
            self._now_s = min(self._now_s, zero_s)
