"""Scoring files one after the other: progress, results, and what became of each."""

from __future__ import annotations

import signal
import threading
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
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
from affectstream.stream.sinks import JsonlStream
from affectstream.stream.stdout import ReaderGone


@dataclass(frozen=True, slots=True)
class Job:
    """Files to score and how. Without `output` the events go to a stream."""

    files: tuple[Path, ...]
    options: SourceOptions
    bundle: str
    device: str
    threads: int | None
    output: Path | None
    formats: Sequence[str]


class Interrupted(Exception):
    """Ctrl-C came; what was done until then has been kept."""


def score_files(job: Job, stdout: BinaryIO, console: Console | None = None) -> int:
    """Score every file and return the exit code. Messages go to `console` (stderr)."""
    if job.options.transcript is not None and len(set(job.files)) > 1:
        raise OptionError("one transcript cannot serve several recordings: score them one by one")
    files = tuple(dict.fromkeys(job.files))  # a file that is named twice is scored once
    console = console or Console(stderr=True, markup=False, highlight=False, soft_wrap=True)
    failed = early = 0
    with (
        _one_interrupt(),
        LoadedBundle.open(job.bundle, device=job.device, threads=job.threads) as recognizer,
        Progress(
            TextColumn("{task.description}", markup=False),
            BarColumn(),
            TextColumn("{task.percentage:3.0f}%"),
            TimeRemainingColumn(),
            console=console,
            transient=True,
            disable=not console.is_terminal,
        ) as progress,
    ):
        for path, name in zip(files, folder_names(files), strict=True):
            try:
                complete = _score_one(job, recognizer, path, name, stdout, progress)
                early += not complete
            except Interrupted:
                console.print(f"interrupted in {path}: what was done is kept, marked incomplete")
                return exits.INTERRUPTED
            except OptionError:
                raise
            except AffectstreamError as error:
                failed += 1
                console.print(f"error: {error}", style="red")
    if failed == len(files):
        return exits.NOTHING
    return exits.PARTLY if failed or early else exits.DONE


def _score_one(
    job: Job,
    recognizer: LoadedBundle,
    path: Path,
    name: str,
    stdout: BinaryIO,
    progress: Progress,
) -> bool:
    """Score one file; whether it was read to its end."""
    with Session(recognizer.bundle, path, job.options, recognizer.threads) as session:
        if job.output is None:
            return _to_stream(session, JsonlStream(stdout), progress)
        with OutputFolder(job.output / name, job.formats, recognizer) as folder:
            try:
                _pump(session, folder, progress)
            except KeyboardInterrupt:
                folder.push(session.interrupt(), session.end_us)
                assert session.ended is not None
                folder.commit(path, session.ended)
                raise Interrupted from None
            assert session.ended is not None
            folder.commit(path, session.ended)
    return bool(session.ended.complete)


def _to_stream(session: Session, sink: JsonlStream, progress: Progress) -> bool:
    try:
        _pump(session, sink, progress)
    except KeyboardInterrupt:
        with suppress(ReaderGone):
            sink.push(session.interrupt(), session.end_us)
        raise Interrupted from None
    return bool(session.ended and session.ended.complete)


def _pump(session: Session, sink: OutputFolder | JsonlStream, progress: Progress) -> None:
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
        assert session.ended is not None
        if gaps := session.ended.counts["gaps"]:
            told = "1 gap" if gaps == 1 else f"{gaps} gaps"
            progress.console.print(f"warning: {session.name}: {told} in it: see its gap events")
    finally:
        progress.remove_task(task)


@contextmanager
def _one_interrupt() -> Iterator[None]:
    """Let the first Ctrl-C interrupt, and no other: results are being saved by then."""

    def first(number: int, frame: FrameType | None) -> None:
        signal.signal(signal.SIGINT, signal.SIG_IGN)
        raise KeyboardInterrupt

    if threading.current_thread() is not threading.main_thread():
        yield
        return
    before = signal.signal(signal.SIGINT, first)
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, before)
