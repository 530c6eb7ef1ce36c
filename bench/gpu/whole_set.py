"""Everything that is measured on a GPU, in one run without supervision, into one file.

    affectstream bench gpu --budget 180 --output results

The stages, by importance: each engine and the hop (`engines`), latency of a hop against its goal, FP16
against FP32, decoding, torch and ONNX Runtime on the same networks, of the bundle's kind and large ones. The
file is written after each row. A stage that fails is an entry with its error.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import time
import traceback
from collections.abc import Callable, Iterator, Sequence
from importlib.util import find_spec
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from affectstream.bench.clocks import gpu_state
from affectstream.bench.engines import speed
from affectstream.bench.engines.hop_calls import HopCalls
from affectstream.bench.engines.roofline import Roofline, measure_roofline
from affectstream.bench.gpu.decode import measure_decoding
from affectstream.bench.gpu.hop import GOAL_MS, measure_latency, measure_parity
from affectstream.bench.machine import describe
from affectstream.bench.output import finish, tables
from affectstream.bench.recordings import write_demo_recording
from affectstream.engines.devices.choose import parse_device
from affectstream.engines.devices.probe import probe
from affectstream.engines.errors import UsageError
from affectstream.engines.graphs.feeds import read_feeds
from affectstream.stream.recognizer import Recognizer

SHARES = {
    "engines": 0.28,
    "latency": 0.14,
    "parity": 0.06,
    "decode": 0.12,
    "rivals": 0.12,
    "large": 0.24,
}
"""Stages in their order, with their share of the time; the rest is opening and waiting."""
BATCHES = (1, 8, 64)
SESSIONS = (1, 8, 64)


def main(
    bundle: str,
    device: str,
    budget_s: float,
    output: Path,
    *,
    only: Sequence[str] = (),
    source: Path | None = None,
    inputs: Path | None = None,
    as_json: bool = False,
) -> None:
    """Run the stages, or those of `only`; write ``gpu.json`` into `output`; print, JSON last.

    `inputs` are real inputs for `parity`, as ``bench feeds`` writes them. Raises `UsageError` for an unknown
    stage.
    """
    if unknown := set(only) - SHARES.keys():
        raise UsageError(f"--only {sorted(unknown)[0]}: expected one of {', '.join(SHARES)}")
    output.mkdir(parents=True, exist_ok=True)
    with tables(hidden=as_json):
        result = run(bundle, device, budget_s, output, only or list(SHARES), source, inputs)
    finish("gpu", result)


def run(
    bundle: str,
    device: str,
    budget_s: float,
    output: Path,
    only: Sequence[str],
    source: Path | None,
    inputs: Path | None,
) -> dict[str, Any]:
    """See `main`."""
    ordinal = parse_device(device).ordinal
    result: dict[str, Any] = {
        "bench": "gpu",
        "bundle": bundle,
        "device": device,
        "budget_s": budget_s,
        "machine": describe() | _torch(),
        "gpu": {"before": gpu_state(ordinal)},
        "runtimes": {kind: probe(kind).text for kind in ("cuda", "tensorrt", "tensorrt-rtx")},
        "stages": {},
    }
    for kind, text in result["runtimes"].items():
        print(f"{kind}: {text}")
    began = time.perf_counter()
    with (
        TemporaryDirectory(prefix="affectstream-") as scratch,
        Stages(
            bundle,
            device,
            Path(scratch),
            source,
            inputs,
            export="rivals" in only or "large" in only,
        ) as stages,
    ):
        for name in only:
            left = budget_s - (time.perf_counter() - began)
            remaining = sum(SHARES[n] for n in only[only.index(name) :])
            seconds = max(2.0, left * SHARES[name] / max(remaining, 1e-9))
            print(f"--- {name}: about {seconds:.0f} s", flush=True)
            started = time.perf_counter()
            rows: list[dict[str, Any]] = []
            stage: dict[str, Any] = {"rows": rows}
            result["stages"][name] = stage

            def add(row: dict[str, Any], rows: list[dict[str, Any]] = rows) -> None:
                rows.append(row)
                _write(output, result)

            try:
                stage |= stages.measure(name, seconds, add)
            except Exception as error:  # a stage that fails must not take the others with it
                print(traceback.format_exc(), file=sys.stderr, flush=True)
                stage["failed"] = f"{type(error).__name__}: {error}"
            stage["seconds"] = round(time.perf_counter() - started, 1)
            result["gpu"]["after"] = gpu_state(ordinal)
            result["seconds"] = round(time.perf_counter() - began, 1)
            _write(output, result)
    return result


def _write(output: Path, result: dict[str, Any]) -> None:
    partial = output / "gpu.json.partial"
    partial.write_text(json.dumps(result, indent=1) + "\n")
    partial.replace(output / "gpu.json")


class Stages:
    """What all stages use; the graphs are exported by another process meanwhile."""

    def __init__(
        self,
        bundle: str,
        device: str,
        scratch: Path,
        source: Path | None,
        inputs: Path | None,
        *,
        export: bool,
    ) -> None:
        self._bundle, self._device, self._scratch, self._inputs = bundle, device, scratch, inputs
        self._exporter: subprocess.Popen[bytes] | None = None
        self._roofline: Roofline | None = None
        self._graphs = scratch / "graphs"
        self._graphs.mkdir()
        if export and find_spec("torch") is not None:
            command = [sys.executable, "-m", "affectstream.bench.gpu.networks", str(self._graphs)]
            log = (scratch / "export.log").open("wb")
            self._exporter = subprocess.Popen(command, stdout=log, stderr=log)
        self._recording = source or write_demo_recording(6, scratch)

    def __enter__(self) -> Stages:
        return self

    def __exit__(self, *error: object) -> None:
        if self._exporter is not None and self._exporter.poll() is None:
            self._exporter.kill()
            self._exporter.wait()

    def measure(
        self, name: str, seconds: float, add: Callable[[dict[str, Any]], None]
    ) -> dict[str, Any]:
        """Measure stage `name` in about `seconds`. Each row goes to `add`; the rest is returned."""
        if name == "engines":
            return speed.measure(
                self._bundle,
                self._device,
                self._recording,
                BATCHES,
                seconds,
                roofline=self.roofline(),
                on_row=add,
            )
        stages: dict[str, Callable[[float], Iterator[dict[str, Any]]]] = {
            "latency": self._latency,
            "parity": self._parity,
            "decode": self._decode,
            "rivals": lambda s: self._rivals(s, large=False),
            "large": lambda s: self._rivals(s, large=True),
        }
        for row in stages[name](seconds):
            print(_line(row), flush=True)
            add(row)
        return {"goal_ms": GOAL_MS} if name == "latency" else {}

    def roofline(self) -> Roofline:
        """The ceilings, measured once."""
        if self._roofline is None:
            self._roofline = measure_roofline(self._device, 2.0)
        return self._roofline

    def _latency(self, seconds: float) -> Iterator[dict[str, Any]]:
        with Recognizer.open(self._bundle, device=self._device) as recognizer:
            calls = HopCalls(recognizer, self._recording)
            yield {"hop_rows": calls.hop_rows()}
            yield from measure_latency(calls, seconds)

    def _parity(self, _: float) -> Iterator[dict[str, Any]]:
        extra = None if self._inputs is None else read_feeds(self._inputs)
        feeds = {role: [dict(f) for f in calls] for role, calls in (extra or {}).items()}
        with Recognizer.open(self._bundle, device=self._device) as recognizer:
            yield from measure_parity(recognizer, self._recording, feeds)

    def _decode(self, seconds: float) -> Iterator[dict[str, Any]]:
        # 15 ways, of which each decodes one clip beforehand; some of the time goes into making the clips.
        gpu = parse_device(self._device).kind != "cpu"
        yield from measure_decoding(self._scratch, seconds / 25, gpu=gpu)

    def _rivals(self, seconds: float, *, large: bool) -> Iterator[dict[str, Any]]:
        from affectstream.bench.gpu.networks import LARGE, POCKET
        from affectstream.bench.gpu.rivals import measure_part

        parts = LARGE if large else POCKET
        ends = time.perf_counter() + seconds
        roofline = self.roofline()
        yield {"roofline": roofline.document()}
        for number, (name, build) in enumerate(parts.items()):
            # Nine ways each, and a graph of that size takes seconds to open.
            share = 0.7 * max(0.0, ends - time.perf_counter()) / (len(parts) - number) / 9
            part = build()
            graph = self._wait_for(name, ends)
            yield from measure_part(
                part, graph, SESSIONS, max(share, 0.15), roofline, device=self._device
            )

    def _wait_for(self, name: str, ends: float) -> Path:
        path = self._graphs / f"{name}.onnx"
        while not path.is_file():
            if self._exporter is None or self._exporter.poll() is not None:
                log = (self._scratch / "export.log").read_text(errors="replace")
                raise RuntimeError(f"{name} was not exported: {log[-2000:]}")
            if time.perf_counter() > ends:
                raise TimeoutError(f"{name} was not exported in time")
            time.sleep(0.2)
        return path


def _line(row: dict[str, Any]) -> str:
    """The short fields of a row, and the median and p99 of those that are statistics."""
    cells = []
    for key, value in row.items():
        if isinstance(value, dict) and "median" in value:
            p99 = f"/{value['p99']:g}" if "p99" in value else ""
            cells.append(f"{key} {value['median']:g}{p99}")
        elif not isinstance(value, list | dict):
            cells.append(f"{key} {value}")
        elif isinstance(value, dict):
            cells.append(f"{key} {json.dumps(value)}")
    return "  " + ", ".join(cells)


def _torch() -> dict[str, Any]:
    if find_spec("torch") is None:
        return {}
    import torch

    return {
        "torch": torch.__version__,
        "cuda": torch.version.cuda,
        "cudnn": torch.backends.cudnn.version(),
        "load": round(os.getloadavg()[0], 2),
    }
