"""How fast each engine of a bundle is, and all engines of one hop, at batches of 1 to 64 rows.

Figures are those of trtexec: throughput, latency (H2D, computation and D2H), enqueue, H2D, GPU computation,
D2H. A run starts when the one before it has ended, so nothing overlaps, unlike in trtexec's throughput.
Inputs are those of a recording, repeated to fill a batch. Computation is set against the ceilings of this
machine, which are measured through the same runtime (`roofline`).

    affectstream bench engines --device cuda:0 --batches 1,8,64
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory
from typing import Any

from affectstream.bench.clocks import gpu_state
from affectstream.bench.engines.hop_calls import HOP, HopCalls, run_calls
from affectstream.bench.engines.roofline import Roofline, measure_roofline
from affectstream.bench.engines.timing import WINDOWS, Times, repeat, time_engine
from affectstream.bench.machine import describe
from affectstream.bench.output import finish, tables
from affectstream.bench.recordings import write_demo_recording
from affectstream.engines.bundle.folder import engine_files
from affectstream.engines.devices.choose import parse_device
from affectstream.engines.errors import AffectstreamError
from affectstream.engines.graphs.work import Work, count
from affectstream.stream.recognizer import Recognizer

LAUNCH_BOUND = 0.8
"""Share of the enqueue time in the computation above which trtexec warns too."""
UNSTEADY = 0.025
"""Coefficient of variation of the GPU computation above which trtexec warns too."""
_WARM_SHARE = 0.3


@dataclass(frozen=True, slots=True)
class Row:
    """One engine, or the whole hop, at one batch."""

    engine: str
    runtime: str
    rows: int
    """For the whole hop, the number of sessions."""
    times: Times
    work: Work | None = None
    roofline: Roofline | None = None

    @property
    def precision(self) -> str:
        """``fp16`` or ``fp32``, as the runtime states it."""
        return "fp16" if "fp16" in self.runtime else "fp32"

    def document(self) -> dict[str, Any]:
        """For JSON."""
        found: dict[str, Any] = {
            "engine": self.engine,
            "runtime": self.runtime,
            "precision": self.precision,
            "cuda_graphs": self.runtime.endswith(", CUDA graphs"),
            "batch": self.rows,
            **self.times.document(self.rows),
            "warnings": self.warnings(),
        }
        if self.work is not None:
            compute_s = median(self.times.compute)
            found |= {
                "gflops": float(f"{self.work.flops / 1e9:.4g}"),
                "megabytes": float(f"{self.work.bytes(self.precision) / 1e6:.4g}"),
                "tflops_per_s": float(f"{self.work.flops / compute_s / 1e12:.3g}"),
            }
            if self.roofline is not None:
                share, bound = self.roofline.share(self.work, compute_s)
                found |= {"roofline_share": float(f"{share:.3g}"), "bound": bound}
        return found

    def warnings(self) -> list[str]:
        """What a reader has to know before using the figures."""
        found, times = [], self.times
        document = times.document(self.rows)
        if not document["stable"]:
            found.append(f"unstable: the windows differ by {document['spread']:.0%}")
        if self.work is not None and self.roofline is not None:
            share, _ = self.roofline.share(self.work, median(times.compute))
            if share > 1:
                found.append(
                    f"{share:.0%} of the ceilings: the machine was busy as they were measured"
                )
        if times.h2d:
            compute = median(times.compute)
            waits = self.roofline is not None and self.roofline.waits
            if not waits and median(times.enqueue) > LAUNCH_BOUND * compute:
                found.append("the host's launches take most of the time, not the GPU")
            if max(median(times.h2d), median(times.d2h)) >= compute:
                found.append("copies take longer than the computation")
            if document["gpu_compute"]["variation"] > UNSTEADY:
                found.append(
                    f"the computation varies by {document['gpu_compute']['variation']:.1%}"
                )
        return found

    def line(self) -> str:
        """The row of the table, in milliseconds."""
        document = self.document()
        latency = document.get("latency", document["host"])
        cells = [f"{self.engine:16}{self.precision:6}{self.rows:5}{document['rows_per_s']:11.5g}"]
        cells += [
            f"{latency.get(name, float('nan')):9.3g}" for name in ("median", "p90", "p95", "p99")
        ]
        for name in ("enqueue", "h2d", "gpu_compute", "d2h"):
            cells.append(f"{document[name]['median']:9.3g}" if name in document else f"{'':9}")
        share = document.get("roofline_share")
        cells.append(f"{'':8}" if share is None else f"{share:8.1%}")
        cells.append("" if document["stable"] else "  unstable")
        return "".join(cells).replace("nan", "  -")


HEADER = (
    f"{'engine':16}{'':6}{'batch':>5}{'rows/s':>11}{'median':>9}{'p90':>9}{'p95':>9}{'p99 ms':>9}"
    f"{'enqueue':>9}{'h2d':>9}{'compute':>9}{'d2h':>9}{'of roof':>8}"
)


def main(
    bundle: str,
    device: str,
    source: Path | None,
    batches: Sequence[int],
    budget_s: float,
    output: Path | None,
    *,
    as_json: bool = False,
) -> None:
    """Measure and print, JSON last; with `as_json` nothing else.

    With `output`, `engines.json` and, if matplotlib is installed, `engines.png` are written into it.
    """
    with tables(hidden=as_json):
        result = measure(bundle, device, source, batches, budget_s)
    finish("engines", result, output, lambda path: _draw(path, result))


def _draw(path: Path, result: dict[str, Any]) -> None:
    from affectstream.bench.engines.speed_picture import draw

    draw(path, result)


def measure(
    bundle: str,
    device: str,
    source: Path | None,
    batches: Sequence[int],
    budget_s: float,
    *,
    roofline: Roofline | None = None,
    on_row: Callable[[dict[str, Any]], None] = lambda row: None,
) -> dict[str, Any]:
    """Measure and print the table. The result for JSON.

    `budget_s` is shared among all rows, after a tenth for the ceilings unless `roofline` has them. Raises
    `DeviceError` where the device is missing.
    """
    with TemporaryDirectory() as scratch, Recognizer.open(bundle, device=device) as recognizer:
        device = recognizer.choice.device  # what "auto" stands for
        ordinal = parse_device(device).ordinal
        recording = source or write_demo_recording(6, Path(scratch))
        calls = HopCalls(recognizer, recording)
        reason = ""
        if roofline is None:
            roofline, reason = _roofline(device, budget_s / 10)
        before = gpu_state(ordinal)
        print(f"{bundle} on {device}, inputs of {recording.name}; milliseconds")
        if roofline is not None:
            ceilings = roofline.document()
            print(
                f"this machine: {ceilings['tflops']:g} TFLOP/s in {roofline.precision}, "
                f"{ceilings['gb_per_s']:g} GB/s"
            )
        print(HEADER, flush=True)
        seconds = 0.9 * budget_s / (len(batches) * (len(calls.engines) + 1))
        rows = []
        for row in _rows(recognizer, calls, roofline, batches, seconds):
            print(row.line(), flush=True)
            rows.append(row)
            on_row(row.document())
        for row in rows:
            for warning in row.warnings():
                print(f"warning: {row.engine}, batch {row.rows}: {warning}")
        manifest = recognizer.bundle.manifest
        return {
            "bench": "engines",
            "bundle": f"{manifest.name} {manifest.version}",
            "device": device,
            "source": recording.name if source else "demo",
            "windows": WINDOWS,
            "clock": "host; on a GPU each step ends with the GPU idle",
            "looks": calls.looks,
            "hop_rows": calls.hop_rows(),
            "roofline": roofline.document() if roofline else {"not_measured": reason},
            "gpu": {"before": before, "after": gpu_state(ordinal)} if before else {},
            "rows": [row.document() for row in rows],
            "machine": describe(),
        }


def _roofline(device: str, seconds: float) -> tuple[Roofline | None, str]:
    try:
        return measure_roofline(device, seconds), ""
    except (ImportError, AffectstreamError) as error:
        print(f"the ceilings of this machine were not measured: {error}")
        return None, str(error)


def _rows(
    recognizer: Recognizer,
    calls: HopCalls,
    roofline: Roofline | None,
    batches: Sequence[int],
    seconds: float,
) -> Iterator[Row]:
    warm_s, window_s = _WARM_SHARE * seconds, (1 - _WARM_SHARE) * seconds / WINDOWS
    for role, engine in calls.engines.items():
        one = _work(recognizer, calls, role) if roofline is not None else None
        for rows in batches:
            feeds = calls.feeds(role, rows)
            if len(next(iter(feeds.values()))) != rows:
                continue  # an engine without a batch axis has one row only
            times = time_engine(engine, feeds, warm_s=warm_s, window_s=window_s)
            work = one.for_rows(rows) if one else None
            yield Row(role, engine.runtime, rows, times, work, roofline)
    runtime = calls.engines["fusion"].runtime
    for sessions in batches:
        yield Row(HOP, runtime, sessions, time_hop(calls, sessions, warm_s, window_s))


def time_hop(calls: HopCalls, sessions: int, warm_s: float, window_s: float) -> Times:
    """All engine calls of one hop, one after another, for `sessions` sessions in one batch."""
    batch, times = calls.hop(sessions), Times()

    def work() -> None:
        run_calls(batch)

    repeat(work, warm_s, fewest=2)
    for _ in range(WINDOWS):
        began = time.perf_counter()
        times.windows.append(repeat(work, window_s))
        times.wall_s += time.perf_counter() - began
    times.compute = [seconds for window in times.windows for seconds in window]
    return times


def _work(recognizer: Recognizer, calls: HopCalls, role: str) -> Work:
    """The work of one row."""
    bundle = recognizer.bundle
    path, _ = engine_files(bundle.folder, bundle.manifest)[role]
    return count(path, calls.feeds(role, 1))
