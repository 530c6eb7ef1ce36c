"""Scoring one recording into its folder, whatever happens."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any, Protocol

from msgspec import structs

from affectstream.stream.batch.output.identity import (
    identity_or_none,
    is_unchanged,
    made_by,
    options_hash,
    transcript_of,
)
from affectstream.stream.batch.output.outcome import Outcome
from affectstream.stream.batch.output.resume import outcome_of
from affectstream.stream.batch.output.storage import Storage
from affectstream.stream.batch.plan.task import Task
from affectstream.stream.errors import OutputError
from affectstream.stream.events import Stream
from affectstream.stream.loaded import LoadedBundle
from affectstream.stream.offline.failure import TRACEBACK, Failure, failure_of
from affectstream.stream.offline.output import OutputFolder
from affectstream.stream.offline.session import Session
from affectstream.stream.options import valid_name
from affectstream.stream.ranges.opening import RangeOptions
from affectstream.stream.sinks import Format
from affectstream.stream.words.recording import WORDS_FILE

_PATIENCE_S = 10.0
"""How long to wait for a process of a run that was killed to let go of a folder."""

_CHANGED = (
    "changed or was removed while it was scored: expected a recording that nobody writes any more; "
    "score it again once it is whole"
)


class Observer(Protocol):
    """Hears how far one recording is."""

    def advance(self, media_s: float) -> None:
        """So many seconds of it are done."""
        ...

    def warn(self, message: str) -> None:
        """Something that the user should know."""
        ...


def score_recording(
    recognizer: LoadedBundle,
    task: Task,
    storage: Storage,
    formats: Sequence[Format],
    observer: Observer,
    *,
    inputs: Iterable[Path] = (),
    ranges: int = 1,
) -> Outcome:
    """Score one recording into its folder in `storage`, and never raise for what is wrong with it.

    `run.json` is written last, also of a recording that has no results. `inputs` are files that no result may
    replace, and `ranges` is the number of processes for a long recording. Raises `KeyboardInterrupt` after
    keeping the results so far in a folder, marked as incomplete.
    """
    try:
        storage.begin(task.name)
        with storage.scratch() as place:
            outcome = _score_into(recognizer, task, place, formats, observer, inputs, ranges)
            if outcome.failure is not None and outcome.failure.kind == "output":
                return _by_another_run(recognizer, task, storage) or outcome
            storage.publish(place, task.name)
    except OutputError as error:
        return Outcome(task.name, "failed", Failure("output", str(error)))
    return outcome


def record_failure(
    recognizer: LoadedBundle, task: Task, storage: Storage, failure: Failure
) -> None:
    """Leave `run.json` of a recording whose process died, so that summaries, other shards and a later run
    know of it. Does nothing where that cannot be written."""
    about = {"group": task.group or None, "made_with": _made_with(recognizer, task)}
    before = (storage.read_run(task.name) or {}).get("failure") or {}
    if before.get("kind") == failure.kind:
        return
    with suppress(OutputError, OSError), storage.scratch() as place:
        _record(recognizer, task, task.folder(place), about, failure, (task.path,))
        storage.publish(place, task.name)


def _made_with(recognizer: LoadedBundle, task: Task) -> dict[str, str]:
    return made_by(recognizer) | {"options": options_hash(task.options)}


def _by_another_run(recognizer: LoadedBundle, task: Task, storage: Storage) -> Outcome | None:
    """The outcome of a recording that another run of the same command has scored in the meantime."""
    run = storage.read_run(task.name) or {}
    is_ours = run.get("made_with") == _made_with(recognizer, task)
    return outcome_of(task.name, run) if is_ours else None


def _score_into(
    recognizer: LoadedBundle,
    task: Task,
    output: Path,
    formats: Sequence[Format],
    observer: Observer,
    inputs: Iterable[Path],
    ranges: int,
) -> Outcome:
    folder, inputs = task.folder(output), (task.path, *inputs)
    about: dict[str, Any] = {"group": task.group or None}
    try:
        words = transcript_of(task, recognizer.bundle)
        about |= {
            "made_with": _made_with(recognizer, task),
            "input": identity_or_none(task.path),
            "transcript": None
            if words is None
            else {"name": valid_name(words), "file": identity_or_none(words)},
        }
        with Session(
            recognizer.bundle,
            task.path,
            task.options,
            recognizer.threads,
            words_file=folder / WORDS_FILE,
            ranges=RangeOptions(ranges, recognizer.choice.device),
        ) as session:
            opened = OutputFolder(
                folder,
                formats,
                recognizer,
                session.name,
                task.options,
                inputs=inputs if words is None else (*inputs, words),
                about=about,
                patience_s=_PATIENCE_S,
            )
            with opened:
                return _score(session, opened, task, observer, about["input"])
    except Exception as error:
        failure = failure_of(task.path, error, folder)
        if failure.kind != "output":
            _record(recognizer, task, folder, about, failure, inputs)
        return Outcome(task.name, "failed", failure)


def _score(
    session: Session,
    folder: OutputFolder,
    task: Task,
    observer: Observer,
    identity: Mapping[str, Any] | None,
) -> Outcome:
    start_us = session.span[0]
    try:
        for hop in session:
            folder.push(hop, session.results_end_us)
            if hop.readings:
                observer.advance((hop.readings[0][0].end_us - start_us) / 1e6)
            for event in hop.events:
                if isinstance(event, Stream) and event.what == "warning" and event.detail:
                    observer.warn(f"{session.name}: {event.detail}")
    except KeyboardInterrupt:
        last = session.interrupt()
        folder.push(last, session.results_end_us)
        assert session.ended is not None
        folder.commit(task.path, session.ended, session.words, "interrupted")
        raise
    ended = session.ended
    assert ended is not None
    if ended.complete and not is_unchanged(task.path, identity):
        ended = structs.replace(ended, complete=False, detail=_CHANGED)
    for left_out in folder.commit(task.path, ended, session.words):
        observer.warn(f"{session.name}: {left_out}")
    if gaps := ended.counts["gaps"]:
        observer.warn(f"{session.name}: {gaps} gap{'s' if gaps > 1 else ''} in it, see its events")
    media_s = ended.t_end - ended.t_start
    if ended.complete:
        return Outcome(task.name, "complete", None, media_s)
    observer.warn(f"{session.name}: {ended.detail}")
    return Outcome(task.name, "incomplete", Failure("input", ended.detail or ""), media_s)


def _record(
    recognizer: LoadedBundle,
    task: Task,
    folder: Path,
    about: dict[str, Any],
    failure: Failure,
    inputs: Iterable[Path],
) -> None:
    """Leave `run.json` of a recording without results, so that a later run and a summary know of it."""
    trace = folder / TRACEBACK
    content = trace.read_bytes() if trace.is_file() else None
    with (
        suppress(OutputError, OSError),
        OutputFolder(
            folder, (), recognizer, valid_name(task.path), task.options, inputs=inputs, about=about
        ) as opened,
    ):
        if content is not None:
            trace.write_bytes(content)
        opened.commit_failure(task.path, failure)
