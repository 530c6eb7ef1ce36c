"""The same batch on a Ray cluster: a task for each recording. Where there are more cores than recordings, the
task of a long one takes several, and perceives its ranges in as many processes of its node.

Ray schedules, and tries a task again whose process or machine died. A task that finds the recording finished,
because it died after it had written the results, leaves them as they are. Recordings and the output must be
visible to every machine: a shared folder, or an object store for the output.
"""

from __future__ import annotations

import os
from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import lru_cache
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal

import cv2

from affectstream.engines.bundle.bundle import Bundle
from affectstream.engines.bundle.folder import POCKET
from affectstream.engines.devices.choose import Choice, parse_device
from affectstream.engines.extras import install_hint
from affectstream.stream.batch.output.outcome import Outcome
from affectstream.stream.batch.output.resume import remaining
from affectstream.stream.batch.output.storage import storage_at
from affectstream.stream.batch.plan.sizing import TASKS_ON_GPU, share_out
from affectstream.stream.batch.plan.task import Task
from affectstream.stream.batch.workers.recording import score_recording
from affectstream.stream.batch.workers.worker import Settings
from affectstream.stream.errors import OptionError
from affectstream.stream.loaded import LoadedBundle
from affectstream.stream.offline.failure import Failure
from affectstream.stream.ranges.opening import can_be_cut

LOCAL: Literal["local"] = "local"
_RETRIES = 3
_AHEAD = 4
"""Tasks that wait for each core, so that no core waits for a task."""


def score_on_cluster(
    tasks: Sequence[tuple[Task, float]],
    settings: Settings,
    address: str,
    *,
    processes: int,
    chosen: bool,
    retry_failed: bool,
) -> Iterator[Outcome]:
    """Score `tasks`, with their seconds of media, in their order on the cluster at `address`, and yield each
    outcome as it comes.

    `address` is ``local`` for a cluster on this machine with `processes` cores, ``auto`` for the one that
    this machine belongs to, or such as ``ray://host:10001``. The tasks share the cores of the cluster, or
    `processes` where the user has `chosen` them. A task takes a core for each of its processes, which are
    several only for a recording that is long enough to be cut, and, unless the device is the CPU, a part of a
    GPU. Raises `OptionError` for an address without a cluster.
    """
    # Ray would send statistics about its use.
    os.environ.setdefault("RAY_USAGE_STATS_ENABLED", "0")
    try:
        import ray
    except ModuleNotFoundError as error:
        raise OptionError(f"--cluster needs Ray: {install_hint('cluster')}") from error
    quiet: dict[str, Any] = {"log_to_driver": False, "logging_level": "error"}
    try:
        if address == LOCAL:
            ray.init(num_cpus=processes, include_dashboard=False, **quiet)
        else:
            ray.init(address, **quiet)
    except (ConnectionError, RuntimeError, ValueError) as error:
        raise OptionError(
            f"--cluster {address}: no Ray cluster answers ({error}); expected local, auto, or such as "
            "ray://host:10001"
        ) from error
    try:
        cores, everywhere = _cores_of_nodes(ray), _everywhere(settings)
        ranges = ranges_each(cores, len(tasks), processes if chosen else None)
        if everywhere.choice.device != "cpu":
            ranges = min(ranges, TASKS_ON_GPU)
        jobs = [(task, ranges if can_be_cut(length_s * 1e6) else 1) for task, length_s in tasks]
        yield from _results(ray, jobs, everywhere, retry_failed)
    finally:
        ray.shutdown()


def ranges_each(cores: Sequence[int], recordings: int, processes: int | None) -> int:
    """How many processes of its node perceive ranges of one recording; 1: none.

    `cores` are those of each node, and `processes` is how many the user has chosen for all. Any node but
    those with one core may have to take the task of a node that died, so a task fits on the smallest.
    """
    _, each = share_out(processes or sum(cores), recordings, chosen=processes is not None)
    return min(each, min((count for count in cores if count > 1), default=1))


