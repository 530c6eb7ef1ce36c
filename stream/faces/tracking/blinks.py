"""Eyes that close: blinks, and eyes that stay closed.

A plain state machine on media time. Frames come eight times a second, and the lids cover the eyes for a
tenth of a second in the shortest blinks: some of these fall between two frames, so the blink rate is a lower
bound.
"""

from __future__ import annotations

from collections import deque
from dataclasses import dataclass

BLINK_US = 400_000
"""Eyes that are closed for this long are no longer blinking. Spontaneous blinks take 0.1 to 0.4 s
(Schiffman, Sensation and Perception, 2001)."""
CLOSE_BELOW, OPEN_ABOVE = 0.35, 0.5
"""Share of the normal opening below which eyes close, and above which they open."""
RATE_OVER_US = 60_000_000
_MIN_RATE_US = 10_000_000
"""No rate is given before the eyes were seen for this long."""
_MAX_STEP_US = 1_000_000
"""Between two frames that are farther apart, nothing is known of the eyes."""


@dataclass(slots=True)
class Closure:
    """Eyes closed from `start_us` on; `end_us` is when they were seen open again."""

    start_us: int
    end_us: int | None = None

    def duration_us(self, now_us: int) -> int:
        """How long it lasted by `now_us`."""
        return (now_us if self.end_us is None else self.end_us) - self.start_us


class Eyelids:
    """The eyes of one track: push their opening in order of time."""

    def __init__(self) -> None:
        self._closure: Closure | None = None
        self._newest_us: int | None = None
        self._seen: deque[tuple[int, int]] = deque()
        """Time of each frame, and the time since the one before."""
        self._seen_us = 0
        """Sum of the latter."""
        self._blinks: deque[int] = deque()

    def push(self, t_us: int, eyes_open: float) -> Closure | None:
        """The closure that the frame at `t_us` belongs to; None where the eyes are open.

        `eyes_open` is the share of the normal opening, in [0, 1].
        """
        step_us = 0 if self._newest_us is None else t_us - self._newest_us
        if step_us > _MAX_STEP_US:
            self._closure, step_us = None, 0
        self._newest_us = t_us
        self._seen.append((t_us, step_us))
        self._seen_us += step_us
        if self._closure is None:
            self._closure = Closure(t_us) if eyes_open < CLOSE_BELOW else None
        elif eyes_open > OPEN_ABOVE:
            closure, self._closure = self._closure, None
            closure.end_us = t_us
            if closure.duration_us(t_us) < BLINK_US:
                self._blinks.append(t_us)
        return self._closure

    def blink_rate(self, now_us: int) -> float | None:
        """Blinks a minute in the last minute, or since the eyes were first seen; None in the beginning."""
        while self._seen and self._seen[0][0] <= now_us - RATE_OVER_US:
            self._seen_us -= self._seen.popleft()[1]
        while self._blinks and self._blinks[0] <= now_us - RATE_OVER_US:
            self._blinks.popleft()
        enough = self._seen_us >= _MIN_RATE_US
        return len(self._blinks) * 60e6 / self._seen_us if enough else None
