"""Measures the skew between sound and pictures by their content: each flash comes with a beep.

Timestamps do not show the skew, since a source may stamp its sound a quarter of a second late. This needs a
recording, a page, or a lamp and a buzzer that flash and beep at the same time.
"""

from __future__ import annotations

from collections import deque
from statistics import median

import numpy as np
from numpy.typing import NDArray

from affectstream.stream.media.types import Samples, sample_time_us

_FLASH = 60.0
"""Rise of the mean gray level (0 to 255) at a flash."""
_BEEP_DBFS = -30.0
_STEP_SAMPLES = 16
"""Sound is measured in steps of a millisecond."""
_MAX_SKEW_US = 400_000
"""A flash and a beep are a pair if they are no further apart; flashes are a second apart."""


class FlashBeep:
    """Push pictures and sound with times of one clock; `skew_ms` is the median over the pairs so far."""

    def __init__(self) -> None:
        self._level: float | None = None
        self._loud = False
        self._quiet_steps = 0
        self._flashes: deque[int] = deque(maxlen=8)
        self._beeps: deque[int] = deque(maxlen=8)
        self.pairs_us: list[int] = []
        """For each pair, how much later the flash was than the beep."""

    @property
    def skew_ms(self) -> float | None:
        """Median delay of pictures against sound; None before the first pair."""
        return median(self.pairs_us) / 1e3 if self.pairs_us else None

    def push_video(self, gray: NDArray[np.uint8], t_us: int) -> None:
        """Add a gray image (H, W) uint8."""
        level = float(gray[::4, ::4].mean())
        if self._level is not None and level - self._level >= _FLASH:
            self._pair(self._flashes, t_us, self._beeps, 1)
        self._level = level

    def push_audio(self, samples: Samples) -> None:
        """Add a run of sound; only its first channel is used."""
        whole = len(samples.data) // _STEP_SAMPLES * _STEP_SAMPLES
        steps = samples.data[:whole, 0].reshape(-1, _STEP_SAMPLES)
        loud = np.abs(steps).max(axis=1, initial=0.0) >= 10 ** (_BEEP_DBFS / 20)
        for index, is_loud in enumerate(loud.tolist()):
            if is_loud and not self._loud:
                t_us = sample_time_us(samples.start + index * _STEP_SAMPLES)
                self._pair(self._beeps, t_us, self._flashes, -1)
            # A tone passes through zero: it is over after 50 quiet steps.
            self._quiet_steps = 0 if is_loud else self._quiet_steps + 1
            self._loud = is_loud or (self._loud and self._quiet_steps < 50)

    def _pair(self, own: deque[int], t_us: int, others: deque[int], sign: int) -> None:
        near = [other for other in others if abs(other - t_us) <= _MAX_SKEW_US]
        if not near:
            own.append(t_us)
            return
        other = min(near, key=lambda one: abs(one - t_us))
        others.remove(other)
        self.pairs_us.append(sign * (t_us - other))
