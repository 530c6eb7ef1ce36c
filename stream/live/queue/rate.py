"""How many frames a second a machine can analyze: chosen at the start, adapted to its load.

Pure state machines; the caller passes times and costs.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from affectstream.stream.errors import OptionError

COMFORTABLE, BEARABLE = 0.6, 0.9
"""Shares of real time. A rate is chosen at the start, and raised, if its work stays below the first. A
machine on which even the lowest rate exceeds the second is too slow."""
REPORT_DROPS_S = 5.0
"""Drops are reported together, at most this often."""
_LOWER_S, _LOWER_DROPS = 2.0, 2
"""This many dropped frames within this time lower the rate."""
_RAISE_S = 10.0
"""After this long without a drop a higher rate is tried."""
_WEIGHT = 0.1
"""Weight of the newest cost in the running mean."""


@dataclass(frozen=True, slots=True)
class Cost:
    """Seconds of work for one analyzed frame, and for one hop."""

    frame_s: float
    hop_s: float

    def load(self, rate_hz: int, hop_us: int) -> float:
        """The share of real time that all work takes."""
        return rate_hz * self.frame_s + self.hop_s * 1e6 / hop_us


class RateControl:
    """The rate in use, `rate_hz`, and when to change it."""

    def __init__(self, rates: Sequence[int], hop_us: int, cost: Cost) -> None:
        """Choose from `rates` (highest first) by the measured `cost`.

        Raises `OptionError` if even the lowest rate is too much.
        """
        self._rates = tuple(rates)
        self._hop_us = hop_us
        self.cost = cost
        lowest = cost.load(self._rates[-1], hop_us)
        if lowest > BEARABLE:
            raise OptionError(
                f"this machine is too slow for this bundle live: a hop of {hop_us / 1e6:g} s takes "
                f"{lowest * hop_us / 1e6:.2f} s even at {self._rates[-1]} frames a second; use "
                "--bundle pocket, a GPU (--device), or score a recording instead"
            )
        fitting = [hz for hz in self._rates if cost.load(hz, hop_us) <= COMFORTABLE]
        self.rate_hz = fitting[0] if fitting else self._rates[-1]
        self._drops_s: deque[float] = deque(maxlen=_LOWER_DROPS)
        self._last_drop_s: float | None = None
        self._changed_s = float("-inf")

    @property
    def full_hz(self) -> int:
        """The highest rate: the bundle's own."""
        return self._rates[0]

    def push_frame_cost(self, seconds: float) -> None:
        """A frame was analyzed in `seconds`."""
        mean = self.cost.frame_s + _WEIGHT * (seconds - self.cost.frame_s)
        self.cost = Cost(mean, self.cost.hop_s)

    def push_hop_cost(self, seconds: float) -> None:
        """A hop was computed in `seconds`."""
        mean = self.cost.hop_s + _WEIGHT * (seconds - self.cost.hop_s)
        self.cost = Cost(self.cost.frame_s, mean)

    def push_drop(self, now_s: float) -> bool:
        """A frame was dropped at `now_s`; whether this lowered the rate."""
        self._drops_s.append(now_s)
        self._last_drop_s = now_s
        lower = [hz for hz in self._rates if hz < self.rate_hz]
        enough = len(self._drops_s) == _LOWER_DROPS and now_s - self._drops_s[0] <= _LOWER_S
        if not (lower and enough and now_s - self._changed_s >= _LOWER_S):
            return False
        self._change(lower[0], now_s)
        return True

    def push_calm(self, now_s: float) -> bool:
        """Nothing was dropped up to `now_s`; whether this raised the rate."""
        if self._last_drop_s is None:
            self._last_drop_s = now_s
        higher = [hz for hz in self._rates if hz > self.rate_hz]
        since_s = max(self._last_drop_s, self._changed_s)
        if not higher or now_s - since_s < _RAISE_S:
            return False
        if self.cost.load(higher[-1], self._hop_us) > COMFORTABLE:
            return False
        self._change(higher[-1], now_s)
        return True

    def _change(self, rate_hz: int, now_s: float) -> None:
        self.rate_hz = rate_hz
        self._changed_s = now_s
        self._drops_s.clear()


class DropMonitor:
    """Adapts the rate to the dropped frames, and says when to report them."""

    def __init__(self, control: RateControl) -> None:
        self._control = control
        self._counted = self._reported = 0
        self._reported_s = float("-inf")

    def push(self, dropped: int, now_s: float) -> tuple[int, bool]:
        """`dropped` frames were dropped up to `now_s`, since the start.

        Returns how many of them to report now, and whether the rate was changed.
        """
        changed = False
        for _ in range(dropped - self._counted):
            changed = self._control.push_drop(now_s) or changed
        if dropped == self._counted:
            changed = self._control.push_calm(now_s)
        self._counted = dropped
        due = changed or now_s - self._reported_s >= REPORT_DROPS_S
        if dropped == self._reported or not due:
            return 0, changed
        count, self._reported, self._reported_s = dropped - self._reported, dropped, now_s
        return count, changed
