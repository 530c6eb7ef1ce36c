"""Events as JSON Lines, in a file or on a stream such as standard output."""

from __future__ import annotations

from collections.abc import Iterable
from typing import BinaryIO, Protocol

from affectstream.stream.errors import OutputError
from affectstream.stream.events import encode
from affectstream.stream.results.interpret import HopResult
from affectstream.stream.sinks.base import FileSink


class JsonlFile(FileSink):
    """`events.jsonl`: every event, in order."""

    filename = "events.jsonl"

    def write(self, file: BinaryIO, hop: HopResult, end_us: int) -> None:
        """Write a line for each event."""
        file.writelines(encode(event) + b"\n" for event in hop.events)


class BinaryStream(Protocol):
    """The methods of an open binary stream that `JsonlStream` uses."""

    def writelines(self, lines: Iterable[bytes], /) -> None:
        """Write all lines."""
        ...

    def flush(self) -> None:
        """Write what is buffered."""
        ...


class JsonlStream:
    """Events on an open binary stream, flushed after each hop so that the reader gets them at once."""

    def __init__(self, stream: BinaryStream) -> None:
        self._stream = stream

    def push(self, hop: HopResult, end_us: int) -> None:
        """Write a line for each event.

        Raises `BrokenPipeError` if the reader is gone, `OutputError` if the stream cannot be written.
        """
        try:
            self._stream.writelines(encode(event) + b"\n" for event in hop.events)
            self._stream.flush()
        except BrokenPipeError:
            raise
        except OSError as error:
            raise OutputError(f"cannot write events: {error.strerror}") from error
