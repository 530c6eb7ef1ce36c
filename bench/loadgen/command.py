"""MLPerf's LoadGen drives the whole hop of a bundle: SingleStream, Offline and Server.

A sample is one hop of one session with the inputs of a recording (`HopCalls`): engines only, no decoding.

    SingleStream  one hop after another: its latency
    Offline       all hops at once: throughput
    Server        hops arrive at random (Poisson); their latency counts from the scheduled time. The rate is
                  searched at which LoadGen still calls the result valid: p99 within the bound

LoadGen's own summary and log are kept (`--output`). Durations are shorter than those of a submission to
MLPerf, whose rules this does not follow.

    affectstream bench loadgen --scenarios SingleStream,Offline,Server --output loadgen
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, Literal, get_args

import mlperf_loadgen as lg

from affectstream.bench.engines.hop_calls import HopCalls, run_calls
from affectstream.bench.loadgen.hop_queue import HopQueue
from affectstream.bench.loadgen.summary import parse_summary
from affectstream.bench.machine import describe
from affectstream.bench.output import finish, tables
from affectstream.bench.recordings import write_demo_recording
from affectstream.engines.errors import UsageError
from affectstream.stream.recognizer import Recognizer

Scenario = Literal["SingleStream", "Offline", "Server"]
SCENARIOS: tuple[Scenario, ...] = get_args(Scenario)
QUERIES = 662
"""Of a run whose p99 LoadGen believes, if up to one of them is late."""
_STEPS = 4
"""Rates that the search tries."""
_SAMPLES = 64
_OFFLINE = 1.3
"""LoadGen's number of hops follows from what is expected of Offline: too few end before `seconds`."""
HEADER = (
    f"{'scenario':14}{'batch':>6}{'asked/s':>9}{'hops/s':>9}{'mean ms':>9}{'p90':>9}{'p99':>9}"
    "  result"
)


@dataclass(frozen=True, slots=True)
class System:
    """The hops of an open bundle, and how they are computed."""

    calls: HopCalls
    workers: int
    batch: int
    seconds: float
    limit_ms: float
    """Bound of the p99 of Server."""
    folder: Path


def main(
    bundle: str,
    device: str,
    source: Path | None,
    scenarios: Sequence[str],
    batches: Sequence[int],
    seconds: float,
    limit_ms: float,
    qps: float | None,
    output: Path | None,
    *,
    as_json: bool = False,
) -> None:
    """Measure and print, JSON last; with `as_json` nothing else. With `output` also write it there.

    `qps` is the rate of Server; None: searched. Raises `UsageError` for an unknown scenario.
    """
    for name in scenarios:
        if name not in SCENARIOS:
            raise UsageError(f"--scenarios {name}: expected some of {','.join(SCENARIOS)}")
    load = round(os.getloadavg()[0], 2)
    with (
        tables(hidden=as_json),
        TemporaryDirectory() as scratch,
        Recognizer.open(bundle, device=device) as recognizer,
    ):
        recording = source or write_demo_recording(6, Path(scratch))
        calls = HopCalls(recognizer, recording)
        print(HEADER, flush=True)
        rows = []
        for batch in batches:
            folder = (output or Path(scratch, "logs")) / f"batch{batch}"
            system = System(calls, recognizer.threads, batch, seconds, limit_ms, folder)
            for row in _rows(system, [s for s in SCENARIOS if s in scenarios], qps):
                rows.append(row)
                print(_line(row), flush=True)
        manifest = recognizer.bundle.manifest
        result = {
            "bench": "loadgen",
            "bundle": f"{manifest.name} {manifest.version}",
            "device": recognizer.choice.device,
            "source": "demo" if source is None else source.name,
            "workers": recognizer.threads,
            "seconds": seconds,
            "limit_ms": limit_ms,
            "load_before": load,
            "rows": rows,
            "machine": describe(),
        }
    finish("loadgen", result, output)


def _rows(
    system: System, scenarios: Sequence[Scenario], qps: float | None
) -> Iterator[dict[str, Any]]:
    fastest = _hops_per_s(system)
    if "SingleStream" in scenarios and system.batch == 1:  # there is never more than one hop
        yield run(system, "SingleStream", 1e3 / _hop_ms(system))
    if "Offline" in scenarios:
        row = run(system, "Offline", _OFFLINE * fastest)
        fastest = row["completed_per_s"]
        yield row
    if "Server" in scenarios and qps is not None:
        yield run(system, "Server", qps)
    elif "Server" in scenarios:
        yield from search(system, fastest)


