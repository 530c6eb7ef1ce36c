"""The contract of a sink, and files that appear whole or not at all."""

from __future__ import annotations

import os
from abc import ABC, abstractmethod
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO

import pyarrow as pa

from affectstream.stream.errors import OutputError
from affectstream.stream.results.interpret import HopResult


class FileSink(ABC):
    """A file written beside its name and renamed once it is whole and on the disk.

    Every method raises `OutputError` where the disk refuses.
    """

    filename: str

    def __init__(self, folder: Path, labels: Sequence[str]) -> None:
        self.path = folder / self.filename
        self.labels = tuple(labels)
        self._beside = folder / f".{self.filename}.part"
        with writing(self.path):
            self._file: BinaryIO = self._beside.open("wb")

    @abstractmethod
    def write(self, file: BinaryIO, hop: HopResult, end_us: int) -> None:
        """Write one hop."""

    def finish(self, file: BinaryIO) -> None:
        """Write what comes last. Nothing unless overridden."""
        return

    def release(self) -> None:
        """Let go of a writer that holds the file. Nothing unless overridden."""
        return

    def push(self, hop: HopResult, end_us: int) -> None:
        """Write one hop."""
        with writing(self.path):
            self.write(self._file, hop, end_us)

    def commit(self) -> None:
        """Finish the file and give it its name."""
        with writing(self.path):
            self.finish(self._file)
            self._file.close()  # a table writer may have closed it already
            with self._beside.open("rb+") as written:
                os.fsync(written.fileno())
            self._beside.replace(self.path)

    def discard(self) -> None:
        """Remove the unfinished file. Does nothing after `commit`, and never raises."""
        with suppress(OSError, ValueError, pa.ArrowException):
            self.release()  # closing flushes, which a full disk refuses
        with suppress(OSError):
            self._file.close()
        self._beside.unlink(missing_ok=True)


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Turn the operating system's refusals into `OutputError`, naming `path`."""
    try:
        yield
    except (OSError, pa.ArrowException) as error:
        reason = getattr(error, "strerror", None) or str(error)
        raise OutputError(f"cannot write {path}: {reason}") from error
