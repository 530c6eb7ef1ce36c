"""Standard output that fails in one way for each reason, whichever library writes.

Without this, libraries react differently to a reader that has gone (``| head``): Rich and Typer exit with 1,
and Python prints another error when it flushes at the end.
"""

from __future__ import annotations

import io
import sys
from typing import TextIO

from affectstream.stream.errors import OutputError


class ReaderGone(Exception):
    """The reader of standard output has closed it. This is no error."""


class _Stdout(io.FileIO):
    """A file descriptor that raises once; later writes are dropped."""

    def __init__(self, descriptor: int) -> None:
        super().__init__(descriptor, "w", closefd=False)
        self._lost = False

    def write(self, data: object) -> int:
        size = memoryview(data).nbytes  # type: ignore[arg-type]
        if self._lost:
            return size
        try:
            return super().write(data)  # type: ignore[arg-type]
        except BrokenPipeError:
            self._lost = True
            raise ReaderGone from None
        except BlockingIOError:
            raise
        except OSError as error:
            self._lost = True
            raise OutputError(f"cannot write to standard output: {error.strerror}") from error


def guard_stdout() -> None:
    """Make `sys.stdout` raise `ReaderGone` if its reader has gone, `OutputError` for other failures.

    Raises `OutputError` if standard output is closed. Does nothing if `sys.stdout` was replaced, as by a
    test runner.
    """
    if sys.stdout is None:
        raise OutputError("standard output is closed; send it somewhere, to /dev/null for example")
    out: TextIO = sys.stdout
    if sys.__stdout__ is None or out is not sys.__stdout__:
        return
    out.flush()
    sys.stdout = io.TextIOWrapper(
        io.BufferedWriter(_Stdout(out.fileno())),
        encoding=out.encoding,
        errors=out.errors,
        line_buffering=out.isatty(),
    )
