"""One sample for every hop, in order and with regular timestamps, also if hops are late or missing.

The caller passes the time. Hop `k` covers [k hop, (k+1) hop) on the session's clock.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

PATIENCE_US = 2_000_000
"""A hop is missing if it has not come this long after its end. Hops of a slow machine come late; a stream
that goes on is worth more than a hop that is later than this."""

SLEW = 0.001
"""Smallest limit of the correction, in seconds a second: ten times the difference of two crystals."""
SETTLE_S = 5.0
"""Time constant of larger corrections: the delay of a source falls in its first seconds."""
MAX_SLEW = 0.5
"""Largest correction in seconds a second, so that timestamps always increase."""


@dataclass(frozen=True, slots=True)
class Sample:
    """The sample of the hop that ends at `end_us`; `values` is None for a missing hop."""

    end_us: int
    values: tuple[Sequence[float], ...] | None


class Schedule:
    """Push hops as they come and ask for overdue ones: every hop comes out once, in order.

    It begins with the first hop that is pushed. Skipped hops come out as missing.
    """

    def __init__(self, hop_us: int, patience_us: int = PATIENCE_US) -> None:
        self._hop_us, self._patience_us = hop_us, patience_us
        self._next_us: int | None = None
        self.missing = 0
        """Hops that came out as missing."""
        self.late = 0
        """Hops that came after they had come out as missing."""

    @property
    def due_us(self) -> int | None:
        """When the next hop will be overdue, on the session's clock; None before the first hop."""
        return None if self._next_us is None else self._next_us + self._patience_us

    def push(self, end_us: int, values: tuple[Sequence[float], ...]) -> list[Sample]:
        """Add the hop that ends at `end_us`, a multiple of the hop; return the samples up to it."""
        if self._next_us is None:
            self._next_us = end_us
        if end_us < self._next_us:
            self.late += 1
            return []
        samples = self._until(end_us)
        self._next_us = end_us + self._hop_us
        return [*samples, Sample(end_us, values)]

    def overdue(self, now_us: float) -> list[Sample]:
        """The missing samples of hops that are overdue at `now_us`."""
        if self._next_us is None:
            return []
        count = int(now_us - self._patience_us - self._next_us) // self._hop_us + 1
        return self._until(self._next_us + max(0, count) * self._hop_us)

    def _until(self, end_us: int) -> list[Sample]:
        """Missing samples from the next hop up to the one before `end_us`."""
        assert self._next_us is not None
        samples = [Sample(t_us, None) for t_us in range(self._next_us, end_us, self._hop_us)]
        self._next_us += len(samples) * self._hop_us
        self.missing += len(samples)
        return samples


class CaptureClock:
    """A steady estimate of when t = 0 of a session was, so that timestamps stay regular.

    The estimate of the session moves by milliseconds with every early arrival, over hours with the crystal of
    the sender, and by more in the first seconds. This clock follows it slowly.
    """

    def __init__(self) -> None:
        self._zero_s: float | None = None
        self._updated_s = 0.0

    @property
    def zero_s(self) -> float | None:
        """When t = 0 was, in seconds of the monotonic clock; None before `follow`."""
        return self._zero_s

    def follow(self, zero_s: float, t_s: float) -> float:
        """Update with the session's estimate `zero_s` at its time `t_s`; return the steady estimate."""
        if self._zero_s is None:
            self._zero_s, self._updated_s = zero_s, t_s
        elapsed_s, error_s = max(0.0, t_s - self._updated_s), zero_s - self._zero_s
        limit_s = min(max(SLEW, abs(error_s) / SETTLE_S), MAX_SLEW) * elapsed_s
        self._zero_s += min(max(error_s, -limit_s), limit_s)
        self._updated_s = max(self._updated_s, t_s)
        return self._zero_s
