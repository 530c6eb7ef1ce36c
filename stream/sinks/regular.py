"""A sample for every hop, in order, whatever becomes of the hop: what a regular stream promises.

Pure: the caller passes the time. Hop `k` covers [k hop, (k+1) hop) of the session's clock.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

PATIENCE_US = 2_000_000
"""A hop that has not come so long after its end is pushed as missing; hops of a slow machine come late,
and one that comes even later is worth less than a stream that goes on."""

SLEW = 0.001
"""Seconds by which the capture clock moves in a second at least: ten times what crystals differ by."""
SETTLE_S = 5.0
"""Time constant with which more is made up for: a source that was just opened gets quicker on its way."""
MOST_SLEW = 0.5
"""Seconds in a second at most, so that stamps always go forward."""


@dataclass(frozen=True, slots=True)
class Sample:
    """What is pushed for the hop that ends at `end_us`; None for one that is missing."""

    end_us: int
    values: tuple[Sequence[float], ...] | None


class Schedule:
    """Push hops as they come, ask what is overdue; each hop comes out once, in order.

    It begins with the first hop that is pushed. Hops that were skipped come out as missing.
    """

    def __init__(self, hop_us: int, patience_us: int = PATIENCE_US) -> None:
        self._hop_us, self._patience_us = hop_us, patience_us
        self._next_us: int | None = None
        self.missing = 0
        """Hops that came out without values."""
        self.late = 0
        """Hops that came after they had been given up."""

    @property
    def due_us(self) -> int | None:
        """When the next hop is overdue, on the session's clock; None before the first."""
        return None if self._next_us is None else self._next_us + self._patience_us

    def push(self, end_us: int, values: tuple[Sequence[float], ...]) -> list[Sample]:
        """The hop that ends at `end_us`, a whole number of hops."""
        if self._next_us is None:
            self._next_us = end_us
        if end_us < self._next_us:
            self.late += 1
            return []
        samples = self._until(end_us)
        self._next_us = end_us + self._hop_us
        return [*samples, Sample(end_us, values)]

    def overdue(self, now_us: float) -> list[Sample]:
        """The hops that are given up at `now_us`."""
        if self._next_us is None:
            return []
        behind = int(now_us - self._patience_us - self._next_us) // self._hop_us + 1
        return self._until(self._next_us + max(0, behind) * self._hop_us)

    def _until(self, end_us: int) -> list[Sample]:
        """Missing hops from the next to before that which ends at `end_us`."""
        assert self._next_us is not None
        samples = [Sample(t_us, None) for t_us in range(self._next_us, end_us, self._hop_us)]
        self._next_us += len(samples) * self._hop_us
        self.missing += len(samples)
        return samples


class CaptureClock:
    """When t = 0 of a session was, so steady that stamps made of it stay regular.

    What a session says of it wanders by milliseconds with every quick arrival, over hours with the sender's
    crystal, and by more in the first seconds. This follows slowly.
    """

    def __init__(self) -> None:
        self._zero_s: float | None = None
        self._told_s = 0.0

    @property
    def zero_s(self) -> float | None:
        """When t = 0 was, in seconds of the monotonic clock; None before `follow`."""
        return self._zero_s

    def follow(self, zero_s: float, t_s: float) -> float:
        """The session said at its time `t_s` that t = 0 was at `zero_s`; what is taken for it."""
        if self._zero_s is None:
            self._zero_s, self._told_s = zero_s, t_s
        passed_s, off_s = max(0.0, t_s - self._told_s), zero_s - self._zero_s
        most_s = min(max(SLEW, abs(off_s) / SETTLE_S), MOST_SLEW) * passed_s
        self._zero_s += min(max(off_s, -most_s), most_s)
        self._told_s = max(self._told_s, t_s)
        return self._zero_s
