"""The processes that perceive the ranges of one recording, and their results in order."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import replace
from itertools import pairwise
from multiprocessing import connection
from multiprocessing.connection import Connection
from typing import cast

from affectstream.stream.child_process import ChildProcess
from affectstream.stream.errors import ProcessDied
from affectstream.stream.exits import describe_status
from affectstream.stream.faces.batches import Turned
from affectstream.stream.faces.turn import TurnState
from affectstream.stream.media.grid import time_of_point
from affectstream.stream.media.types import FOREVER_US
from affectstream.stream.ranges import process
from affectstream.stream.ranges.messages import (
    Message,
    Observed,
    RangeBegun,
    RangeDone,
    RangeEnd,
    RangeJob,
    RangeSettings,
    Seam,
    TurnFound,
)
from affectstream.stream.ranges.plan import RUN_UP_US

_TRIES = 2
"""A range during which the process dies is tried so often: the machine may have been short of memory."""
_WAIT_S = 0.1
_RUN_UPS_US = (RUN_UP_US, 60_000_000, None)
"""A range whose first pictures are not those that the range before it found there decodes more before its
beginning, in the end everything."""
_TOO_SHORT = 2
"""After so many of these, later ranges begin with the second run-up: it is the codec, not damage."""


class _Process(ChildProcess):
    """One process and the range that it perceives."""

    def __init__(self, settings: RangeSettings) -> None:
        super().__init__(process.__name__, settings)
        self.job: RangeJob | None = None


class RangePool:
    """Perceives the pictures of one recording in several processes. Close it at the end.

    Ranges are given out a little ahead of the one that is taken, so memory does not depend on the length of
    the recording. A range whose process died is perceived again, and so is one that decoded something else
    before its beginning than the range before it.
    """

    def __init__(
        self, settings: RangeSettings, cuts: Sequence[int], frame_hz: int, processes: int
    ) -> None:
        """`cuts` are the first grid points of the ranges after the first."""
        self._settings, self._hz = settings, frame_hz
        bounds = (0, *cuts, None)
        self._jobs = [
            RangeJob(number, 0, first or 0, stop, None, TurnState())
            for number, (first, stop) in enumerate(pairwise(bounds))
        ]
        self._waiting = deque(range(len(self._jobs)))
        self._inbox = [deque[Message]() for _ in self._jobs]
        self._skip = [0] * len(self._jobs)
        """Messages of a range that were taken already when it was perceived again."""
        self._deaths = [0] * len(self._jobs)
        self._run_ups = [0] * len(self._jobs)
        self._short = 0
        """Ranges whose first run-up was too short."""
        self._turn = TurnState()
        self._current, self._taken = 0, 0
        """The range whose messages are taken, and how many were."""
        self._seam: Seam | None = None
        """What was decoded before the current range."""
        self._reached_us = 0
        self._stopped = False
        self._processes: dict[Connection, _Process] = {}
        for _ in range(min(processes, len(self._jobs))):
            self._start()

    def until(self, t_us: int) -> Iterator[Observed | Turned | RangeEnd]:
        """Wait for what was perceived up to `t_us`, and yield it in order; nothing after `stop`.

        Raises the error of a range, or `ProcessDied`.
        """
        while self._reached_us < t_us and self._current < len(self._jobs):
            message = self._next()
            match message:
                case None:
                    return
                case RangeBegun():
                    if not _match(self._seam, message.seam) and self._can_decode_more():
                        self._decode_more()
                case Observed(last=True) if t_us < FOREVER_US:
                    # Where the recording ends is not known before its sound has been read.
                    self._inbox[self._current].appendleft(message)
                    self._taken -= 1
                    return
                case Observed():
                    self._reached_us = time_of_point(message.observations[-1][0].stop, self._hz)
                    yield message
                case Turned():
                    yield message
                case RangeEnd():
                    self._seam = message.seam
                    yield message
                case RangeDone():
                    self._current, self._taken = self._current + 1, 0
                case Exception():
                    if self._taken > 1 or not self._can_decode_more():
                        raise message
                    self._decode_more()

    def stop(self) -> None:
        """Let `until` end soon, from any thread."""
        self._stopped = True

    def close(self) -> None:
        """End all processes. Nobody may be in `until`."""
        for one in self._processes.values():
            one.connection.close()
        for one in self._processes.values():
            one.end()
        self._processes.clear()

    def _next(self) -> Message | None:
        """The next message of the current range; None after `stop`."""
        while not self._stopped:
            if self._inbox[self._current]:
                self._taken += 1
                return self._inbox[self._current].popleft()
            self._give_out()
            self._receive()
        return None

    def _give_out(self) -> None:
        """Give ranges to processes that have none."""
        for one in self._processes.values():
            if one.job is None and self._waiting and self._may_begin(self._waiting[0]):
                job = self._jobs[self._waiting.popleft()]
                if job.attempt == 0:
                    self._run_ups[job.number] = int(self._short >= _TOO_SHORT)
                    job = replace(job, decode_from_us=self._from_us(job), turn=self._turn)
                    self._jobs[job.number] = job
                one.job = job
                one.send(job)

    def _may_begin(self, number: int) -> bool:
        """Only a few ranges run ahead, and none before it is known whether the recording lies on its side."""
        ahead = 0 if self._turn.quarters is None else len(self._processes)
        return number <= self._current + ahead

    def _from_us(self, job: RangeJob) -> int | None:
        """Where to begin to decode a range."""
        run_up_us = _RUN_UPS_US[self._run_ups[job.number]]
        if job.number == 0 or run_up_us is None:
            return None
        from_us = time_of_point(job.first, self._hz) - run_up_us
        return None if from_us <= (self._settings.start_us or 0) else from_us

    def _can_decode_more(self) -> bool:
        return self._jobs[self._current].decode_from_us is not None

    def _decode_more(self) -> None:
        """Perceive the current range again, from an earlier picture on."""
        self._short += self._run_ups[self._current] == 0
        self._run_ups[self._current] += 1
        self._again(self._current, 0)
        job = self._jobs[self._current]
        self._jobs[self._current] = replace(job, decode_from_us=self._from_us(job))
        self._taken = 0

    def _again(self, number: int, skip: int) -> None:
        """Perceive a range again, but for the first `skip` messages."""
        self._jobs[number] = replace(self._jobs[number], attempt=self._jobs[number].attempt + 1)
        self._inbox[number].clear()
        self._skip[number] = skip
        if number not in self._waiting:
            self._waiting.appendleft(number)

    def _receive(self) -> None:
        """Sort what the processes send into the ranges."""
        for ready in connection.wait(list(self._processes), timeout=_WAIT_S):
            one = self._processes[cast(Connection, ready)]
            try:
                number, attempt, message = one.connection.recv()
            except (EOFError, OSError):
                self._died(one)
                continue
            if isinstance(message, RangeDone | Exception):
                one.job = None
            if attempt == self._jobs[number].attempt:
                self._sort(number, message)

    def _sort(self, number: int, message: Message) -> None:
        if isinstance(message, RangeEnd | TurnFound) and self._turn.quarters is None:
            self._turn = message.turn
        if isinstance(message, TurnFound):
            return
        if self._skip[number]:
            self._skip[number] -= 1
        else:
            self._inbox[number].append(message)

    def _start(self) -> None:
        one = _Process(self._settings)
        self._processes[one.connection] = one

    def _died(self, one: _Process) -> None:
        """Perceive the range of a dead process again in a new one. Raises `ProcessDied` the second time.

        A process that died before its first range is replaced only if there is no other.
        """
        del self._processes[one.connection]
        status, job = one.end(), one.job
        if job is None and self._processes:
            return
        number = self._current if job is None else job.number
        self._deaths[number] += 1
        if self._deaths[number] == _TRIES:
            raise ProcessDied(
                f"{self._settings.path}: a process that perceives a part of it died {_TRIES} times"
                f" ({describe_status(status)}); if memory is short, use fewer --workers"
            )
        if job is not None and job.attempt == self._jobs[number].attempt:
            self._again(number, self._taken if number == self._current else 0)
        self._start()


def _match(before: Seam | None, after: Seam) -> bool:
    """Whether two processes decoded the same up to a cut, as far as both saw it."""
    if before is None:
        return True
    count = min(len(before), len(after))
    return before == after or (count > 0 and before[-count:] == after[-count:])
