"""Scoring files one after another, with progress, messages and an exit code."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from types import FrameType
from typing import BinaryIO

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

from affectstream.engines.errors import AffectstreamError
from affectstream.stream import exits
from affectstream.stream.errors import OptionError
from affectstream.stream.events import Stream
from affectstream.stream.loaded import LoadedBundle
from affectstream.stream.offline.output import OutputFolder, folder_names
from affectstream.stream.offline.session import Session
from affectstream.stream.options import SourceOptions
from affectstream.stream.sinks import Format
from affectstream.stream.sinks.jsonl import JsonlStream
from affectstream.stream.stdout import ReaderGone


class Interrupted(Exception):
    """Ctrl-C was pressed; the results until then have been kept."""


def score_files(
    recognizer: LoadedBundle,
    files: Iterable[Path],
    options: SourceOptions,
    output: Path | None,
    formats: Sequence[Format],
    stdout: BinaryIO,
    console: Console | None = None,
) -> int:
    """Score each of `files` once and return the exit code.

    Results go to a folder for each file in `output`, in `formats`; without `output`, events go to `stdout`.
    Messages go to `console` (stderr). Raises `OptionError` for options that do not fit a file.
    """
    paths = tuple(dict.fromkeys(files))
    console = console or Console(stderr=True, markup=False, highlight=False, soft_wrap=True)
    failed = incomplete = 0
    with _single_interrupt(), _progress(console) as progress:
        for path, name in zip(paths, folder_names(paths), strict=True):
            try:
                with Session(recognizer.bundle, path, options, recognizer.threads) as session:
                    if output is None:
                        ended = _to_stream(session, JsonlStream(stdout), progress)
                    else:
                        with OutputFolder(output / name, formats, recognizer) as folder:
                            ended = _to_folder(session, folder, path, progress)
                incomplete += not ended.complete
            except Interrupted:
                console.print(
                    f"interrupted in {path}: the results so far are kept, marked incomplete"
                )
                return exits.INTERRUPTED
            except OptionError:
                raise
            except AffectstreamError as error:
                failed += 1
                console.print(f"error: {error}", style="red")
    if failed == len(paths):
        return exits.NOTHING
    return exits.PARTLY if failed or incomplete else exits.DONE


def _to_folder(session: Session, folder: OutputFolder, path: Path, progress: Progress) -> Stream:
    try:
        ended = _score(session, folder, progress)
    except KeyboardInterrupt:
        last = session.interrupt()
        folder.push(last, session.end_us)
        folder.commit(path, _ended(session))
        raise Interrupted from None
    folder.commit(path, ended)
    return ended


def _to_stream(session: Session, sink: JsonlStream, progress: Progress) -> Stream:
    try:
        return _score(session, sink, progress)
    except KeyboardInterrupt:
        with suppress(ReaderGone):
            sink.push(session.interrupt(), session.end_us)
        raise Interrupted from None


def _score(session: Session, sink: OutputFolder | JsonlStream, progress: Progress) -> Stream:
    """Push every hop to `sink`, print warnings, and return the `ended` event."""
    start_us, end_us = session.span
    task = progress.add_task(session.name, total=None if end_us is None else end_us - start_us)
    try:
        for hop in session:
            sink.push(hop, session.end_us)
            if hop.readings:
                progress.update(task, completed=hop.readings[0][0].end_us - start_us)
            for event in hop.events:
                if isinstance(event, Stream) and event.detail is not None:
                    progress.console.print(f"warning: {session.name}: {event.detail}")
        ended = _ended(session)
        if gaps := ended.counts["gaps"]:
            count = "1 gap" if gaps == 1 else f"{gaps} gaps"
            progress.console.print(f"warning: {session.name}: {count} in it: see its gap events")
        return ended
    finally:
        progress.remove_task(task)


def _ended(session: Session) -> Stream:
    assert session.ended is not None
    return session.ended


def _progress(console: Console) -> Progress:
    return Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TextColumn("{task.percentage:3.0f}%"),
        TimeRemainingColumn(),
        console=console,
        transient=True,
        disable=not console.is_terminal,
    )


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
