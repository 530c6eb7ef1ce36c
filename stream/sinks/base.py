"""The base of sinks that write a file, which appears whole or not at all."""

from __future__ import annotations

import os
import secrets
from abc import ABC, abstractmethod
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import BinaryIO, Protocol

import pyarrow as pa

from affectstream.stream.errors import OutputError
from affectstream.stream.results.interpret import HopResult
from affectstream.stream.results.origin import Origin


class Sink(Protocol):
    """Takes the results of a source hop by hop."""

    def push(self, hop: HopResult, end_us: int) -> None:
        """Write one hop; `end_us` is where the source ends, as far as is known."""
        ...


class FileSink(ABC):
    """A file that is written under a temporary name and renamed once it is whole and on the disk.

    Every method but `discard` raises `OutputError` if the file cannot be written.
    """

    filename: str

    def __init__(self, folder: Path, origin: Origin) -> None:
        self.path = folder / self.filename
        self.origin = origin
        # A name that nobody else uses or foresees; mode x follows no link.
        self._partial = folder / f".{self.filename}.{secrets.token_hex(4)}.part"
        with writing(self.path):
            self._file: BinaryIO = self._partial.open("xb")

    @abstractmethod
    def write(self, file: BinaryIO, hop: HopResult, end_us: int) -> None:
        """Write one hop."""

    def finish(self, file: BinaryIO) -> None:
        """Write the end of the file. Does nothing unless overridden."""
        return

    def release(self) -> None:
        """Close a writer that holds the file open. Does nothing unless overridden."""
        return

    def push(self, hop: HopResult, end_us: int) -> None:
        """Write one hop."""
        with writing(self.path):
            self.write(self._file, hop, end_us)

    def commit(self) -> None:
        """Finish the file and rename it."""
        with writing(self.path):
            self.finish(self._file)
            self._file.close()  # a table writer may have closed it already
            with self._partial.open("rb+") as written:
                os.fsync(written.fileno())
            self._partial.replace(self.path)

    def discard(self) -> None:
        """Remove the unfinished file. Does nothing after `commit`, and never raises."""
        with suppress(OSError, ValueError, pa.ArrowException):
            self.release()  # closing flushes, which fails on a full disk
        with suppress(OSError):
            self._file.close()
        with suppress(OSError):
            self._partial.unlink(missing_ok=True)


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Raise `OutputError` with `path` for an error of the operating system or of Arrow."""
    try:
        yield
    except (OSError, pa.ArrowException) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise OutputError(f"cannot write {path}: {reason}") from error


def check_writable(folder: Path) -> None:
    """Raise `OutputError` if `folder` cannot be made, or nothing be written into it; leave nothing there.

    For commands that compute long before they write.
    """
    folder = folder.absolute()
    there = next(path for path in (folder, *folder.parents) if path.exists())
    with writing(folder), TemporaryDirectory(prefix=".", dir=there):
        pass
