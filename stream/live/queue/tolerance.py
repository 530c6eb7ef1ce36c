"""How long a hop waits for a late stream, such as a silent microphone or a frozen camera.

A pure state machine; the caller passes the time. It only looks at the end of the next hop: a stream that
pauses within a hop and continues loses nothing.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from affectstream.stream.media.types import MediaKind

TOLERANCE_US = 80_000
"""A hop waits this much longer than the usual delay of the stream."""
GRACE_US = 1_000_000
"""The wait for a stream that has not sent anything yet, from the first arrival of any stream on."""


@dataclass(frozen=True, slots=True)
class Deadline:
    """After `at_s` nothing of `kind` before `t_us` is waited for."""

    kind: MediaKind
    t_us: int
    at_s: float


class Tolerance:
    """Push how far each kind has come; get the deadlines that were missed."""

    def __init__(self, kinds: Iterable[MediaKind], hop_us: int, start_us: int) -> None:
        """`kinds` are those that the source gives; `start_us` is where the first hop begins."""
        self._complete_us = dict.fromkeys(kinds, start_us)
        self._zero_s: dict[MediaKind, float] = {}
        self._hop_us = hop_us
        self._first_s: float | None = None

    def push(self, kind: MediaKind, complete_us: int, zero_s: float, now_s: float) -> None:
        """Everything of `kind` before `complete_us` is here; its t = 0 was at `zero_s` (`Arrivals`)."""
        if kind not in self._complete_us:
            return
        if self._first_s is None:
            self._first_s = now_s
        self._zero_s[kind] = zero_s
        self._complete_us[kind] = max(self._complete_us[kind], complete_us)

    def next_s(self) -> float | None:
        """When the next deadline is; None before anything came."""
        return min((deadline.at_s for deadline in self._deadlines()), default=None)

    def missed(self, now_s: float) -> list[Deadline]:
        """The deadlines that have passed at `now_s`, each returned once."""
        out: list[Deadline] = []
        while missed := [one for one in self._deadlines() if one.at_s <= now_s]:
            for deadline in missed:
                self._complete_us[deadline.kind] = deadline.t_us
            out += missed
        return out

    def _deadlines(self) -> list[Deadline]:
        """A deadline for each kind that the next hop still waits for."""
        if self._first_s is None:
            return []
        end_us = (min(self._complete_us.values()) // self._hop_us + 1) * self._hop_us
        return [
            Deadline(kind, end_us, self._until_s(kind, end_us, self._first_s))
            for kind, complete_us in self._complete_us.items()
            if complete_us < end_us
        ]

    def _until_s(self, kind: MediaKind, end_us: int, first_s: float) -> float:
        wait_s = (end_us + TOLERANCE_US) / 1e6
        if kind in self._zero_s:
            return self._zero_s[kind] + wait_s
        return max(min(self._zero_s.values()) + wait_s, first_s + GRACE_US / 1e6)
