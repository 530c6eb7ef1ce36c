"""Trials of a study whose process died: the database still calls them running.

Each process that works on a study holds a shared lock on a file beside it; the system releases the lock when
the process ends, however it ends. So if nobody else holds the lock, no trial can be running. (A heartbeat
would have to wait, and would take a machine that slept for a dead one.)
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
    """Work on `study`, whose lock is in `folder`; yields the numbers of its stale trials.

    Stale trials are marked as failed. If another process works on the study, running trials may be its own,
    and none is stale. Raises `OutputError` where the disk refuses.
    """
    with writing(folder / LOCK):
        file = (folder / LOCK).open("ab")
    with file:
        stale = _fail_running(study) if _is_alone(file.fileno()) else []
        with suppress(OSError):
            fcntl.flock(file, fcntl.LOCK_SH)
        yield stale


def _is_alone(lock: int) -> bool:
    """Whether nobody else holds the lock; False on a file system without locks."""
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        return False
    return True


def _fail_running(study: optuna.Study) -> list[int]:
    """Mark every running trial as failed; returns their numbers."""
    from optuna.trial import TrialState

    running = study.get_trials(deepcopy=False, states=(TrialState.RUNNING,))
    for trial in running:
        study.tell(trial.number, state=TrialState.FAIL)
    return [trial.number for trial in running]
