"""What `/metrics` tells Prometheus. A registry of its own: no other library's figures slip in."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import suppress
from itertools import accumulate
from typing import Any

from prometheus_client import CollectorRegistry, Counter, Histogram, generate_latest
from prometheus_client.core import GaugeMetricFamily, HistogramMetricFamily, Metric

from affectstream.stream.live.latency import BOUNDS_MS
from affectstream.stream.live.latency import Histogram as Durations
from affectstream.stream.live.stats import LiveStats

_STAGE_EDGES = (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0)
_LATENCY_EDGES = (0.01, 0.02, 0.035, 0.05, 0.075, 0.1, 0.15, 0.25, 0.5, 1.0, 2.5)

GAUGES = {
    "queue_depth": "Pictures and runs of sound that wait in a session.",
    "fps": "Pictures a second that a session receives.",
    "frame_hz": "Pictures a second that a session looks at.",
    "faces": "People in view.",
    "av_skew_seconds": "How much later pictures come than sound.",
    "listeners": "Clients that listen to a session.",
}
"""One series for each session that is live, with its number as the label `session`."""


class Meters:
    """Every figure of one server. Its methods may be called from any thread."""

    def __init__(self) -> None:
        self.registry = CollectorRegistry(auto_describe=True)
        self._stages = Histogram(
            "affectstream_stage_seconds",
            "How long one request to an engine took, waiting included, and an event to its client.",
            ["stage"],
            buckets=_STAGE_EDGES,
            registry=self.registry,
        )
        self._latency = self._durations("latency", "From a complete window to its event.")
        self._age = self._durations("age", "From the newest picture of a window to its event.")
        self.sessions = self._count("sessions_opened", "Sessions opened.", "kind")
        self.refused = self._count("refused", "Requests refused, by HTTP status.", "status")
        self.events = self._count("events", "Events, by type.", "type")
        self.lines_dropped = self._count("lines_dropped", "Lines dropped for slow clients.")
        self.frames_in = self._count("frames_in", "Pictures received.")
        self.frames_dropped = self._count("frames_dropped", "Pictures dropped, being too many.")
        self.gaps = self._count("gaps", "Holes in the pictures or the sound.")
        self._work = _Work()
        self.registry.register(self._work)

    def stage(self, name: str, seconds: float) -> None:
        """One request to an engine, or one delivery."""
        self._stages.labels(name).observe(seconds)

    def event(self, kind: str, latency_ms: float | None, age_ms: float | None) -> None:
        """One event."""
        self.events.labels(kind).inc()
        if latency_ms is not None:
            self._latency.observe(latency_ms / 1000)
        if age_ms is not None:
            self._age.observe(age_ms / 1000)

    def refusal(self, status: int) -> None:
        """One request that was refused."""
        self.refused.labels(str(status)).inc()

    def session(self, live: LiveStats, before: LiveStats | None) -> None:
        """Add what a session counted since `before`, since its start with None."""
        counters = {
            "frames_in": self.frames_in,
            "frames_dropped": self.frames_dropped,
            "gaps": self.gaps,
        }
        for name, counter in counters.items():
            counter.inc(getattr(live, name) - (0 if before is None else getattr(before, name)))
        for stage in _Work.STAGES:
            old = Durations() if before is None else getattr(before, stage)
            self._work.add(stage, getattr(live, stage), old)

    def watch(self, read: Callable[[], Iterable[tuple[str, dict[str, float]]]]) -> None:
        """Ask `read` for the gauges of each live session, (number, {gauge: value}), at each scrape."""
        self.registry.register(_Sessions(read))

    def text(self) -> bytes:
        """The answer to a scrape."""
        return generate_latest(self.registry)

    def _count(self, name: str, what: str, *labels: str) -> Counter:
        return Counter(f"affectstream_{name}_total", what, labels, registry=self.registry)

    def _durations(self, name: str, what: str) -> Histogram:
        return Histogram(
            f"affectstream_{name}_seconds", what, buckets=_LATENCY_EDGES, registry=self.registry
        )


class _Work:
    """Histograms of what sessions measure themselves, added up over all of them, past ones included."""

    STAGES = ("perceive", "read")
    """Fields of `LiveStats`."""

    def __init__(self) -> None:
        self._counts = {stage: [0] * (len(BOUNDS_MS) + 1) for stage in self.STAGES}
        self._total_ms = dict.fromkeys(self.STAGES, 0.0)

    def add(self, stage: str, new: Durations, old: Durations) -> None:
        """What one session measured between `old` and `new`."""
        for index, (now, before) in enumerate(zip(new.counts, old.counts, strict=True)):
            self._counts[stage][index] += now - before
        self._total_ms[stage] += new.total_ms - old.total_ms

    def collect(self) -> Iterator[Metric]:
        family: Any = HistogramMetricFamily(
            "affectstream_work_seconds",
            "How long a session took: for a picture to be looked at, for a hop to be read.",
            labels=["stage"],
        )
        edges = [*(str(bound / 1e3) for bound in BOUNDS_MS), "+Inf"]
        for stage, counts in self._counts.items():
            buckets = list(zip(edges, accumulate(counts), strict=True))
            family.add_metric([stage], buckets, self._total_ms[stage] / 1e3)
        yield family


class _Sessions:
    """Gauges that are read when asked for, so that those of an ended session are gone."""

    def __init__(self, read: Callable[[], Iterable[tuple[str, dict[str, float]]]]) -> None:
        self._read = read

    def collect(self) -> Iterator[Metric]:
        live = list(self._read())
        count: Any = GaugeMetricFamily("affectstream_sessions", "Sessions that are live now.")
        count.add_metric([], len(live))
        yield count
        yield from _running()
        for name, what in GAUGES.items():
            family: Any = GaugeMetricFamily(f"affectstream_{name}", what, labels=["session"])
            for number, values in live:
                if name in values:
                    family.add_metric([number], values[name])
            yield family


def _running() -> Iterator[Metric]:
    """What a leak would show in."""
    with suppress(RuntimeError):  # asked for outside of the loop
        tasks: Any = GaugeMetricFamily("affectstream_tasks", "Tasks of the event loop.")
        tasks.add_metric([], len(asyncio.all_tasks()))
        yield tasks
    threads: Any = GaugeMetricFamily("affectstream_threads", "Threads of Python.")
    threads.add_metric([], threading.active_count())
    yield threads
