"""Gaps in a recording: stretches without pictures or sound, after which they continue."""

from __future__ import annotations

from dataclasses import dataclass

from affectstream.stream.media.types import MediaKind

GAP_US = 1_000_000
"""A longer stretch without media is a gap; a face that is missing for so long counts as absent."""


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
