"""How long a hop waits for a stream that is late: a silent microphone, a frozen camera.

A pure state machine; the time is passed in. It looks only at the end of the next hop: a stream that
pauses within a hop and goes on loses nothing.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from affectstream.stream.media.types import MediaKind

TOLERANCE_US = 80_000
"""What is this much later than its stream's usual delay is not waited for."""
GRACE_US = 1_000_000
"""The same for a stream of which nothing has come yet, from the first arrival of any on."""


@dataclass(frozen=True, slots=True)
class Overdue:
    """Nothing of `kind` before `t_us` is waited for any more, since `ran_out_s`."""

    kind: MediaKind
    t_us: int
    ran_out_s: float


class Tolerance:
    """Tell it how far each kind has come; ask what is overdue."""

    def __init__(self, kinds: Iterable[MediaKind], hop_us: int, start_us: int) -> None:
        """`kinds` are those that the source gives; `start_us` is where the first hop begins."""
        self._reached_us = dict.fromkeys(kinds, start_us)
        self._zero_s: dict[MediaKind, float] = {}
        self._hop_us = hop_us
        self._first_s: float | None = None

    def came(self, kind: MediaKind, reached_us: int, zero_s: float, now_s: float) -> None:
        """Everything of `kind` before `reached_us` is here; its time 0 was at `zero_s` (`Arrivals`)."""
        if kind not in self._reached_us:
            return
        if self._first_s is None:
            self._first_s = now_s
        self._zero_s[kind] = zero_s
        self._reached_us[kind] = max(self._reached_us[kind], reached_us)

    def deadline_s(self) -> float | None:
        """When `overdue` will have something next; None before anything came."""
        return min((one.ran_out_s for one in self._awaited()), default=None)

    def overdue(self, now_s: float) -> list[Overdue]:
        """What need not be waited for at `now_s`; it counts as come."""
        out: list[Overdue] = []
        while due := [one for one in self._awaited() if one.ran_out_s <= now_s]:
            for one in due:
                self._reached_us[one.kind] = one.t_us
            out += due
        return out

    def _awaited(self) -> list[Overdue]:
        """The kinds that the next hop still waits for, and until when."""
        if self._first_s is None:
            return []
        end_us = (min(self._reached_us.values()) // self._hop_us + 1) * self._hop_us
        return [
            Overdue(kind, end_us, self._until_s(kind, end_us))
            for kind, reached_us in self._reached_us.items()
            if reached_us < end_us
        ]

    def _until_s(self, kind: MediaKind, end_us: int) -> float:
        if kind in self._zero_s:
            return self._zero_s[kind] + (end_us + TOLERANCE_US) / 1e6
        assert self._first_s is not None
        others = min(self._zero_s.values())
        return max(others + (end_us + TOLERANCE_US) / 1e6, self._first_s + GRACE_US / 1e6)
