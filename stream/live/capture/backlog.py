"""Skips the backlog of a source that was just opened: what the sender had buffered comes all at once.

The backlog is old, and analyzing it would delay everything after it. So frames are skipped until media
time no longer runs faster than real time.
"""

from __future__ import annotations

COMPARE_S = 0.15
"""The two are compared over this long."""
_FASTER = 1.5
_MAX_S = 3.0
"""A source that stays faster for this long is no longer skipped."""


class BacklogSkipper:
    """Push the times of one source; get True once it has caught up."""

    def __init__(self) -> None:
        self._done = False
        self._began_s: float | None = None
        self._since: tuple[int, float] | None = None
        self._newest_us = 0
        self.skipped = 0
        """Frames that were skipped."""

    def push(self, source_us: int, arrived_s: float) -> bool:
        """A frame of `source_us` (any origin) arrived; False if it is to be skipped."""
        if self._done:
            return True
        if self._began_s is None or self._since is None:
            self._began_s, self._since, self._newest_us = (
                arrived_s,
                (source_us, arrived_s),
                source_us,
            )
        self._newest_us = max(self._newest_us, source_us)
        before_us, before_s = self._since
        if arrived_s - before_s >= COMPARE_S:
            went_on_s = (self._newest_us - before_us) / 1e6
            caught_up = went_on_s <= _FASTER * (arrived_s - before_s)
            self._done = caught_up or arrived_s - self._began_s >= _MAX_S
            self._since = self._newest_us, arrived_s
        self.skipped += not self._done
        return self._done
