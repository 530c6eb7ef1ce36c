"""Measures how far sound and picture are apart, by content: each flash comes with a beep.

Times cannot show this: a source may stamp its sound a quarter of a second late. It needs a recording
(or a lamp and a buzzer, or a page that flashes and beeps) made for it.
"""

from __future__ import annotations

from collections import deque
from statistics import median

import numpy as np
from numpy.typing import NDArray

from affectstream.stream.media.types import Samples, sample_time_us

_FLASH = 60.0
"""Grey levels (of 255) by which the mean of a picture rises at a flash."""
_BEEP_DBFS = -30.0
_STEP_SAMPLES = 16
"""Sound is measured in steps of a millisecond."""
_REACH_US = 400_000
"""A flash and a beep further apart than this do not belong together; flashes are a second apart."""


class FlashBeep:
    """Push pictures and sound on one clock; `skew_ms` is the median over the pairs so far."""

    def __init__(self) -> None:
        self._grey: float | None = None
        self._loud = False
        self._quiet_steps = 0
        self._flashes: deque[int] = deque(maxlen=8)
        self._beeps: deque[int] = deque(maxlen=8)
        self.pairs_us: list[int] = []
        """How much later the flash of each pair was."""

    @property
    def skew_ms(self) -> float | None:
        """How much later pictures are than sound; None before the first pair."""
        return median(self.pairs_us) / 1e3 if self.pairs_us else None

    def push_video(self, grey: NDArray[np.uint8], t_us: int) -> None:
        """A picture (H, W) uint8, its brightness alone."""
        level = float(grey[::4, ::4].mean())
        if self._grey is not None and level - self._grey >= _FLASH:
            self._pair(self._flashes, t_us, self._beeps, 1)
        self._grey = level

    def push_audio(self, samples: Samples) -> None:
        """A run of sound; only its first channel counts."""
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
        near = [other for other in others if abs(other - t_us) <= _REACH_US]
        if not near:
            own.append(t_us)
            return
        other = min(near, key=lambda one: abs(one - t_us))
        others.remove(other)
        self.pairs_us.append(sign * (t_us - other))
