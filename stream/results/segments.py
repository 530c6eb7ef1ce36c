"""From a state every hop to stretches that a person can read.

A new state must hold for `min_us` before the old one ends; it then begins where it was first seen. So
a segment is known that long after it began, and shorter flickers belong to what surrounds them.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

MIN_SEGMENT_US = 1_000_000
"""Shortest segment, and so the delay with which a change is reported."""


@dataclass(frozen=True, slots=True)
class StateSpan:
    """One state from `start_us` to `end_us`, with the mean and the highest of its own score, over the
    hops that were in this state."""

    state: str
    start_us: int
    end_us: int
    mean: float
    peak: float


@dataclass(slots=True)
class _Run:
    state: str | None
    start_us: int
    end_us: int
    scores: list[float]


class Segmenter:
    """Merges states into stretches. Hops must follow each other in time."""

    def __init__(self, min_us: int = MIN_SEGMENT_US) -> None:
        self._min_us = min_us
        self._current: _Run | None = None
        self._candidate: _Run | None = None

    def push(self, start_us: int, end_us: int, state: str | None, score: float) -> list[StateSpan]:
        """One hop: its state (None while there is none) and that state's score in [0, 1]."""
        if self._current is None:
            self._current = _Run(None, start_us, start_us, [])
        if state == self._current.state:
            self._candidate = None
            self._current.end_us = end_us
            self._current.scores.append(score)
            return []
        if self._candidate is None or self._candidate.state != state:
            self._candidate = _Run(state, start_us, start_us, [])
        self._candidate.end_us = end_us
        self._candidate.scores.append(score)
        if end_us - self._candidate.start_us < self._min_us:
            return []
        self._current.end_us = self._candidate.start_us
        done = _stretch(self._current)
        self._current, self._candidate = self._candidate, None
        return done

    def flush(self) -> list[StateSpan]:
        """The stretch that was still going on; a candidate too young to stand is part of it."""
        if self._current is None:
            return []
        if self._candidate is not None:
            self._current.end_us = self._candidate.end_us
        done = _stretch(self._current)
        self._current = self._candidate = None
        return done


def _stretch(run: _Run) -> list[StateSpan]:
    if run.state is None or not run.scores:
        return []
    mean = sum(run.scores) / len(run.scores)
    return [StateSpan(run.state, run.start_us, run.end_us, mean, max(run.scores))]


class Smoother:
    """Probabilities averaged over time, and the label that leads by a margin.

    Exponential average with time constant `tau_us`; another label takes over only when it leads the
    present one by `margin`.
    """

    def __init__(
        self, labels: Sequence[str], *, tau_us: int = 1_000_000, margin: float = 0.05
    ) -> None:
        self._labels = tuple(labels)
        self._tau_us = tau_us
        self._margin = margin
        self._mean: list[float] | None = None
        self._lead: int | None = None

    def push(self, scores: Sequence[float] | None, hop_us: int) -> tuple[str | None, float]:
        """State and its averaged score after one hop; nothing to read forgets what was before."""
        if scores is None:
            self._mean = self._lead = None
            return None, 0.0
        if self._mean is None:
            self._mean = list(scores)
        else:
            keep = math.exp(-hop_us / self._tau_us)
            self._mean = [
                keep * m + (1 - keep) * s for m, s in zip(self._mean, scores, strict=True)
            ]
        best = max(range(len(self._mean)), key=self._mean.__getitem__)
        if self._lead is None or self._mean[best] >= self._mean[self._lead] + self._margin:
            self._lead = best
        return self._labels[self._lead], self._mean[self._lead]
