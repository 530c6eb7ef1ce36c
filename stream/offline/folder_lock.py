"""One process at a time writes a folder."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from filelock import FileLock, Timeout

from affectstream.stream.errors import OutputError

LOCK = ".lock"
"""The file in a folder that is being written."""


def lock_folder(folder: Path, patience_s: float) -> FileLock | None:
    """The lock of `folder`, held; None on a file system without locks. See `unlock_folder`.

    Raises `OutputError` if another process has it for longer than `patience_s`.
    """
    # Any thread may release it: the thread of a sink commits.
    lock = FileLock(folder / LOCK, timeout=patience_s, thread_local=False)
    try:
        lock.acquire()
        while not (
            folder / LOCK
        ).exists():  # its last owner removed the file while this one opened it
            lock.release()
            lock.acquire()
    except Timeout:
        raise OutputError(
            f"{folder} is being written by another process: wait for it, or choose another --output"
        ) from None
    except NotImplementedError:
        return None
    return lock


def unlock_folder(lock: FileLock | None) -> None:
    """Release the lock and remove its file; does nothing the second time."""
    if lock is not None and lock.is_locked:
        # Removed first: afterwards the file may already be the lock of another process.
        with suppress(OSError):
            Path(lock.lock_file).unlink(missing_ok=True)
        lock.release()
