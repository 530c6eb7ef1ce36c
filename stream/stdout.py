"""Standard output whose failures mean one thing each, whoever writes.

Left to themselves, libraries answer a reader that went away (``| head``) in several ways, Rich and
Typer by leaving with 1, and Python complains once more when it flushes at the end.
"""

from __future__ import annotations

import io
import sys
from typing import TextIO

from affectstream.stream.errors import OutputError


class ReaderGone(Exception):
    """Whoever read standard output has had enough; no failure."""


class _Stdout(io.FileIO):
    """A descriptor that fails once, in our own words; what is written after that is dropped."""

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
    """Make `sys.stdout` raise `ReaderGone` where its reader went away, `OutputError` for the rest.

    Raises `OutputError` where standard output is closed. Output that is no file, as under a test
    runner, is left alone.
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
