"""Reads and writes files that no other user can change, because plans are code."""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Iterator
from pathlib import Path

from affectstream.engines.errors import PlanError

# Not on Windows, whose access lists these checks cannot read. There the system closes a user's cache folder,
# which is the default, to other users.
_CHECKED = sys.platform != "win32"


def make_private(folder: Path) -> None:
    """Create `folder` for this user alone, unless it exists. Raises `PlanError`."""
    try:
        folder.parent.mkdir(parents=True, exist_ok=True)
        folder.mkdir(mode=0o700, exist_ok=True)
    except OSError as error:
        raise PlanError(
            f"{folder} cannot be created: {error}; name another folder in AFFECTSTREAM_HOME"
        ) from error
    check_private(folder)


def check_private(folder: Path) -> None:
    """Raise `PlanError` when another user can write in `folder`, or put another folder in its place.

    This user must own `folder`. The folders above it, and those on the way of a symbolic link, belong to this
    user or to root, and nobody else can rename what lies in them.
    """
    _check(folder, folder.stat())
    for above in dict.fromkeys(_folders_above(folder.absolute())):
        _check_above(above, folder)


def _folders_above(path: Path) -> Iterator[Path]:
    for step in (path, *path.parents):
        yield step.parent
        if step.is_symlink():
            yield from _folders_above(step.parent / step.readlink())


def _check_above(above: Path, folder: Path) -> None:
    if not _CHECKED:
        return
    info = above.stat()
    advice = "a plan is code, so its folder must be safe"
    # In a container the owner of / may have another number than 0.
    if info.st_uid not in (os.geteuid(), 0, Path("/").stat().st_uid):
        raise PlanError(
            f"{above} belongs to user {info.st_uid}, who can replace {folder}: {advice}: name another "
            "folder in AFFECTSTREAM_HOME"
        )
    # In a folder such as /tmp, with the sticky bit, only the owner renames a file.
    if info.st_mode & (stat.S_IWGRP | stat.S_IWOTH) and not info.st_mode & stat.S_ISVTX:
        raise PlanError(
            f"{above} can be written by other users (mode {stat.S_IMODE(info.st_mode):o}), who can replace "
            f"{folder}: {advice}: chmod go-w {above}, or name another folder in AFFECTSTREAM_HOME"
        )


def read_private(path: Path) -> bytes:
    """The content of `path`.

    Raises `PlanError` unless this user owns the file and its folder and no other user can write them, and
    `FileNotFoundError` when there is no file.
    """
    check_private(path.parent)
    with path.open("rb") as file:
        info = os.fstat(file.fileno())  # of the open file, which is what we read
        if not stat.S_ISREG(info.st_mode):
            raise PlanError(f"{path} is not a plain file: remove it")
        _check(path, info)
        return file.read()


def write_private(path: Path, content: bytes) -> None:
    """Write `path` completely or not at all; it is on the disk when this returns."""
    scratch = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        number = os.open(scratch, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(number, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(file.fileno())
        scratch.replace(path)
    except OSError as error:
        raise PlanError(f"{path} cannot be written: {error}") from error
    finally:
        scratch.unlink(missing_ok=True)
    if _CHECKED:  # sync the new name too
        folder = os.open(path.parent, os.O_RDONLY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)


def _check(path: Path, info: os.stat_result) -> None:
    if not _CHECKED:
        return
    if info.st_uid != os.geteuid():
        raise PlanError(
            f"{path} belongs to user {info.st_uid}, you are {os.geteuid()}: a plan is code, so it is loaded "
            "from your own folders only; remove it, or name another folder in AFFECTSTREAM_HOME"
        )
    if info.st_mode & (stat.S_IWGRP | stat.S_IWOTH):
        raise PlanError(
            f"{path} can be written by other users (mode {stat.S_IMODE(info.st_mode):o}): a plan is code; "
            f"if nobody has changed it: chmod go-w {path}"
        )
