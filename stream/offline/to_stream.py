"""Scoring files one after another, events to one stream, with progress, messages and an exit code."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

from rich.console import Console
from rich.text import Text

from affectstream.engines.spans import span
from affectstream.stream import exits
from affectstream.stream.errors import OutputError
from affectstream.stream.events import Stream
from affectstream.stream.loaded import LoadedBundle
from affectstream.stream.offline.failure import Failure, failure_of
from affectstream.stream.offline.progress import FileProgress, ProgressDisplay
from affectstream.stream.offline.session import Session
from affectstream.stream.options import SourceOptions
from affectstream.stream.ranges.opening import RangeOptions
from affectstream.stream.sinks.base import Sink
from affectstream.stream.stdout import ReaderGone


class Interrupted(Exception):
    """Ctrl-C was pressed; the results until then have been kept."""


@dataclass(slots=True)
class Tally:
    """What became of the files so far."""

    total: int
    complete: int = 0
    incomplete: int = 0
    failed: int = 0
    misused: int = 0
    """Failed files that the options do not fit."""
    unforeseen: int = 0
    """Failed files whose error is a defect of this program."""
    media_s: float = 0.0

    def add_failure(self, failure: Failure) -> None:
        """Count a file without results."""
        self.failed += 1
        self.misused += failure.kind == "option"
        self.unforeseen += failure.kind in ("program", "crash")

    @property
    def exit_code(self) -> int:
        """The exit code of the command."""
        if self.total and self.misused == self.total:
            return exits.USAGE
        if self.total and self.failed == self.total and not self.unforeseen:
            return exits.NOTHING
        return exits.PARTLY if self.failed or self.incomplete else exits.DONE

    def summary(self, wall_s: float) -> str:
        """One line for people."""
        parts = [
            f"{self.complete} of {self.total} {'file' if self.total == 1 else 'files'} complete",
            *([f"{self.incomplete} incomplete"] if self.incomplete else ()),
            *([f"{self.failed} failed"] if self.failed else ()),
        ]
        return f"{', '.join(parts)}: {self.media_s:.1f} s of media in {wall_s:.1f} s"


def score_files(
    recognizer: LoadedBundle,
    files: Iterable[Path],
    options: SourceOptions,
    events: Sink,
    console: Console | None = None,
    *,
    progress: bool = True,
    ranges: int = 1,
) -> int:
    """Score each of `files` once, send all events to `events`, and return the exit code. Whatever happens in
    one, the others are scored.

    `ranges` is the number of processes that perceive ranges of a long recording; 1: none. Messages, and with
    `progress` how far it is, go to `console` (stderr). Raises `OutputError` if `events` cannot be written.
    """
    paths = tuple(dict.fromkeys(files))
    console = console or stderr_console()
    tally, began_s = Tally(len(paths)), time.monotonic()
    with single_interrupt(), ProgressDisplay(console, len(paths), enabled=progress) as display:
        for path in paths:
            try:
                with Session(
                    recognizer.bundle,
                    path,
                    options,
                    recognizer.threads,
                    ranges=RangeOptions(ranges, recognizer.choice.device),
                ) as session:
                    ended = _to_sink(session, events, display.file(session.name, session.span))
                tally.complete += bool(ended.complete)
                tally.incomplete += not ended.complete
                tally.media_s += ended.t_end - ended.t_start
            except Interrupted:
                console.print(
                    f"interrupted in {path}: the results so far are kept, marked incomplete"
                )
                return exits.INTERRUPTED
            except (ReaderGone, BrokenPipeError, _StreamFailed):
                raise
            except Exception as error:
                failure = failure_of(path, error)
                tally.add_failure(failure)
                console.print(f"error: {failure.message(path)}", style="red")
    if tally.total > 1 or not tally.failed:
        console.print(tally.summary(time.monotonic() - began_s))
    return tally.exit_code


class _StreamFailed(OutputError):
    """The one stream for the events of all files cannot be written."""


def _to_sink(session: Session, sink: Sink, progress: FileProgress) -> Stream:
    try:
        return _score(session, sink, progress)
    except OutputError as error:
        raise _StreamFailed(str(error)) from error
    except KeyboardInterrupt:
        with suppress(ReaderGone):
            sink.push(session.interrupt(), session.results_end_us)
        raise Interrupted from None


def _score(session: Session, sink: Sink, progress: FileProgress) -> Stream:
    """Push every hop to `sink`, print warnings, and return the `ended` event."""
    with progress:
        for hop in session:
            with span("emit", len(hop.events)):
                sink.push(hop, session.results_end_us)
            if hop.readings:
                progress.advance(hop.readings[0][0].end_us)
            for event in hop.events:
                if isinstance(event, Stream) and event.detail is not None:
                    progress.print(f"warning: {session.name}: {event.detail}")
        assert session.ended is not None
        if gaps := session.ended.counts["gaps"]:
            count = "1 gap" if gaps == 1 else f"{gaps} gaps"
            progress.print(f"warning: {session.name}: {count} in it: see its gap events")
    return session.ended


class _PlainConsole(Console):
    """Prints no control characters, which a file name or a message of FFmpeg may hold."""

    def render_str(self, text: str, **more: Any) -> Text:
        """See `Console`."""
        plain = "".join(c if c.isprintable() or c in "\n\t" else "\ufffd" for c in text)
        return super().render_str(plain, **more)


def stderr_console() -> Console:
    """Where messages and progress go."""
    return _PlainConsole(stderr=True, markup=False, highlight=False, soft_wrap=True)


@contextmanager
def single_interrupt() -> Iterator[None]:
    """Let only the first Ctrl-C interrupt, since results are being saved after it."""

    def interrupt(number: int, frame: FrameType | None) -> None:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        raise KeyboardInterrupt

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, interrupt)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
