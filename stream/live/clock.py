"""The clock of a live session; a test can replace it."""

from __future__ import annotations

import time
from datetime import UTC, datetime
from typing import Protocol


class Clock(Protocol):
    """A time that never goes back, and the time of day."""

    def now_s(self) -> float:
        """Seconds on the clock of `time.monotonic`."""
        ...

    def utc(self) -> datetime:
        """The time of day, with its time zone."""
        ...


class SystemClock:
    """The computer's own clocks."""

    def now_s(self) -> float:
        """As `Clock.now_s`."""
        return time.monotonic()

    def utc(self) -> datetime:
        """As `Clock.utc`."""
        return datetime.now(UTC)
