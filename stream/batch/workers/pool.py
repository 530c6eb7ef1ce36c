"""Worker processes: start them, give each a recording at a time, and survive their death."""

from __future__ import annotations

import subprocess
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from multiprocessing import connection
from multiprocessing.connection import Connection
from typing import cast

from affectstream.stream.batch.output.outcome import Outcome
from affectstream.stream.batch.plan.task import Task
from affectstream.stream.batch.workers import worker
from affectstream.stream.batch.workers.worker import Advanced, Message, Ready, Settings, Warned
from affectstream.stream.child_process import STOP_S, ChildProcess
from affectstream.stream.exits import describe_status
from affectstream.stream.offline.failure import Failure

_TRIES = 2
"""A recording during which the process dies is tried so often: the machine may have been short of memory."""


class _Worker(ChildProcess):
    """One process and what it does."""

    def __init__(self, settings: Settings) -> None:
        super().__init__(worker.__name__, settings)
        self.task: Task | None = None
        self.is_ready = False

    def give(self, task: Task) -> None:
        """Let it score `task`."""
        self.task = task
        self.send(task)


def score_in_processes(
    tasks: Sequence[Task],
    settings: Settings,
    workers: int,
    *,
    advance: Callable[[Task, float], None],
    warn: Callable[[str], None],
) -> Iterator[Outcome]:
    """Score `tasks` in their order with `workers` processes; yield each outcome as it comes.

    `advance` hears how many seconds of a recording are done. A process that dies takes no other recording
    with it. Leaving the iteration early stops all processes, which keep their results so far, marked as
    incomplete. Raises the error of a bundle that no process can open.
    """
    waiting = deque(tasks)
    tries = dict.fromkeys((task.name for task in tasks), 0)
    running: dict[Connection, _Worker] = {}

    def start() -> None:
        one = _Worker(settings)
        running[one.connection] = one

    try:
        for _ in range(min(workers, len(waiting))):
            start()
        while running:
            for ready in connection.wait(list(running)):
                one = running[cast(Connection, ready)]
                try:
                    message: Message = one.connection.recv()
                except (EOFError, OSError):
                    del running[one.connection]
                    status = one.end()
                    if one.task is None and not one.is_ready:
                        raise RuntimeError(
                            f"a worker process ended before it was ready ({describe_status(status)})"
                        ) from None
                    if one.task is not None:
                        tries[one.task.name] += 1
                        if tries[one.task.name] < _TRIES:
                            warn(
                                f"{one.task.path}: its process died ({describe_status(status)}): once more"
                            )
                            waiting.append(one.task)
                        else:
                            yield Outcome(one.task.name, "failed", _crash(one.task, status))
                    if waiting:
                        start()
                    continue
                match message:
                    case Advanced():
                        assert one.task is not None
                        advance(one.task, message.media_s)
                        continue
                    case Warned():
                        warn(message.message)
                        continue
                    case Ready():
                        one.is_ready = True
                    case Outcome():
                        one.task = None
                        yield message
                    case _:
                        raise message
                if waiting:
                    one.give(waiting.popleft())
                else:
                    del running[one.connection]
                    one.end()
    finally:
        for one in running.values():
            one.terminate()
        for one in running.values():
            with suppress(subprocess.TimeoutExpired):
                one.process.wait(STOP_S)
            one.end()


def _crash(task: Task, status: int) -> Failure:
    return Failure(
        "crash",
        f"the process that scored it died {_TRIES} times ({describe_status(status)}); if memory is short, "
        "use fewer --workers",
    )
