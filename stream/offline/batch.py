"""Scoring files one after another, with progress, messages and an exit code."""

from __future__ import annotations

import signal
import tempfile
import threading
import time
import traceback
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from pathlib import Path
from types import FrameType

from rich.console import Console

from affectstream.engines.errors import AffectstreamError
from affectstream.stream import exits
from affectstream.stream.errors import OutputError, UsageError
from affectstream.stream.events import Stream
from affectstream.stream.loaded import LoadedBundle
from affectstream.stream.offline.output import TRACEBACK, OutputFolder, folder_names
from affectstream.stream.offline.progress import FileProgress, ProgressDisplay
from affectstream.stream.offline.session import Session
from affectstream.stream.options import SourceOptions
from affectstream.stream.sinks import Format
from affectstream.stream.sinks.base import Sink
from affectstream.stream.stdout import ReaderGone


class Interrupted(Exception):
    """Ctrl-C was pressed; the results until then have been kept."""


@dataclass(slots=True)
class _Outcome:
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

    @property
    def exit_code(self) -> int:
        if self.misused == self.total:
            return exits.USAGE
        if self.failed == self.total and not self.unforeseen:
            return exits.NOTHING
        return exits.PARTLY if self.failed or self.incomplete else exits.DONE

    def summary(self, wall_s: float, output: Path | None) -> str:
        parts = [
            f"{self.complete} of {self.total} {'file' if self.total == 1 else 'files'} complete",
            *([f"{self.incomplete} incomplete"] if self.incomplete else ()),
            *([f"{self.failed} failed"] if self.failed else ()),
        ]
        where = "" if output is None else f"; results in {output}"
        return f"{', '.join(parts)}: {self.media_s:.1f} s of media in {wall_s:.1f} s{where}"


def score_files(
    recognizer: LoadedBundle,
    files: Iterable[Path],
    options: SourceOptions,
    output: Path | None,
    formats: Sequence[Format],
    events: Sink,
    console: Console | None = None,
    *,
    progress: bool = True,
) -> int:
    """Score each of `files` once and return the exit code. Whatever happens in one, the others are scored.

    Results go to a folder for each file in `output`, in `formats`; without `output`, events go to `events`.
    Messages, and with `progress` how far it is, go to `console` (stderr). Raises `OutputError` if `events`
    cannot be written.
    """
    paths = tuple(dict.fromkeys(files))
    console = console or Console(stderr=True, markup=False, highlight=False, soft_wrap=True)
    outcome, began_s = _Outcome(len(paths)), time.monotonic()
    with _single_interrupt(), ProgressDisplay(console, len(paths), enabled=progress) as display:
        for path, name in zip(paths, folder_names(paths), strict=True):
            folder = None if output is None else output / name
            try:
                with Session(recognizer.bundle, path, options, recognizer.threads) as session:
                    one = display.file(session.name, session.span)
                    if folder is None:
                        ended = _to_sink(session, events, one)
                    else:
                        inputs = [*paths, *filter(None, (session.transcript_file,))]
                        with OutputFolder(
                            folder, formats, recognizer, session.name, options, inputs=inputs
                        ) as opened:
                            ended = _to_folder(session, opened, path, one)
                outcome.complete += bool(ended.complete)
                outcome.incomplete += not ended.complete
                outcome.media_s += ended.t_end - ended.t_start
            except Interrupted:
                console.print(
                    f"interrupted in {path}: the results so far are kept, marked incomplete"
                )
                return exits.INTERRUPTED
            except (ReaderGone, BrokenPipeError, _StreamFailed):
                raise
            except Exception as error:
                outcome.failed += 1
                outcome.misused += isinstance(error, UsageError)
                outcome.unforeseen += not isinstance(error, AffectstreamError)
                console.print(f"error: {_message(path, error, folder)}", style="red")
    if outcome.total > 1 or not outcome.failed:
        console.print(outcome.summary(time.monotonic() - began_s, output))
    return outcome.exit_code


class _StreamFailed(OutputError):
    """The one stream for the events of all files cannot be written."""


def _to_folder(
    session: Session, folder: OutputFolder, path: Path, progress: FileProgress
) -> Stream:
    try:
        ended = _score(session, folder, progress)
    except KeyboardInterrupt:
        last = session.interrupt()
        folder.push(last, session.end_us)
        folder.commit(path, _ended(session), session.words)
        raise Interrupted from None
    folder.commit(path, ended, session.words)
    return ended


def _to_sink(session: Session, sink: Sink, progress: FileProgress) -> Stream:
    try:
        return _score(session, sink, progress)
    except OutputError as error:
        raise _StreamFailed(str(error)) from error
    except KeyboardInterrupt:
        with suppress(ReaderGone):
            sink.push(session.interrupt(), session.end_us)
        raise Interrupted from None


def _score(session: Session, sink: Sink, progress: FileProgress) -> Stream:
    """Push every hop to `sink`, print warnings, and return the `ended` event."""
    with progress:
        for hop in session:
            sink.push(hop, session.end_us)
            if hop.readings:
                progress.advance(hop.readings[0][0].end_us)
            for event in hop.events:
                if isinstance(event, Stream) and event.detail is not None:
                    progress.print(f"warning: {session.name}: {event.detail}")
        ended = _ended(session)
        if gaps := ended.counts["gaps"]:
            count = "1 gap" if gaps == 1 else f"{gaps} gaps"
            progress.print(f"warning: {session.name}: {count} in it: see its gap events")
    return ended


def _ended(session: Session) -> Stream:
    assert session.ended is not None
    return session.ended


def _message(path: Path, error: Exception, folder: Path | None) -> str:
    """What went wrong in the file `path`. An unexpected error leaves its traceback in a file."""
    if isinstance(error, AffectstreamError):
        text = str(error)
        return text if str(path) in text else f"{path}: {text}"
    kind = type(error).__name__
    text = f"{path}: unexpected error, a defect of affectstream: {kind}: {error}".removesuffix(": ")
    where = _write_traceback(error, folder)
    if where is None:
        return f"{text}; please report it with this traceback, which no file could take:\n{_trace(error)}"
    return f"{text}; please report it with the traceback in {where}"


def _trace(error: Exception) -> str:
    return "".join(traceback.format_exception(error))


def _write_traceback(error: Exception, folder: Path | None) -> Path | None:
    """Write the traceback to `folder`, or else to the system's folder for temporary files."""
    content = _trace(error).encode("utf-8", "backslashreplace")
    if folder is not None and folder.is_dir():
        file = folder / TRACEBACK
        with suppress(OSError):
            file.unlink(missing_ok=True)
            with file.open("xb") as opened:
                opened.write(content)
            return file
    with (
        suppress(OSError),
        tempfile.NamedTemporaryFile(
            prefix="affectstream-", suffix=".txt", delete=False
        ) as temporary,
    ):
        temporary.write(content)
        return Path(temporary.name)
    return None


@contextmanager
def _single_interrupt() -> Iterator[None]:
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
