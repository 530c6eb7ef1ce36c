"""A bounded timeline of samples, from which windows of sound are cut."""

from __future__ import annotations

from collections import deque

import numpy as np
from numpy.typing import NDArray

from affectstream.stream.media.types import SAMPLE_RATE, Samples


class SoundTimeline:
    """The newest sound, addressed by sample number from t = 0.

    Holds at most `capacity` samples, holes not counted. That is enough for one window, and for as far as
    sound may run ahead of the pictures. `forget` makes room.
    """

    def __init__(self, channels: int = 1, capacity: int = 300 * SAMPLE_RATE) -> None:
        if channels < 1 or capacity < 1:
            raise ValueError(f"channels and capacity must be positive: {channels}, {capacity}")
        self._channels = channels
        self._capacity = capacity
        self._runs: deque[Samples] = deque()
        self._held = 0
        self._forgotten: int | None = None
        self.end = 0
        """Number of the first sample after the newest run."""

    def push(self, samples: Samples) -> None:
        """Add a run after all earlier ones.

        Raises ValueError for one that goes back or has another number of channels, and BufferError
        where there is no room.
        """
        if samples.data.ndim != 2 or samples.data.shape[1] != self._channels:
            raise ValueError(f"expected (n, {self._channels}) samples, found {samples.data.shape}")
        if self._runs and samples.start < self.end:
            raise ValueError(
                f"samples go back: found {samples.start}, expected {self.end} or later"
            )
        if self._held + len(samples.data) > self._capacity:
            raise BufferError(
                f"no room for samples up to {samples.end}: {self._held} of {self._capacity} are held; "
                "call forget() first"
            )
        if len(samples.data):
            self._held += len(samples.data)
            self._runs.append(samples)
            self.end = samples.end

    def window(self, start: int, end: int) -> NDArray[np.float32]:
        """Samples [start, end): (end - start, channels) float32, zeros where none came.

        Raises ValueError where a part of them has been forgotten.
        """
        if self._forgotten is not None and start < self._forgotten:
            raise ValueError(
                f"samples before {self._forgotten} have been forgotten, asked for {start}"
            )
        data = np.zeros((end - start, self._channels), np.float32)
        for run in self._runs:
            if run.start >= end:
                break
            first, last = max(run.start, start), min(run.end, end)
            if first < last:
                data[first - start : last - start] = run.data[first - run.start : last - run.start]
        return data

    def forget(self, before: int) -> None:
        """Drop the samples before number `before`."""
        self._forgotten = max(before, self._forgotten if self._forgotten is not None else before)
        while self._runs and self._runs[0].end <= self._forgotten:
            self._held -= len(self._runs.popleft().data)
