"""How long recordings are, without decoding them."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

from affectstream.stream.batch.plan.task import Task
from affectstream.stream.errors import SourceError
from affectstream.stream.media.duration import container_duration_us
from affectstream.stream.media.opening import open_container

_AT_ONCE = 8
_BYTES_A_SECOND = 250_000
"""Of a recording that does not state its duration: 2 Mbit/s."""


def durations(tasks: Sequence[Task]) -> list[float]:
    """Seconds of media of each recording, as its header states or its size suggests; 0 of one that cannot be
    opened."""
    with ThreadPoolExecutor(_AT_ONCE, "probe") as pool:
        return list(pool.map(_duration, tasks))


def _duration(task: Task) -> float:
    try:
        with open_container(task.path, task.options.max_pixels) as container:
            whole_us = container_duration_us(container)
        if whole_us is None:
            whole_us = task.path.stat().st_size * 1_000_000 // _BYTES_A_SECOND
    except (SourceError, OSError):
        return 0.0
    ends_us = whole_us if task.options.end_us is None else min(whole_us, task.options.end_us)
    return max(0, ends_us - (task.options.start_us or 0)) / 1e6
