"""What a bundle costs: parameters, arithmetic, size, and on this machine time and memory of a hop.

Time and memory are measured in a process of their own, with random inputs on one thread of the CPU:
`python -m affectstream.train.evaluate.bundle.cost FOLDER` prints them as JSON.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from statistics import median

import numpy as np

from affectstream.engines.bundle.bundle import Bundle
from affectstream.engines.bundle.folder import engine_files, read_manifest
from affectstream.engines.errors import BundleError
from affectstream.engines.graphs.feeds import random_feeds
from affectstream.engines.graphs.work import count
from affectstream.engines.manifest import Manifest

REPEATS = 20
ONE_A_PICTURE = ("face_detector", "face_geometry", "face_encoder")
"""Roles that run for each picture of a hop, and not once."""


@dataclass(frozen=True, slots=True)
class EngineCost:
    """One engine in a hop with one person."""

    engine: str
    parameters: int
    bytes: int
    rows: int
    """Inputs in a hop."""
    flops: float
    """Of all rows."""
    ms: float
    """Median of all rows, one after another."""


@dataclass(frozen=True, slots=True)
class Cost:
    """All engines of a bundle. A text encoder counts once a hop, although it runs once an utterance."""

    engines: tuple[EngineCost, ...]
    hop_ms: float
    hop_ms_p95: float
    peak_mb: float | None
    """Memory of a process that opened the bundle and ran a hop; None where the system does not tell."""
    machine: str

    @property
    def parameters(self) -> int:
        """Numbers in the graphs."""
        return sum(one.parameters for one in self.engines)

    @property
    def flops(self) -> float:
        """Operations of a hop."""
        return sum(one.flops for one in self.engines)

    @property
    def bytes(self) -> int:
        """Size of the graphs."""
        return sum(one.bytes for one in self.engines)

    @classmethod
    def of(cls, document: Mapping[str, object]) -> Cost:
        """From the entry of a `metrics.json`."""
        parts = document["engines"]
        assert isinstance(parts, list)
        engines = tuple(EngineCost(**part) for part in parts)
        return cls(**{**document, "engines": engines})  # type: ignore[arg-type]  # as `asdict` wrote it


def measure_cost(folder: Path) -> Cost:
    """Measure the bundle in `folder`. Raises `BundleError` if the process that measures fails."""
    command = [sys.executable, "-m", "affectstream.train.evaluate.bundle.cost", str(folder)]
    found = subprocess.run(command, capture_output=True, text=True, check=False)
    if found.returncode:
        lines = found.stderr.strip().splitlines() or [f"exit code {found.returncode}"]
        raise BundleError(f"the cost of {folder} could not be measured: {lines[-1]}")
    return Cost.of(json.loads(found.stdout))


def _measure(folder: Path) -> Cost:
    manifest = read_manifest(folder)
    times: list[dict[str, float]] = []
    with Bundle.open(folder) as bundle:
        engines = bundle.all_engines
        rows = {role: _rows_of(role, manifest) for role in engines}
        feeds = {role: random_feeds(engine.inputs, 1, 0, 1)[0] for role, engine in engines.items()}
        for _ in range(REPEATS + 1):
            taken = {}
            for role, engine in engines.items():
                start = time.perf_counter()
                for _ in range(rows[role]):
                    engine.run(feeds[role])
                taken[role] = 1e3 * (time.perf_counter() - start)
            times.append(taken)
    peak = _peak_mb()  # before the package onnx is loaded to count the work
    times = times[1:]
    files = engine_files(folder, manifest)
    counted = []
    for role in engines:
        path, _ = files[role]
        work = count(path, feeds[role])
        counted.append(
            EngineCost(
                role,
                work.weights,
                path.stat().st_size,
                rows[role],
                work.flops / work.rows * rows[role],
                round(median(one[role] for one in times), 3),
            )
        )
    hops = np.array([sum(one.values()) for one in times])
    return Cost(
        tuple(counted),
        round(float(np.median(hops)), 3),
        round(float(np.quantile(hops, 0.95)), 3),
        peak,
        _machine(),
    )


def _rows_of(role: str, manifest: Manifest) -> int:
    one_a_picture = role.rpartition("/")[2] in ONE_A_PICTURE
    return manifest.hop_us * manifest.frame_hz // 1_000_000 if one_a_picture else 1


def _peak_mb() -> float | None:
    """The most memory that this process has had. `getrusage` would include the process that started it."""
    try:
        status = Path("/proc/self/status").read_text()
        return round(int(status.split("VmHWM:")[1].split()[0]) / 1024, 1)
    except (OSError, IndexError, ValueError):
        return None


def _machine() -> str:
    try:
        lines = Path("/proc/cpuinfo").read_text().splitlines()
        return next(line.partition(":")[2].strip() for line in lines if line.startswith("model n"))
    except (OSError, StopIteration):
        import platform

        return platform.processor() or platform.machine()


if __name__ == "__main__":
    print(json.dumps(asdict(_measure(Path(sys.argv[1])))))
