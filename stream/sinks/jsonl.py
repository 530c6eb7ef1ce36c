"""Events as JSON Lines, into a file or down a stream such as standard output."""

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
        """One line for each event."""
        file.writelines(encode(event) + b"\n" for event in hop.events)


class Lines(Protocol):
    """What takes lines: any open binary stream."""

    def writelines(self, lines: Iterable[bytes], /) -> None:
        """Write all of them."""
        ...

    def flush(self) -> None:
        """Hold nothing back."""
        ...


class JsonlStream:
    """Events to an open binary stream, flushed hop by hop: the reader sees each when it is known."""

    def __init__(self, stream: Lines) -> None:
        self._stream = stream

    def push(self, hop: HopResult, end_us: int) -> None:
        """One line for each event.

        Raises `BrokenPipeError` once nobody reads, `OutputError` where it cannot be written.
        """
        try:
            self._stream.writelines(encode(event) + b"\n" for event in hop.events)
            self._stream.flush()
        except BrokenPipeError:
            raise
        except OSError as error:
            raise OutputError(f"cannot write events: {error.strerror}") from error
