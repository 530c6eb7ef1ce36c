"""Segments: stretches of time with one state, from the states of the hops.

Two rules with hysteresis, so that a segment never contradicts its hops:

- It begins with the first of hops that carry its state for `min_us` without interruption.
- It goes on while an interruption (hops with another state or none) lasts for `bridge_us` at most, and more
  than half of all its hops carry its state. It ends with the last hop that carries it.

A stretch without a state, or with states that do not last, is no segment. A segment is known to have begun
`min_us` after its onset, and to have ended once more than `bridge_us` without its state followed.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

MIN_SEGMENT_US = 1_000_000
"""A segment begins with its state carried for this long: the delay of its onset."""
BRIDGE_US = 500_000
"""The longest interruption within a segment; one that is longer ends it."""


@dataclass(frozen=True, slots=True)
class StateSpan:
    """One state from `start_us` to `end_us`; `mean` and `peak` are of the state's strength in its hops."""

    state: str
    start_us: int
    end_us: int
    mean: float
    peak: float


@dataclass(frozen=True, slots=True)
class _Hop:
    start_us: int
    end_us: int
    state: str | None
    strengths: Mapping[str, float]


class Segmenter:
    """Merges the states of consecutive hops into segments."""

    def __init__(self, min_us: int = MIN_SEGMENT_US, bridge_us: int = BRIDGE_US) -> None:
        self._min_us, self._bridge_us = min_us, bridge_us
        self._segment: list[_Hop] = []
        """Hops of the open segment; the first and the last carry its state."""
        self._after: list[_Hop] = []
        """Hops since then, none of which is in a segment yet."""

    def push(
        self, start_us: int, end_us: int, state: str | None, strengths: Mapping[str, float]
    ) -> list[StateSpan]:
        """The segments that end with one hop, from its state (None: no state) and the strengths in [0, 1]
        that states have in it."""
        self._after.append(_Hop(start_us, end_us, state, strengths))
        if self._goes_on():
            self._segment += self._after
            self._after = []
            return []
        newest = _newest_state(self._after)
        if _duration_us(newest) >= self._min_us:
            done = _spans(self._segment)
            self._segment, self._after = newest, []
            return done
        if _duration_us(self._after) > self._bridge_us:
            done = _spans(self._segment)
            self._segment, self._after = [], newest
            return done
        return []

    def flush(self) -> list[StateSpan]:
        """The open segment."""
        done = _spans(self._segment)
        self._segment, self._after = [], []
        return done

    def _goes_on(self) -> bool:
        """Whether the newest hop belongs to the open segment, with the interruption before it."""
        if not self._segment or self._after[-1].state != self._segment[0].state:
            return False
        hops = [*self._segment, *self._after]
        carried = sum(hop.state == hops[0].state for hop in hops)
        return _duration_us(self._after[:-1]) <= self._bridge_us and 2 * carried > len(hops)


def _newest_state(hops: Sequence[_Hop]) -> list[_Hop]:
    """The last hops that all carry the state of the newest; none if it has no state."""
    first = len(hops)
    while first > 0 and hops[first - 1].state == hops[-1].state is not None:
        first -= 1
    return list(hops[first:])


def _duration_us(hops: Sequence[_Hop]) -> int:
    return hops[-1].end_us - hops[0].start_us if hops else 0


def _spans(hops: Sequence[_Hop]) -> list[StateSpan]:
    """The segment of `hops`; none of no hops."""
    if not hops or (state := hops[0].state) is None:
        return []
    strengths = [hop.strengths[state] for hop in hops if state in hop.strengths]
    mean = sum(strengths) / len(strengths)
    return [StateSpan(state, hops[0].start_us, hops[-1].end_us, mean, max(strengths))]
