"""The same networks by torch in FP16, eager and as CUDA graphs, and by ONNX Runtime on CUDA.

Torch computes under autocast, with weights that are cast once. Its steps are timed with CUDA events, the
host's launches with the host's clock.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from statistics import median
from typing import Any, Literal

import torch
from torch import Tensor

from affectstream.bench.engines.roofline import Roofline
from affectstream.bench.engines.timing import WINDOWS, Times, repeat, time_engine
from affectstream.bench.gpu.networks import Part
from affectstream.engines.devices.open import open_engine
from affectstream.engines.errors import AffectstreamError
from affectstream.engines.graphs.work import Work, count
from affectstream.engines.spec import Array

Mode = Literal["torch eager fp16", "torch cuda graph fp16"]
MODES: tuple[Mode, ...] = ("torch eager fp16", "torch cuda graph fp16")
LARGEST_BATCH = 64
"""Rows that go to an engine at once; more are split."""
_WARM_SHARE = 0.25


class TorchRival:
    """A part on the GPU, with pinned and device memory for one batch."""

    def __init__(self, part: Part, rows: int, mode: Mode) -> None:
        """Raises `RuntimeError` if it cannot be captured."""
        self._module = part.module.to("cuda").to(memory_format=torch.channels_last)
        self._host = [tensor.pin_memory() for tensor in part.example(rows)]
        self._device = [tensor.to("cuda") for tensor in self._host]
        self._stream = torch.cuda.Stream()
        self._events = [torch.cuda.Event(enable_timing=True) for _ in range(4)]
        self._forward = self._eager
        with torch.cuda.stream(self._stream):
            for _ in range(3):
                outputs = self._eager()
            self._stream.synchronize()
            if mode == "torch cuda graph fp16":
                graph = torch.cuda.CUDAGraph()
                with torch.cuda.graph(graph, stream=self._stream):
                    outputs = self._eager()

                def replay() -> tuple[Tensor, ...]:
                    graph.replay()
                    return outputs

                self._forward = replay
        self._results = [torch.empty_like(tensor, device="cpu").pin_memory() for tensor in outputs]

    def _eager(self) -> tuple[Tensor, ...]:
        found = self._module(*self._device)
        return found if isinstance(found, tuple) else (found,)

    def run(self, times: Times) -> None:
        """Copy, compute, copy back; append the steps to `times`."""
        start, copied, computed, read = self._events
        with torch.cuda.stream(self._stream):
            start.record()
            for device, host in zip(self._device, self._host, strict=True):
                device.copy_(host, non_blocking=True)
            copied.record()
            began = time.perf_counter()
            outputs = self._forward()
            enqueued = time.perf_counter() - began
            computed.record()
            for result, tensor in zip(self._results, outputs, strict=True):
                result.copy_(tensor, non_blocking=True)
            read.record()
            read.synchronize()
        times.h2d.append(1e-3 * start.elapsed_time(copied))
        times.enqueue.append(enqueued)
        times.compute.append(1e-3 * copied.elapsed_time(computed))
        times.d2h.append(1e-3 * computed.elapsed_time(read))
        times.latency.append(1e-3 * start.elapsed_time(read))

    def results(self) -> list[Array]:
        """The outputs of the last run."""
        return [tensor.float().numpy().copy() for tensor in self._results]


@contextmanager
def half_precision() -> Iterator[None]:
    """FP16 by autocast. Weights that were cast stay so until the end."""
    with torch.no_grad(), torch.autocast("cuda", torch.float16):
        yield


def time_torch(part: Part, rows: int, mode: Mode, seconds: float) -> Times:
    """Time `part` on `rows` rows for about `seconds`."""
    with half_precision():
        rival = TorchRival(part, rows, mode)
        return _timed(rival.run, seconds)


def _timed(run: Callable[[Times], None], seconds: float) -> Times:
    times, warm = Times(), Times()
    repeat(lambda: run(warm), _WARM_SHARE * seconds, fewest=2)
    for _ in range(WINDOWS):
        began = time.perf_counter()
        times.windows.append(repeat(lambda: run(times), (1 - _WARM_SHARE) * seconds / WINDOWS))
        times.wall_s += time.perf_counter() - began
    return times


def measure_part(
    part: Part,
    graph: Path,
    sessions: tuple[int, ...],
    seconds: float,
    roofline: Roofline | None,
    *,
    device: str = "cuda:0",
) -> Iterator[dict[str, Any]]:
    """A row for each way of computing and each number of sessions; `seconds` for each."""
    work = count(graph, {n: t.numpy() for n, t in zip(part.inputs, part.example(1), strict=True)})
    for number in sessions:
        rows = min(number * part.rows, LARGEST_BATCH)
        for mode in MODES if torch.cuda.is_available() else ():
            try:
                times = time_torch(part, rows, mode, seconds)
            except RuntimeError as error:  # one way that fails must not take the others with it
                yield {"part": part.name, "runtime": mode, "batch": rows, "not_run": str(error)}
            else:
                yield _row(part, mode, number, rows, times, work, roofline)
    try:
        yield from _measure_engine(part, graph, sessions, seconds, work, roofline, device)
    except AffectstreamError as error:
        yield {"part": part.name, "runtime": device, "not_run": str(error)}


def _measure_engine(
    part: Part,
    graph: Path,
    sessions: tuple[int, ...],
    seconds: float,
    work: Work,
    roofline: Roofline | None,
    device: str,
) -> Iterator[dict[str, Any]]:
    with open_engine(graph, device) as engine:
        for number in sessions:
            rows = min(number * part.rows, LARGEST_BATCH)
            feeds = {n: t.numpy() for n, t in zip(part.inputs, part.example(rows), strict=True)}
            times = time_engine(
                engine,
                feeds,
                warm_s=_WARM_SHARE * seconds,
                window_s=(1 - _WARM_SHARE) * seconds / WINDOWS,
            )
            yield _row(part, engine.runtime, number, rows, times, work, roofline)


def _row(
    part: Part,
    runtime: str,
    sessions: int,
    rows: int,
    times: Times,
    work: Work,
    roofline: Roofline | None,
) -> dict[str, Any]:
    compute_s, batch = median(times.compute), work.for_rows(rows)
    found: dict[str, Any] = {
        "part": part.name,
        "runtime": runtime,
        "sessions": sessions,
        "batch": rows,
        "batches_per_hop": -(-sessions * part.rows // LARGEST_BATCH),
        **times.document(rows),
        "gflops": float(f"{batch.flops / 1e9:.4g}"),
        "tflops_per_s": float(f"{batch.flops / compute_s / 1e12:.3g}"),
    }
    if roofline is not None:
        share, bound = roofline.share(batch, compute_s)
        found |= {"roofline_share": float(f"{share:.3g}"), "bound": bound}
    return found
