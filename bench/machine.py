"""What a figure was measured on, and how: processor time, medians."""

from __future__ import annotations

import os
import platform
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path
from statistics import median
from typing import Any


@dataclass(frozen=True, slots=True)
class Cost:
    """Seconds by the clock on the wall, and of all processors together."""

    wall_s: float
    cpu_s: float


def cost_of(work: Callable[[], object], repeats: int) -> Cost:
    """Median cost of `work` after one warm-up; processor time counts every thread."""
    work()
    walls, cpus = [], []
    for _ in range(repeats):
        wall, cpu = time.perf_counter(), time.process_time()
        work()
        walls.append(time.perf_counter() - wall)
        cpus.append(time.process_time() - cpu)
    return Cost(median(walls), median(cpus))


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
        **{name: version(name) for name in ("affectstream", "av", "numpy", "onnxruntime")},
    }
