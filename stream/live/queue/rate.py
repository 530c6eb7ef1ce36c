"""How many frames a second a machine can look at: chosen at the start, kept in step with its load.

A pure state machine; times and costs are passed in.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from affectstream.stream.errors import OptionError

COMFORTABLE, BEARABLE = 0.6, 0.9
"""Shares of real time. A rate is chosen at the start, and gone up to, while the work it means stays
under the first; a machine on which even the lowest exceeds the second cannot keep up at all."""
_NOTICE_S, _NOTICE_DROPS = 2.0, 2
"""So many pictures dropped within so long lower the rate."""
_CALM_S = 10.0
"""Without any drop for so long, a higher rate is tried."""
_LEARN = 0.1
"""Weight of the newest cost in the running mean."""


@dataclass(frozen=True, slots=True)
class Cost:
    """Seconds of work for one frame that is looked at, and for one hop."""

    frame_s: float
    hop_s: float

    def load(self, rate_hz: int, hop_us: int) -> float:
        """The share of real time that all work takes."""
        return rate_hz * self.frame_s + self.hop_s * 1e6 / hop_us


class RateControl:
    """The rate in use, `rate_hz`, and when to change it."""

    def __init__(self, rates: Sequence[int], hop_us: int, cost: Cost) -> None:
        """Choose from `rates` (highest first) for what was measured.

        Raises `OptionError` where even the lowest would fall behind.
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
        self._drops: deque[float] = deque(maxlen=_NOTICE_DROPS)
        self._calm_since_s = float("-inf")
        self._changed_s = float("-inf")

    def took_frame(self, seconds: float) -> None:
        """A frame was looked at in `seconds`."""
        mean = self.cost.frame_s + _LEARN * (seconds - self.cost.frame_s)
        self.cost = Cost(mean, self.cost.hop_s)

    def took_hop(self, seconds: float) -> None:
        """A hop was read in `seconds`."""
        self.cost = Cost(self.cost.frame_s, self.cost.hop_s + _LEARN * (seconds - self.cost.hop_s))

    def dropped(self, now_s: float) -> bool:
        """A picture was given up at `now_s`; whether the rate was lowered for it."""
        self._drops.append(now_s)
        self._calm_since_s = now_s
        lower = [hz for hz in self._rates if hz < self.rate_hz]
        enough = len(self._drops) == _NOTICE_DROPS and now_s - self._drops[0] <= _NOTICE_S
        if not (lower and enough and now_s - self._changed_s >= _NOTICE_S):
            return False
        self._change(lower[0], now_s)
        return True

    def calm(self, now_s: float) -> bool:
        """Nothing was given up until `now_s`; whether the rate was raised for it."""
        if self._calm_since_s == float("-inf"):
            self._calm_since_s = now_s
        higher = [hz for hz in self._rates if hz > self.rate_hz]
        since_s = max(self._calm_since_s, self._changed_s)
        if not higher or now_s - since_s < _CALM_S:
            return False
        if self.cost.load(higher[-1], self._hop_us) > COMFORTABLE:
            return False
        self._change(higher[-1], now_s)
        return True

    def _change(self, rate_hz: int, now_s: float) -> None:
        self.rate_hz = rate_hz
        self._changed_s = now_s
        self._drops.clear()
