"""Times an engine in a closed loop, each run after the one before it."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Any

from affectstream.bench.distribution import is_stable, spread, summarize
from affectstream.engines.spec import Array, Engine, TimedEngine

WINDOWS = 3
FEWEST = 10
"""Runs of a window at least, as trtexec."""


@dataclass(slots=True)
class Times:
    """Seconds of every run; the lists of the steps are empty for an engine that does not time them."""

    windows: list[list[float]] = field(default_factory=list)
    """Whole runs as the caller sees them, by window."""
    wall_s: float = 0.0
    h2d: list[float] = field(default_factory=list)
    enqueue: list[float] = field(default_factory=list)
    compute: list[float] = field(default_factory=list)
    """Without steps, the whole run."""
    d2h: list[float] = field(default_factory=list)
    latency: list[float] = field(default_factory=list)
    """H2D, computation and D2H."""

    @property
    def runs(self) -> int:
        """Over all windows."""
        return sum(len(window) for window in self.windows)

    def document(self, rows: int) -> dict[str, Any]:
        """The figures for JSON; times are milliseconds, `rows` those of a batch."""
        whole = [seconds for window in self.windows for seconds in window]
        found: dict[str, Any] = {
            "rows_per_s": float(f"{rows * self.runs / self.wall_s:.4g}"),
            "runs_per_s": float(f"{self.runs / self.wall_s:.4g}"),
            "host": summarize(whole),
            "spread": round(spread(self.windows), 4),
            "stable": is_stable(self.windows),
        }
        if self.h2d:
            found |= {
                "latency": summarize(self.latency),
                "enqueue": summarize(self.enqueue),
                "h2d": summarize(self.h2d),
                "gpu_compute": summarize(self.compute),
                "d2h": summarize(self.d2h),
            }
        return found


def time_engine(
    engine: Engine,
    feeds: Mapping[str, Array],
    *,
    warm_s: float,
    window_s: float,
    windows: int = WINDOWS,
) -> Times:
    """Run `engine` on `feeds` for `warm_s`, then in `windows` windows of `window_s` each."""
    times = Times()

    def run() -> None:
        engine.run(feeds)
        # `compute` is filled at the end: it is the whole run.

    def run_timed() -> None:
        assert isinstance(engine, TimedEngine)
        _, steps = engine.run_timed(feeds)
        times.h2d.append(steps.h2d_s)
        times.enqueue.append(steps.enqueue_s)
        times.compute.append(steps.compute_s)
        times.d2h.append(steps.d2h_s)
        times.latency.append(steps.latency_s)

    timed = isinstance(engine, TimedEngine)
    work = run_timed if timed else run
    repeat(work, warm_s, fewest=2)
    for steps in (times.h2d, times.enqueue, times.compute, times.d2h, times.latency):
        steps.clear()
    for _ in range(windows):
        began = time.perf_counter()
        times.windows.append(repeat(work, window_s))
        times.wall_s += time.perf_counter() - began
    if not timed:
        times.compute = [seconds for window in times.windows for seconds in window]
    return times


def repeat(work: Callable[[], object], seconds: float, *, fewest: int = FEWEST) -> list[float]:
    """Call `work` for `seconds`; the seconds that each call took.

    It is called `fewest` times at least, unless these take three times as long; then twice.
    """
    found: list[float] = []
    until = time.perf_counter() + seconds
    latest = until + 2 * seconds
    while (
        (began := time.perf_counter()) < until
        or (len(found) < fewest and began < latest)
        or len(found) < 2
    ):
        work()
        found.append(time.perf_counter() - began)
    return found
