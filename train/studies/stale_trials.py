"""Trials of a study whose process died: its file calls them running until somebody says otherwise.

Whoever works on a study holds a shared lock beside it, which the system takes away from a process that is
gone, however it went. So where nobody else holds one, nothing can be running. (A heartbeat would have to
wait, and would take a machine that slept for one that died.)
"""

from __future__ import annotations

import fcntl
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

from affectstream.stream.sinks.base import writing

if TYPE_CHECKING:
    import optuna

LOCK = "lock"


@contextmanager
def join_study(study: optuna.Study, folder: Path) -> Iterator[list[int]]:
    """Take part in `study`, whose lock is in `folder`.

    Gives the numbers of trials that were left behind, which are failed ones now; none where another process
    is at work, since those may be its own. Raises `OutputError` where the disk refuses.
    """
    with writing(folder / LOCK):
        file = (folder / LOCK).open("ab")
    with file:
        left = _failed(study) if _alone(file.fileno()) else []
        with suppress(OSError):
            fcntl.flock(file, fcntl.LOCK_SH)
        yield left


def _alone(lock: int) -> bool:
    """Whether nobody else holds the lock. Where the disk knows no locks nobody can say so."""
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _failed(study: optuna.Study) -> list[int]:
    """Call every running trial failed; returns their numbers."""
    from optuna.trial import TrialState

    running = study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
    for trial in running:
        study.tell(trial.number, state=TrialState.FAIL)
    return [trial.number for trial in running]