def _cores_of_nodes(ray: Any) -> list[int]:
    nodes = [int(node["Resources"].get("CPU", 0)) for node in ray.nodes() if node["Alive"]]
    return [count for count in nodes if count] or [1]


def _everywhere(settings: Settings) -> Settings:
    """The settings in words that hold on every machine: Ray numbers the GPUs that a task may use from 0."""
    kind = parse_device(settings.choice.device).kind
    device = "cpu" if kind == "cpu" else f"{kind}:0"
    bundle = Path("pocket") if settings.bundle == POCKET else settings.bundle.absolute()
    local = storage_at(settings.output).local
    return replace(
        settings,
        bundle=bundle,
        choice=replace(settings.choice, device=device),
        output=settings.output if local is None else str(local.absolute()),
    )


def _anywhere(task: Task) -> Task:
    """The task with whole paths."""
    words = task.options.transcript
    options = task.options if words is None else replace(task.options, transcript=words.absolute())
    return replace(task, path=task.path.absolute(), options=options)


def _results(
    ray: Any, jobs: Sequence[tuple[Task, int]], settings: Settings, retry_failed: bool
) -> Iterator[Outcome]:
    """Score each task of `jobs`, with as many processes for its ranges as stand beside it."""
    score = ray.remote(max_retries=_RETRIES, retry_exceptions=False)(_score)
    by_ranges = {
        ranges: (
            score.options(
                num_cpus=max(settings.threads, ranges),
                num_gpus=0 if settings.choice.device == "cpu" else ranges / TASKS_ON_GPU,
            ),
            ray.put(replace(settings, ranges=ranges)),
        )
        for ranges in {ranges for _, ranges in jobs}
    }
    ours = version("affectstream")
    waiting = list(reversed(jobs))
    running: dict[Any, Task] = {}
    try:
        while waiting or running:
            cores = int(ray.cluster_resources().get("CPU", 1))
            while waiting and len(running) < _AHEAD * max(1, cores):
                task, ranges = waiting.pop()
                remote, shared = by_ranges[ranges]
                running[remote.remote(_anywhere(task), shared, retry_failed, ours)] = task
            finished, _ = ray.wait(list(running), num_returns=1, timeout=1.0)
            for one in finished:
                task = running.pop(one)
                try:
                    yield ray.get(one)
                except ray.exceptions.RayError as error:
                    reason = str(error).strip().splitlines()[-1]
                    yield Outcome(
                        task.name,
                        "failed",
                        Failure("crash", f"the task that scored it failed: {reason}"),
                    )
    finally:
        for one in running:
            ray.cancel(one, force=True)


def _score(task: Task, settings: Settings, retry_failed: bool, callers_version: str) -> Outcome:
    """The task, in a process of the cluster."""
    if version("affectstream") != callers_version:
        raise RuntimeError(
            f"this machine has affectstream {version('affectstream')}, the caller {callers_version}: "
            "expected the same"
        )
    recognizer = _recognizer(str(settings.bundle), settings.choice, settings.threads)
    storage = storage_at(settings.output)
    done = remaining(
        [task],
        storage,
        recognizer,
        settings.formats,
        overwrite=True,
        retry_failed=retry_failed,
    ).done
    if done:  # by this task, before it was tried again
        return replace(done[0], done_before=False)
    return score_recording(
        recognizer,
        task,
        storage,
        settings.formats,
        _Unobserved(),
        inputs=settings.inputs,
        ranges=settings.ranges,
    )


class _Unobserved:
    """Nobody follows a recording on another machine; its outcome is what counts."""

    def advance(self, media_s: float) -> None:
        return

    def warn(self, message: str) -> None:
        return


@lru_cache(maxsize=1)
def _recognizer(bundle: str, choice: Choice, threads: int) -> LoadedBundle:
    """The engines of this process, which Ray uses for many tasks."""
    cv2.setNumThreads(1)
    return LoadedBundle(Bundle.open(bundle, device=choice.device), choice, threads)
