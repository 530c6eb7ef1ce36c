"""The metrics of `GET /metrics`, in a registry of their own: no other library's metrics get in."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Mapping
from contextlib import suppress

from msgspec import UNSET
from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram, generate_latest

from affectstream.stream.events import Attention, Emotion, Event
from affectstream.stream.live.callbacks import Stage
from affectstream.stream.live.stats import LiveStats

_ENGINE_BUCKETS_S = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)
_WORK_BUCKETS_S = (
    0.001, 0.002, 0.005, 0.01, 0.02, 0.035, 0.05, 0.075, 0.1, 0.15, 0.25, 0.5, 1.0, 2.5,
)  # fmt: skip
_EVENT_BUCKETS_S = (0.01, 0.02, 0.035, 0.05, 0.075, 0.1, 0.15, 0.25, 0.5, 1.0, 2.5)

_SESSION_GAUGES = {
    "queue_depth": "Frames and runs of sound that wait in a session.",
    "fps": "Frames per second that a session receives.",
    "frame_hz": "Frames per second that a session analyzes.",
    "faces": "Faces in the newest frame.",
    "av_skew_seconds": "How much later video arrives than sound.",
    "listeners": "Clients that receive the events of a session.",
}


class Metrics:
    """The metrics of one server. Every method but `text` may be called from any thread."""

    def __init__(self) -> None:
        self._registry = CollectorRegistry(auto_describe=True)
        self._stages = self._histogram(
            "stage_seconds",
            "Duration of one request to an engine, with its waiting, and of one delivery to a client.",
            _ENGINE_BUCKETS_S,
            "stage",
        )
        self._work = self._histogram(
            "work_seconds",
            "How long a session took to perceive one frame, and to compute one hop.",
            _WORK_BUCKETS_S,
            "stage",
        )
        self._latency = self._histogram(
            "latency_seconds", "From a complete window to its event.", _EVENT_BUCKETS_S
        )
        self._age = self._histogram(
            "age_seconds", "From the newest frame of a window to its event.", _EVENT_BUCKETS_S
        )
        self._opened = self._counter("sessions_opened", "Sessions opened.", "kind")
        self._refused = self._counter("refused", "Requests refused, by HTTP status.", "status")
        self._events = self._counter("events", "Events, by type.", "type")
        self._lines_dropped = self._counter("lines_dropped", "Messages dropped for slow clients.")
        self._frames_in = self._counter("frames_in", "Frames received.")
        self._frames_dropped = self._counter("frames_dropped", "Frames dropped for newer ones.")
        self._gaps = self._counter("gaps", "Gaps in the video or the sound.")
        self.sessions = self._gauge("sessions", "Sessions that are open now.")
        """Its owner sets where the value comes from, with `set_function`."""
        self._queue_most = self._gauge(
            "queue_most", "Most frames and runs of sound that ever waited in one session."
        )
        self._most_waiting = 0
        self._gauge("threads", "Python threads.").set_function(threading.active_count)
        self._gauge("tasks", "Tasks of the event loop.").set_function(
            lambda: len(asyncio.all_tasks())
        )
        self._session_gauges = {
            name: self._gauge(name, help_text, "session")
            for name, help_text in _SESSION_GAUGES.items()
        }

    def observe_stage(self, stage: str, seconds: float) -> None:
        """Count one request to an engine (`stage` is its role), or one delivery (``deliver``)."""
        self._stages.labels(stage).observe(seconds)

    def observe_work(self, stage: Stage, seconds: float) -> None:
        """Count the work on one frame or one hop."""
        self._work.labels(stage).observe(seconds)

    def observe_event(self, event: Event) -> None:
        """Count one event, with its latency and age where it has them."""
        self._events.labels(event.type).inc()
        if isinstance(event, Emotion | Attention):
            if event.latency_ms is not UNSET:
                self._latency.observe(event.latency_ms / 1000)
            if event.age_ms is not UNSET:
                self._age.observe(event.age_ms / 1000)

    def count_opened(self, kind: str) -> None:
        """Count one opened session."""
        self._opened.labels(kind).inc()

    def count_refusal(self, status: int) -> None:
        """Count one refused request."""
        self._refused.labels(str(status)).inc()

    def count_lines_dropped(self, count: int) -> None:
        """Count messages that were dropped for one slow client."""
        self._lines_dropped.inc(count)

    def count_input(self, now: LiveStats, before: LiveStats | None) -> None:
        """Add what a session received and dropped since `before` (None: since its start)."""
        for counter, name in (
            (self._frames_in, "frames_in"),
            (self._frames_dropped, "frames_dropped"),
            (self._gaps, "gaps"),
        ):
            counter.inc(getattr(now, name) - (0 if before is None else getattr(before, name)))

    def count_waiting(self, most: int) -> None:
        """Raise the mark of the most frames and runs of sound that waited in one session."""
        self._most_waiting = max(self._most_waiting, most)
        self._queue_most.set(self._most_waiting)

    def set_session(self, session_id: str, values: Mapping[str, float | None]) -> None:
        """Set the gauges of one session; those that are None stay as they are."""
        for name, value in values.items():
            if value is not None:
                self._session_gauges[name].labels(session_id).set(value)

    def remove_session(self, session_id: str) -> None:
        """Drop the gauges of a session that ended."""
        for gauge in self._session_gauges.values():
            with suppress(KeyError):  # one that was never set
                gauge.remove(session_id)

    def text(self) -> bytes:
        """The answer to a scrape. Call it on the event loop, whose tasks it counts."""
        return generate_latest(self._registry)

    def _histogram(
        self, name: str, help_text: str, buckets_s: tuple[float, ...], *labels: str
    ) -> Histogram:
        return Histogram(
            f"affectstream_{name}", help_text, labels, buckets=buckets_s, registry=self._registry
        )

    def _counter(self, name: str, help_text: str, *labels: str) -> Counter:
        return Counter(f"affectstream_{name}_total", help_text, labels, registry=self._registry)

    def _gauge(self, name: str, help_text: str, *labels: str) -> Gauge:
        return Gauge(f"affectstream_{name}", help_text, labels, registry=self._registry)
