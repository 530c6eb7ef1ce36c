"""How many processes fit on this machine."""

from __future__ import annotations

import os
from pathlib import Path

from affectstream.engines.bundle.bundle import Bundle
from affectstream.stream.loaded import LoadedBundle

_PROCESS_BYTES = 500 * 2**20
"""Libraries, engines of the embedded bundle, and pictures: measured 280 MB with 844 x 844 pixels, 355 MB with
1920 x 1080 and 465 MB with 3840 x 2160."""
_WEIGHT_COPIES = 3
"""A runtime keeps the weights of a graph, and packs some of them again."""
TASKS_ON_GPU = 4
"""Processes that share one GPU at most: each has its own copy of the engines there."""
_CORES_FOR_RANGES = 4
"""With fewer cores for each recording the threads of one process use them all, with less memory."""
_CGROUP = Path("/sys/fs/cgroup")


def worker_count(bundle: Bundle, device: str) -> int:
    """So many processes use all cores, and fit into the memory that is free."""
    weights = sum(file.stat().st_size for file in bundle.folder.rglob("*.onnx"))
    fitting = free_bytes() // (_PROCESS_BYTES + _WEIGHT_COPIES * weights)
    limits = [cores(), fitting]
    if device != "cpu":
        limits.append(TASKS_ON_GPU)
    return max(1, min(limits))


def share_out(processes: int, recordings: int, *, chosen: bool) -> tuple[int, int]:
    """How many recordings are scored at once, and how many processes perceive ranges of each long one.

    The second is 1 where one process is enough for a recording, unless the user has `chosen` their number.
    """
    at_once = min(processes, recordings)
    each = processes // at_once
    return at_once, each if chosen or each >= _CORES_FOR_RANGES else 1


def processes_for_one(recognizer: LoadedBundle, workers: int | None) -> int:
    """How many processes perceive ranges of one recording: `workers`, or as cores and memory allow."""
    if workers is not None:
        return workers
    fitting = worker_count(recognizer.bundle, recognizer.choice.device)
    return share_out(fitting, 1, chosen=False)[1]


def cores() -> int:
    """The cores that this process may use, by its affinity and by the limit of its container."""
    available = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count()
    quota, _, period = _read(_CGROUP / "cpu.max").partition(" ")
    if quota.isdecimal() and period.strip().isdecimal():
        available = min(available or 1, max(1, int(quota) // int(period)))
    return available or 1


def free_bytes() -> int:
    """The memory that is free, in the machine and in the container; a lot where neither says."""
    found = [2**62]
    for line in _read(Path("/proc/meminfo")).splitlines():
        if line.startswith("MemAvailable:"):
            found.append(int(line.split()[1]) * 1024)
    limit, used = (_read(_CGROUP / name).strip() for name in ("memory.max", "memory.current"))
    if limit.isdecimal() and used.isdecimal():
        found.append(max(0, int(limit) - int(used)))
    return min(found)


def _read(path: Path) -> str:
    try:
        return path.read_text()
    except OSError:
        return ""
