"""Steadying measurements over time, so that a still face is still and a turning one is not late."""

from __future__ import annotations

import math


class OneEuroFilter:
    """A low-pass filter whose cutoff rises with the speed of the value.

    Casiez, Roussel and Vogel, "1 Euro Filter", CHI 2012. A value that hardly moves is smoothed with
    `min_cutoff_hz`; each unit a second adds `beta` Hz. The speed itself is smoothed with `speed_cutoff_hz`.
    """

    def __init__(self, min_cutoff_hz: float, beta: float, speed_cutoff_hz: float = 1.0) -> None:
        self._min_cutoff_hz, self._beta, self._speed_cutoff_hz = (
            min_cutoff_hz,
            beta,
            speed_cutoff_hz,
        )
        self._value: float | None = None
        self._speed = 0.0

    def push(self, value: float, step_s: float) -> float:
        """The steadied value, `step_s` seconds after the one before."""
        if self._value is None:
            self._value = value
            return value
        if step_s <= 0:
            return self._value
        speed = (value - self._value) / step_s
        self._speed += _weight(self._speed_cutoff_hz, step_s) * (speed - self._speed)
        cutoff_hz = self._min_cutoff_hz + self._beta * abs(self._speed)
        self._value += _weight(cutoff_hz, step_s) * (value - self._value)
        return self._value


def _weight(cutoff_hz: float, step_s: float) -> float:
    """Weight of the newest value in a first-order low-pass filter."""
    return 1.0 / (1.0 + 1.0 / (2 * math.pi * cutoff_hz * step_s))