def search(system: System, fastest: float) -> Iterator[dict[str, Any]]:
    """Server at `_STEPS` rates, each half way between the highest valid and the lowest invalid one.

    `fastest` is the throughput, which no valid rate exceeds. The row of the highest valid rate is marked.
    """
    low, high, rows = 0.0, fastest, []
    for _ in range(_STEPS):
        rows.append(run(system, "Server", (low + high) / 2))
        if rows[-1]["valid"]:
            low = rows[-1]["asked_per_s"]
        else:
            high = rows[-1]["asked_per_s"]
    valid = [row for row in rows if row["valid"]]
    for row in rows:
        yield row | {"peak": bool(valid) and row["asked_per_s"] == low}


def run(system: System, scenario: Scenario, qps: float) -> dict[str, Any]:
    """One run of LoadGen. `qps` is the rate of Server; of others, what is expected."""
    folder = system.folder / (scenario if scenario != "Server" else f"Server{qps:.2f}")
    folder.mkdir(parents=True, exist_ok=True)

    def finished(hops: Sequence[int]) -> None:
        lg.QuerySamplesComplete([lg.QuerySampleResponse(hop, 0, 0) for hop in hops])

    with HopQueue(system.calls, system.workers, system.batch, finished) as hops:
        sut = lg.ConstructSUT(lambda samples: hops.put([s.id for s in samples]), lambda: None)
        qsl = lg.ConstructQSL(_SAMPLES, _SAMPLES, lambda indices: None, lambda indices: None)
        try:
            lg.StartTestWithLogSettings(sut, qsl, _settings(system, scenario, qps), _logs(folder))
        finally:
            lg.DestroyQSL(qsl)
            lg.DestroySUT(sut)
    if hops.error is not None:
        raise hops.error
    text = (folder / "mlperf_log_summary.txt").read_text()
    return {
        "scenario": scenario,
        "batch": system.batch,
        "asked_per_s": round(qps, 2) if scenario == "Server" else None,
        **parse_summary(text),
        "summary": text.split("Test Parameters Used")[0].rstrip("=\n"),
    }


def _settings(system: System, scenario: Scenario, qps: float) -> Any:
    settings = lg.TestSettings()
    settings.scenario = getattr(lg.TestScenario, scenario)
    settings.mode = lg.TestMode.PerformanceOnly
    settings.min_duration_ms = round(1e3 * system.seconds)
    settings.min_query_count = 1 if scenario == "Offline" else 64
    settings.qsl_rng_seed = settings.sample_index_rng_seed = settings.schedule_rng_seed = 1
    if scenario == "Server":
        settings.min_query_count = QUERIES
        settings.server_target_qps = qps
        settings.server_target_latency_ns = round(1e6 * system.limit_ms)
        settings.server_target_latency_percentile = 0.99
    elif scenario == "Offline":
        settings.offline_expected_qps = qps
    else:
        settings.single_stream_expected_latency_ns = round(1e9 / qps)
    return settings


def _logs(folder: Path) -> Any:
    output = lg.LogOutputSettings()
    output.outdir = str(folder)
    output.copy_summary_to_stdout = False
    logs = lg.LogSettings()
    logs.log_output = output
    logs.enable_trace = False
    return logs


def _hop_ms(system: System) -> float:
    """Of one hop, after one that does not count."""
    calls = system.calls.hop(1)
    run_calls(calls)
    began = time.perf_counter()
    run_calls(calls)
    return 1e3 * (time.perf_counter() - began)


def _hops_per_s(system: System) -> float:
    """A guess for LoadGen: that of one worker, times their number."""
    return 1e3 / _hop_ms(system) * system.workers


def _line(row: dict[str, Any]) -> str:
    latency, rate = row["latency_ms"], row["asked_per_s"]
    cells = [f"{row['scenario']:14}{row['batch']:6}", f"{'' if rate is None else rate:>9}"]
    cells.append(f"{row['completed_per_s']:9.1f}" if "completed_per_s" in row else f"{'':9}")
    cells += [f"{latency[k]:9.1f}" if k in latency else f"{'':9}" for k in ("mean", "p90", "p99")]
    cells.append(f"  {'valid' if row['valid'] else 'invalid'}{', peak' if row.get('peak') else ''}")
    return "".join(cells)
