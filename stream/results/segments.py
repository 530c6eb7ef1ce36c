"""Segments: stretches of time with one state, from the state in every hop.

A new state must last for `min_us` before the old segment ends; the new segment then begins where the
state began. So a segment is known only that long after it began, and a shorter flicker becomes part of
the segment around it.
"""

from __future__ import annotations

from dataclasses import dataclass

MIN_SEGMENT_US = 1_000_000
"""The shortest segment, and so the delay of a report of a change."""


@dataclass(frozen=True, slots=True)
class StateSpan:
    """One state from `start_us` to `end_us`; `mean` and `peak` are of the state's own score, over the hops
    in this state."""

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
    """Merges the states of consecutive hops into segments."""

    def __init__(self, min_us: int = MIN_SEGMENT_US) -> None:
        self._min_us = min_us
        self._current: _Run | None = None
        self._candidate: _Run | None = None

    def push(self, start_us: int, end_us: int, state: str | None, score: float) -> list[StateSpan]:
        """The segments that end with one hop, from its state (None: no state) and score in [0, 1]."""
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
        done = _span(self._current)
        self._current, self._candidate = self._candidate, None
        return done

    def flush(self) -> list[StateSpan]:
        """The open segment; a new state that is too short to be a segment is part of it."""
        if self._current is None:
            return []
        if self._candidate is not None:
            self._current.end_us = self._candidate.end_us
        done = _span(self._current)
        self._current = self._candidate = None
        return done


def _span(run: _Run) -> list[StateSpan]:
    if run.state is None or not run.scores:
        return []
    mean = sum(run.scores) / len(run.scores)
    return [StateSpan(run.state, run.start_us, run.end_us, mean, max(run.scores))]
