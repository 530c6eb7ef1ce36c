"""What all processes of one server know of each worker: a small file that each maps into its memory.

Each number has one writer: a worker writes its sessions, the parent writes the rest.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal

import numpy as np

_SESSIONS, _STARTS, _READY = range(3)


@dataclass(frozen=True, slots=True)
class WorkerState:
    """One worker, numbered from 1, at one moment."""

    number: int
    sessions: int
    max_sessions: int
    starts: int
    """How often it was started."""
    ready: bool
    """Whether it serves; no longer once it has died."""

    @property
    def free(self) -> int:
        """How many more sessions it can open."""
        return max(0, self.max_sessions - self.sessions) if self.ready else 0


class Board:
    """The state of every worker."""

    def __init__(self, path: Path, shares: Sequence[int]) -> None:
        """`shares` are the most sessions of each worker. The file is created by the first process."""
        self.shares = tuple(shares)
        mode: Literal["r+", "w+"] = "r+" if path.exists() else "w+"
        self._values = np.memmap(path, dtype=np.int64, mode=mode, shape=(len(self.shares), 3))

    @property
    def states(self) -> list[WorkerState]:
        """All workers in the order of their numbers."""
        return [self.state(number) for number in range(1, len(self.shares) + 1)]

    @property
    def max_sessions(self) -> int:
        """The most sessions of the whole server."""
        return sum(self.shares)

    @property
    def full(self) -> bool:
        """Whether no worker can open one more session."""
        return not any(state.free for state in self.states)

    def state(self, number: int) -> WorkerState:
        """Worker `number`, from 1 on."""
        row = self._values[number - 1]
        return WorkerState(
            number,
            int(row[_SESSIONS]),
            self.shares[number - 1],
            int(row[_STARTS]),
            bool(row[_READY]),
        )

    def set_sessions(self, number: int, count: int) -> None:
        """Worker `number` has `count` sessions, those that end included."""
        self._values[number - 1, _SESSIONS] = count

    def set_ready(self, number: int, ready: bool) -> None:
        """Worker `number` serves, or no longer does."""
        self._values[number - 1, _READY] = ready

    def count_start(self, number: int) -> None:
        """Worker `number` is started (again): it has no session."""
        self._values[number - 1] = (0, self._values[number - 1, _STARTS] + 1, 0)


def divide(max_sessions: int, workers: int) -> tuple[int, ...]:
    """The most sessions of each worker: equal shares, the first ones get what is left over."""
    share, over = divmod(max_sessions, workers)
    return tuple(share + (number < over) for number in range(workers))
