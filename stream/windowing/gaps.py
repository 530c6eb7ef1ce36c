"""Gaps in a recording: stretches without pictures or sound, after which they continue."""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

from affectstream.stream.media.types import MediaKind

GAP_US = 1_000_000
"""A longer stretch without media is a gap; a face that is missing for so long counts as absent."""
HOLE_US = 60_000_000
"""A longer stretch without any media is a hole: it has no hops."""


@dataclass(frozen=True, slots=True)
class Gap:
    """No media of this kind came for [start, end), but some came before and after."""

    kind: MediaKind
    start_us: int
    end_us: int


class GapFinder:
    """Push the times of media, in order for each kind; get the gap before them, where there is one.

    A stream that begins late or ends early has no gap there: nothing shows that more was intended.
    """

    def __init__(self) -> None:
        self._reached_us: dict[MediaKind, int] = {}

    def push(self, kind: MediaKind, start_us: int, end_us: int) -> list[Gap]:
        """Media of a kind came for [start, end)."""
        before_us = self._reached_us.get(kind, start_us)
        self._reached_us[kind] = max(before_us, end_us)
        return [Gap(kind, before_us, start_us)] if start_us - before_us > GAP_US else []


class MediaSpans:
    """Where there is media of any kind, to find the holes. Push times in order for each kind."""

    def __init__(self, start_us: int = 0) -> None:
        self._before_us = start_us
        self._spans: dict[MediaKind, deque[tuple[int, int]]] = {kind: deque() for kind in MediaKind}

    def push(self, kind: MediaKind, start_us: int, end_us: int) -> None:
        """Media of a kind came for [start, end). Spans that are no hole apart become one."""
        spans = self._spans[kind]
        if spans and start_us - spans[-1][1] <= HOLE_US:
            first, last = spans.pop()
            start_us, end_us = first, max(last, end_us)
        spans.append((start_us, end_us))

    def around(self, t_us: int) -> tuple[int, int | None]:
        """The end of the media before `t_us`, and the start of the media at or after it (None: none yet).

        The second is before `t_us` where media reaches beyond it. `t_us` must not go back.
        """
        for spans in self._spans.values():
            while spans and spans[0][1] <= t_us:
                self._before_us = max(self._before_us, spans.popleft()[1])
        starts = [spans[0][0] for spans in self._spans.values() if spans]
        return self._before_us, min(starts, default=None)
