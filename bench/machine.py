"""What a figure was measured on, and how: processor time, medians."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any

import onnxruntime


@dataclass(frozen=True, slots=True)
class Cost:
    """Seconds by the clock on the wall, and of all processors together."""

    wall_s: float
    cpu_s: float


def measure_costs(works: Sequence[Callable[[], object]], repeats: int) -> list[list[Cost]]:
    """Costs of each of `works` in each of `repeats` rounds, after a warm-up.

    The works take turns, so that whatever else the machine does meets all of them. Processor time
    counts every thread.
    """
    for work in works:
        work()
    return [[_cost(work) for work in works] for _ in range(repeats)]


def median_cost(costs: Iterable[Cost]) -> Cost:
    """Medians of the two figures."""
    walls, cpus = zip(*((cost.wall_s, cost.cpu_s) for cost in costs), strict=True)
    return Cost(median(walls), median(cpus))


def _cost(work: Callable[[], object]) -> Cost:
    wall, cpu = time.perf_counter(), time.process_time()
    work()
    return Cost(time.perf_counter() - wall, time.process_time() - cpu)


def describe() -> dict[str, Any]:
    """Processor, cores, system and versions."""
    model = platform.processor() or platform.machine()
    try:
        with Path("/proc/cpuinfo").open() as file:
            model = next(
                line.split(":", 1)[1].strip() for line in file if line.startswith("model name")
            )
    except (OSError, StopIteration):
        pass
    return {
        "cpu": model,
        "cores": os.cpu_count(),
        "system": platform.platform(),
        "python": platform.python_version(),
        **{name: version(name) for name in ("affectstream", "av", "numpy")},
        "onnxruntime": onnxruntime.__version__,  # of whichever package brings it
    }
