"""The backlog of a source that was just opened: what had gathered at the sender comes all at once.

It is older than what a person wants to see, and looking at it would only delay the rest. So nothing is
passed on until media time no longer runs ahead of the clock on the wall.
"""

from __future__ import annotations

LOOK_S = 0.15
"""Over this long the two are compared."""
_FASTER = 1.5
_MOST_S = 3.0
"""A source that stays faster than this long is taken as it is."""


class CatchUp:
    """Push the times of one source; True from the moment on at which it has caught up."""

    def __init__(self) -> None:
        self._done = False
        self._began_s: float | None = None
        self._since: tuple[int, float] | None = None
        self._newest_us = 0
        self.skipped = 0
        """Items that were not passed on."""

    def push(self, source_us: int, arrived_s: float) -> bool:
        """Something of `source_us` (any origin) arrived; whether it is to be passed on."""
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
        if arrived_s - before_s >= LOOK_S:
            went_on_s = (self._newest_us - before_us) / 1e6
            caught_up = went_on_s <= _FASTER * (arrived_s - before_s)
            self._done = caught_up or arrived_s - self._began_s >= _MOST_S
            self._since = self._newest_us, arrived_s
        self.skipped += not self._done
        return self._done
