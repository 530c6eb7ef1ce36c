"""Notices sound that is speech nearly all the time: people pause, so something else may pass the gate."""

from __future__ import annotations

LONG_US = 300_000_000
"""How much sound is looked at before anything is said."""
MAX_SHARE = 0.95
"""The largest share of long speech that is plausible. People who read aloud pause for a tenth of the time or
more."""


class SpeechShare:
    """Push how much of each window is speech; get the share of a long stretch where it is too high."""

    def __init__(self, hop_us: int) -> None:
        self._hops = LONG_US // hop_us
        self._sum, self._count = 0.0, 0
        self._reported = False

    def push(self, voiced: float) -> float | None:
        """The share of the last `LONG_US` that is speech where it is over `MAX_SHARE`, once; else None.

        `voiced` in [0, 1] is the share of the window.
        """
        if self._reported:
            return None
        self._sum, self._count = self._sum + voiced, self._count + 1
        if self._count < self._hops:
            return None
        share = self._sum / self._count
        self._sum, self._count = 0.0, 0
        self._reported = share > MAX_SHARE
        return share if self._reported else None
