"""Where the time of a live session goes: each stage of a hop, and how old results are.

Sessions play a recording at its own speed, all in this process, and look at it as at a camera. Two durations
of each hop are kept apart:

    latency_ms  from the moment at which the window was complete to the event: this is our work
    age_ms      from the capture of the newest frame that was used to the event
    waiting_ms  age less latency: it follows from the window and its grid, whatever the work takes

Stages are those of `--trace`. Their times are sums over one hop's pictures, sounds and faces. Percentiles are
over the hops of all sessions together.

    affectstream bench latency --sessions 6 --seconds 60
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from affectstream.bench.distribution import is_stable, runs_needed, spread, summarize
from affectstream.bench.machine import describe
from affectstream.bench.output import finish, tables
from affectstream.bench.recordings import repeat_clip, write_demo_recording
from affectstream.engines.spans import STAGES, Stage, Timeline, current, recording
from affectstream.stream.events import Attention, Emotion
from affectstream.stream.live.callbacks import Callbacks
from affectstream.stream.live.source import LiveOptions, LiveSource
from affectstream.stream.recognizer import Recognizer
from affectstream.stream.results.interpret import HopResult

WARM_S = 3.0
"""Hops of the first seconds do not count."""
_WINDOWS = 3


class HopTimes:
    """Age and latency (ms) of each hop after the warm-up, of all sessions, with when it came."""

    def __init__(self) -> None:
        self.hops: list[tuple[float, float, float]] = []
        self._from_s = time.monotonic() + WARM_S
        self._lock = threading.Lock()

    def push(self, hop: HopResult) -> None:
        """Keep the durations of a hop; its events have the same ones. For any thread."""
        now_s = time.monotonic()
        timed = [event for event in hop.events if isinstance(event, Emotion | Attention)]
        if timed and now_s >= self._from_s:
            age_ms, latency_ms = timed[0].age_ms, timed[0].latency_ms
            if not isinstance(age_ms, float) or not isinstance(latency_ms, float):
                return
            if latency_ms:  # 0: the source ended within this hop
                with self._lock:
                    self.hops.append((now_s, age_ms, latency_ms))

    def windows(self) -> list[list[float]]:
        """The latencies of three equal parts of the time."""
        ordered = [latency for _, _, latency in sorted(self.hops)]
        third = -(-len(ordered) // _WINDOWS)
        return [ordered[n : n + third] for n in range(0, len(ordered), third)] if ordered else []


def main(
    file: Path | None,
    bundle: str,
    device: str,
    sessions: int,
    seconds: float,
    output: Path | None,
    *,
    as_json: bool = False,
) -> None:
    """Measure and print, JSON last; with `as_json` nothing else. With `output` also write it there."""
    with tables(hidden=as_json):
        result = measure(file, bundle, device, sessions, seconds)
    finish("latency", result, output, lambda path: _draw(path, result))


def measure(
    file: Path | None, bundle: str, device: str, sessions: int, seconds: float
) -> dict[str, Any]:
    """Play the recording in `sessions` sessions for `seconds`, print the table, and return the result.

    Raises `SourceError` if the recording cannot be played.
    """
    load = round(os.getloadavg()[0], 2)
    with TemporaryDirectory() as scratch, Recognizer.open(bundle, device=device) as recognizer:
        length = seconds + 2 * WARM_S
        path = (
            write_demo_recording(length, Path(scratch))
            if file is None
            else repeat_clip(file, length, Path(scratch, f"long{file.suffix}"))
        )
        times = HopTimes()
        with _timeline() as timeline:
            cpu_s = time.process_time()
            dropped = _play(recognizer, path, sessions, seconds, times)
            cpu_s = time.process_time() - cpu_s
    if not times.hops:
        raise ValueError(f"no hop came within {seconds:g} s: give more --seconds")
    result = _result(times, timeline, sessions)
    result |= {
        "bundle": bundle,
        "device": device,
        "source": "demo" if file is None else file.name,
        "seconds": seconds,
        "load_before": load,
        "cpu_cores": round(cpu_s / seconds, 2),
        "dropped": dropped,
        "machine": describe(),
    }
    _print(result)
    return result


@contextmanager
def _timeline() -> Iterator[Timeline]:
    """The timeline of ``bench --trace``, or one of our own."""
    if (running := current()) is not None:
        yield running
    else:
        with recording(Timeline()) as timeline:
            yield timeline


def _play(
    recognizer: Recognizer, path: Path, sessions: int, seconds: float, times: HopTimes
) -> int:
    """Play `path` in all sessions, which start over half a second; the frames that were dropped."""
    with ExitStack() as stack:
        sources = []
        for number in range(sessions):
            callbacks = Callbacks(event=lambda event: None, hop=partial(HopTimes.push, times))
            source = LiveSource(recognizer, LiveOptions(source=str(path)), callbacks, newest=True)
            stack.enter_context(source).open()
            sources.append(source)
            if number < sessions - 1:
                time.sleep(0.5 / sessions)  # hops of all sessions at one moment are the worst case
        until_s = time.monotonic() + seconds
        while time.monotonic() < until_s and not sources[0].wait(0.1):
            pass
        ended = [source.close() for source in sources]
    return sum(0 if end is None else end.counts["dropped"] for end in ended)


def _result(times: HopTimes, timeline: Timeline, sessions: int) -> dict[str, Any]:
    hops, windows = len(times.hops), times.windows()
    ages = [age / 1e3 for _, age, _ in times.hops]
    latencies = [latency / 1e3 for _, _, latency in times.hops]
    waiting = [max(0.0, age - latency) for age, latency in zip(ages, latencies, strict=True)]
    return {
        "bench": "latency",
        "sessions": sessions,
        "hops": hops,
        "p99_needs": runs_needed(99),
        "latency_ms": summarize(latencies),
        "age_ms": summarize(ages),
        "waiting_ms": summarize(waiting),
        "spread": round(spread(windows), 3),
        "stable": is_stable(windows),
        "stages": {stage: _stage(timeline, stage, hops) for stage in _used(timeline)},
    }


def _used(timeline: Timeline) -> Sequence[Stage]:
    found = {span.stage for span in timeline.spans}
    return [stage for stage in STAGES if stage in found]


def _stage(timeline: Timeline, stage: Stage, hops: int) -> dict[str, Any]:
    """The times of single calls, and the mean of their sum in a hop; the warm-up counts here."""
    seconds = [span.seconds for span in timeline.spans if span.stage == stage]
    return {**summarize(seconds), "per_hop": float(f"{1e3 * sum(seconds) / hops:.4g}")}


def _print(result: dict[str, Any]) -> None:
    print(
        f"{result['sessions']} sessions, {result['hops']} hops "
        f"(p99 takes {result['p99_needs']}), {result['cpu_cores']:g} cores, "
        f"{result['dropped']} frames dropped{'' if result['stable'] else ', unstable'}"
    )
    print(f"{'ms':14}{'calls':>8}{'median':>9}{'p90':>9}{'p95':>9}{'p99':>9}{'a hop':>9}")
    rows = {
        "latency": result["latency_ms"],
        "waiting": result["waiting_ms"],
        "age": result["age_ms"],
        **result["stages"],
    }
    for name, row in rows.items():
        cells = "".join(
            f"{row[key]:9.3g}" if key in row else f"{'':9}"
            for key in ("median", "p90", "p95", "p99", "per_hop")
        )
        print(f"{name:14}{row['n']:8}{cells}")


def _draw(path: Path, result: dict[str, Any]) -> None:
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    stages = result["stages"]
    figure, axis = plt.subplots(figsize=(8, 0.4 * len(stages) + 1.6), constrained_layout=True)
    left = 0.0
    for name, row in stages.items():
        axis.barh(name, row["per_hop"], left=left)
        left += row["per_hop"]
    axis.invert_yaxis()
    axis.set_xlabel("work of one hop, ms, one stage after another")
    latency = result["latency_ms"]["median"]
    axis.set_title(f"{result['sessions']} sessions of {result['bundle']}, latency {latency:g} ms")
    figure.savefig(path, dpi=110)
    plt.close(figure)
