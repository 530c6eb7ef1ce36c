"""What a server uses at one moment, and how that changes over hours."""

from __future__ import annotations

import re
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import pairwise
from typing import Any, Literal

import numpy as np

from affectstream.bench.distribution import is_stable, spread
from affectstream.stream.errors import SourceError

_WINDOWS = 3
_DRIFT_S = 300.0
"""A shorter time says nothing about an hour."""
_COMPARED = ("memory_mb", "events_per_s", "latency_ms")
"""A result is stable if these are, from window to window."""
_SAMPLE = re.compile(r"^affectstream_(\w+?)(?:\{[^}]*\})? ([\d.e+-]+)$", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class ServerUsage:
    """Resources of the server at one moment, `at_s` after the start; of all its processes together."""

    at_s: float
    memory_mb: float
    threads: int
    tasks: int
    files: int
    sessions: int
    queue_most: int
    """The most frames and runs of sound that ever waited in one session."""
    frames_dropped: int
    lines_dropped: int
    hops: int
    """Events with a latency so far; with their sums the two below are means."""
    latency_s: float
    age_s: float

    def mean_ms(self, name: Literal["latency", "age"], *, since: ServerUsage) -> float:
        """The mean of the events after `since`; nan without any."""
        hops = self.hops - since.hops
        later, before = (getattr(one, f"{name}_s") for one in (self, since))
        return 1e3 * (later - before) / hops if hops > 0 else float("nan")

    def __str__(self) -> str:
        return (
            f"{self.memory_mb:.0f} MB, {self.threads} threads, {self.tasks} tasks, "
            f"{self.files} files, {self.sessions} sessions"
        )


def parse(metrics: str, pid: int, at_s: float) -> ServerUsage:
    """From the text of ``/metrics`` and the server's processes, those of its workers included.

    Raises `SourceError` if a metric is missing.
    """
    import psutil

    found: dict[str, list[float]] = {}
    for name, value in _SAMPLE.findall(metrics):
        found.setdefault(name, []).append(float(value))

    def of_all(name: str, join: Callable[[list[float]], float] = sum) -> float:
        if name not in found:
            raise SourceError(
                f"the server has no metric affectstream_{name}: is it of another version?"
            )
        return join(found[name])

    parent = psutil.Process(pid)
    processes = [parent, *parent.children(recursive=True)]
    return ServerUsage(
        at_s=round(at_s, 1),
        memory_mb=round(sum(one.memory_info().rss for one in processes) / 1e6, 1),
        threads=sum(one.num_threads() for one in processes),
        tasks=int(of_all("tasks")),
        files=sum(one.num_fds() for one in processes),
        sessions=int(of_all("sessions")),
        queue_most=int(of_all("queue_most", max)),
        frames_dropped=int(of_all("frames_dropped_total")),
        lines_dropped=int(of_all("lines_dropped_total")),
        hops=int(of_all("latency_seconds_count")),
        latency_s=of_all("latency_seconds_sum"),
        age_s=of_all("age_seconds_sum"),
    )


def compare(usage: Sequence[ServerUsage]) -> dict[str, Any]:
    """Three equal parts of the time, how far apart they are, and how much changes in an hour."""
    cuts = np.linspace(0, len(usage) - 1, _WINDOWS + 1).astype(int)
    parts = [usage[first : last + 1] for first, last in pairwise(cuts)]
    windows = [_window(part) for part in parts if len(part) > 1]
    series = {name: [[window[name]] for window in windows] for name in _COMPARED}
    hours = [(window["from_min"] + window["to_min"]) / 120 for window in windows]
    names = ("memory_mb", "latency_ms", "age_ms")
    complete = len(windows) == _WINDOWS and usage[-1].at_s - usage[0].at_s >= _DRIFT_S
    return {
        "windows": windows,
        "spread": {name: round(spread(values), 3) for name, values in series.items() if values},
        "stable": all(is_stable(values) for values in series.values()),
        "drift": {n: _slope(hours, [w[n] for w in windows]) for n in names} if complete else {},
        "queue_most": usage[-1].queue_most,
    }


def _window(part: Sequence[ServerUsage]) -> dict[str, float]:
    first, last = part[0], part[-1]
    return {
        "from_min": round(first.at_s / 60, 2),
        "to_min": round(last.at_s / 60, 2),
        "memory_mb": round(float(np.median([one.memory_mb for one in part])), 1),
        "events_per_s": round((last.hops - first.hops) / (last.at_s - first.at_s), 2),
        "latency_ms": round(last.mean_ms("latency", since=first), 2),
        "age_ms": round(last.mean_ms("age", since=first), 1),
        "frames_dropped": last.frames_dropped - first.frames_dropped,
        "lines_dropped": last.lines_dropped - first.lines_dropped,
    }


def _slope(hours: Sequence[float], values: Sequence[float]) -> float:
    return round(float(np.polyfit(hours, values, 1)[0]), 3)
