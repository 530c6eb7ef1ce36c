"""Holes in a recording: where pictures or sound stop and go on later."""

from __future__ import annotations

from dataclasses import dataclass

from affectstream.stream.media.types import MediaKind

GAP_US = 1_000_000
"""A longer hole is a gap. Attention counts a face as absent after the same time without one."""


@dataclass(frozen=True, slots=True)
class Gap:
    """Nothing of this kind came in [start, end), and something did before and after."""

    kind: MediaKind
    start_us: int
    end_us: int


class GapFinder:
    """Push what came, in order for each kind; get the gap before it, where there is one.

    A stream that begins late or ends early has no gap there: nothing says that more was meant to be.
    """

    def __init__(self) -> None:
        self._reached_us: dict[MediaKind, int] = {}

    def push(self, kind: MediaKind, start_us: int, end_us: int) -> list[Gap]:
        """Something of a kind came for [start, end)."""
        before_us = self._reached_us.get(kind, start_us)
        self._reached_us[kind] = max(before_us, end_us)
        return [Gap(kind, before_us, start_us)] if start_us - before_us > GAP_US else []
