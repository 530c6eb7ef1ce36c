"""Writes files completely or not at all."""

from __future__ import annotations

import errno
import os
import secrets
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path


@contextmanager
def replacing(path: Path) -> Iterator[Path]:
    """A new path beside `path`, of a name that nobody else uses or foresees. It replaces `path` at the end
    of the block, or is deleted if that raises.

    Raises `OSError` for a device or a pipe, which a file would replace.
    """
    if path.exists() and not path.is_file() and not path.is_dir():
        raise OSError(errno.EINVAL, "a device or a pipe; expected a file", str(path))
    scratch = path.with_name(f"{path.name}.{secrets.token_hex(4)}.tmp")
    try:
        yield scratch
        scratch.replace(path)
    finally:
        scratch.unlink(missing_ok=True)


def write_atomic(path: Path, content: bytes) -> None:
    """Write `content` to `path`, completely or not at all."""
    with replacing(path) as scratch, scratch.open("xb") as file:
        file.write(content)
        file.flush()
        os.fsync(file.fileno())
