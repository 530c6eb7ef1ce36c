"""The `stream` events of one live session: what they say, and when drops are told."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime

from msgspec.structs import replace

from affectstream.stream.events import Stream, utc_timestamp
from affectstream.stream.live.queue.rate import RateControl
from affectstream.stream.live.stats import LiveStats
from affectstream.stream.results.interpret import seconds

TELL_DROPS_S = 5.0
"""Drops are told together, at most this often."""
_TOO_SLOW = "this machine is too slow"


class Notices:
    """Writes the events. Times are microseconds of the session."""

    def __init__(self, name: str, sources: tuple[str, ...]) -> None:
        self._name, self._sources = name, sources

    def started(self, zero: datetime, start_us: int) -> Stream:
        """The first event: t = 0 was at `zero` (UTC), and the first hop begins at `start_us`."""
        return self.of("started", start_us, f"t = 0 was at {utc_timestamp(zero)}")

    def dropped(self, count: int, at_us: int) -> Stream:
        """`count` pictures were dropped since this was told last."""
        detail = f"pictures were overtaken by newer ones: {_TOO_SLOW}"
        return self.of("dropped", at_us, detail, {"frames": count})

    def rate(self, rate_hz: int, full_hz: int, at_us: int) -> Stream:
        """Another rate than before is looked at."""
        if rate_hz == full_hz:
            return self.of("warning", at_us, f"looks at {rate_hz} frames a second again")
        detail = f"looks at {rate_hz} instead of {full_hz} frames a second: {_TOO_SLOW}"
        return self.of("warning", at_us, detail)

    def ended(self, stats: LiveStats, start_us: int, at_us: int, detail: str | None) -> Stream:
        """The last event, from `start_us` to `at_us`, with all counts; `detail` says why it came before
        its time, if it did."""
        counts = {
            "frames": stats.frames_in,
            "used": stats.frames_used,
            "dropped": stats.frames_dropped,
            "late": stats.frames_late,
            "sounds_late": stats.sounds_late,
            "sounds_dropped": stats.sounds_dropped,
            "wrong_times": stats.wrong_times,
            "gaps": stats.gaps,
            "reconnects": stats.reconnects,
        }
        ended = self.of("ended", at_us, detail, counts)
        return replace(ended, t_start=seconds(start_us), complete=detail is None)

    def of(
        self,
        what: str,
        at_us: int,
        detail: str | None,
        counts: Mapping[str, int] | None = None,
    ) -> Stream:
        """An event about the stream at `at_us`."""
        return Stream(
            stream=self._name,
            t_start=seconds(at_us),
            t_end=seconds(at_us),
            modalities=self._sources,  # type: ignore[arg-type]
            what=what,  # type: ignore[arg-type]
            detail=detail,
            counts=dict(counts or {}),
        )


class Drops:
    """Has the rate follow the drops. A pure state machine; counts and times are passed in."""

    def __init__(self, control: RateControl) -> None:
        self._control = control
        self._seen = self._told = 0
        self._told_s = float("-inf")

    def push(self, dropped: int, now_s: float) -> tuple[int, bool]:
        """`dropped` pictures were given up until `now_s`, since the start.

        Returns how many of them are to be told of now, and whether the rate was changed.
        """
        changed = False
        for _ in range(dropped - self._seen):
            changed = self._control.dropped(now_s) or changed
        if dropped == self._seen:
            changed = self._control.calm(now_s)
        self._seen = dropped
        if dropped == self._told or not (changed or now_s - self._told_s >= TELL_DROPS_S):
            return 0, changed
        count, self._told, self._told_s = dropped - self._told, dropped, now_s
        return count, changed
