"""The `stream` events of one live session."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

from msgspec import UNSET
from msgspec.structs import replace

from affectstream.engines.labels import Modality
from affectstream.stream.events import Stream, StreamEvent, utc_timestamp
from affectstream.stream.live.stats import LiveStats
from affectstream.stream.options import SourceOptions
from affectstream.stream.results.event_builder import seconds

_TOO_SLOW = "this machine is too slow"


class StreamEvents:
    """Writes the events. Times are microseconds of the session."""

    def __init__(self, name: str, modalities: Sequence[Modality], options: SourceOptions) -> None:
        """The purpose and the consent of `options` stand in the first event."""
        self._name, self._modalities = name, tuple(modalities)
        self._purpose, self._consent = options.purpose or UNSET, options.consent or UNSET

    def started(self, zero: datetime, start_us: int) -> Stream:
        """The first event: t = 0 was at `zero` (UTC), and the first hop begins at `start_us`."""
        event = self._event("started", start_us, f"t = 0 was at {utc_timestamp(zero)}")
        return replace(event, purpose=self._purpose, consent=self._consent)

    def warning(self, detail: str, at_us: int) -> Stream:
        """Something that a person should know."""
        return self._event("warning", at_us, detail)

    def reconnected(self, detail: str | None, count: int, at_us: int) -> Stream:
        """The source is back, for the `count`-th time."""
        return self._event("reconnected", at_us, detail, {"reconnects": count})

    def dropped(self, count: int, at_us: int) -> Stream:
        """`count` frames were dropped since the last such event."""
        detail = f"frames were dropped for newer ones: {_TOO_SLOW}"
        return self._event("dropped", at_us, detail, {"frames": count})

    def rate(self, rate_hz: int, full_hz: int, at_us: int) -> Stream:
        """Another number of frames a second is analyzed from now on."""
        if rate_hz == full_hz:
            return self.warning(f"analyzes {rate_hz} frames a second again", at_us)
        detail = f"analyzes {rate_hz} instead of {full_hz} frames a second: {_TOO_SLOW}"
        return self.warning(detail, at_us)

    def ended(self, stats: LiveStats, start_us: int, at_us: int, detail: str | None) -> Stream:
        """The last event, from `start_us` to `at_us`, with all counts; `detail` says why the source ended
        early, None if it did not."""
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
        } | ({"bad_faces": stats.bad_faces} if stats.bad_faces else {})
        ended = self._event("ended", at_us, detail, counts)
        return replace(ended, t_start=seconds(start_us), complete=detail is None)

    def _event(
        self,
        what: StreamEvent,
        at_us: int,
        detail: str | None,
        counts: Mapping[str, int] | None = None,
    ) -> Stream:
        return Stream(
            stream=self._name,
            t_start=seconds(at_us),
            t_end=seconds(at_us),
            modalities=self._modalities,
            what=what,
            detail=detail,
            counts=dict(counts or {}),
        )
