"""A batch from its recordings to its exit code."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass

from rich.console import Console

from affectstream.stream import exits
from affectstream.stream.batch.output.outcome import Outcome
from affectstream.stream.batch.output.report import print_summary, write_across
from affectstream.stream.batch.output.resume import remaining
from affectstream.stream.batch.output.scored_names import check_names
from affectstream.stream.batch.output.storage import Storage
from affectstream.stream.batch.plan.durations import durations
from affectstream.stream.batch.plan.shard import Shard, take_shard
from affectstream.stream.batch.plan.sizing import cores, share_out, worker_count
from affectstream.stream.batch.plan.task import Task
from affectstream.stream.batch.progress import BatchProgress
from affectstream.stream.batch.workers.pool import score_in_processes
from affectstream.stream.batch.workers.recording import record_failure, score_recording
from affectstream.stream.batch.workers.worker import Settings
from affectstream.stream.loaded import LoadedBundle
from affectstream.stream.offline.to_stream import Tally, single_interrupt, stderr_console
from affectstream.stream.sinks import DEFAULT_FORMATS, Format

_MAX_WARNED = 20
"""In a batch of more recordings, warnings are left to the events."""


@dataclass(frozen=True, slots=True)
class BatchOptions:
    """How a batch is scored."""

    formats: tuple[Format, ...] = DEFAULT_FORMATS
    workers: int | None = None
    """Processes; None: as many as cores and memory allow. Where there are fewer recordings, those
    that are left perceive ranges of long ones."""
    overwrite: bool = False
    """Score recordings again whose results were made in another way."""
    retry_failed: bool = False
    """Try recordings again that an earlier run found damaged."""
    shard: Shard | None = None
    """Score only this part of the recordings."""
    cluster: str | None = None
    """Score on this Ray cluster; see `score_on_cluster`."""
    progress: bool = True


@dataclass(frozen=True, slots=True)
class BatchResult:
    """What became of every recording of a batch, in the order of their names."""

    outcomes: tuple[Outcome, ...]
    interrupted: bool = False

    @property
    def failures(self) -> tuple[Outcome, ...]:
        """The recordings that are not complete."""
        return tuple(outcome for outcome in self.outcomes if outcome.failure is not None)

    @property
    def exit_code(self) -> int:
        """The exit code of the command, the same as of an undisturbed run."""
        if self.interrupted:
            return exits.INTERRUPTED
        tally = Tally(len(self.outcomes))
        for outcome in self.outcomes:
            if outcome.status == "failed" and outcome.failure is not None:
                tally.add_failure(outcome.failure)
            tally.incomplete += outcome.status == "incomplete"
        return tally.exit_code


def score_batch(
    recognizer: LoadedBundle,
    tasks: Sequence[Task],
    storage: Storage,
    options: BatchOptions,
    console: Console | None = None,
) -> BatchResult:
    """Score `tasks` into `storage`, but for those that an earlier run has finished.

    Progress, messages and a table at the end go to `console` (stderr). Raises `OptionError` for results that
    were made in another way or have another name, and `OutputError` if `failures.csv` cannot be written.
    Ctrl-C ends it early.
    """
    console = console or stderr_console()
    began_s = time.monotonic()
    every = tasks
    if options.shard is not None:
        tasks = take_shard(tasks, durations(tasks), options.shard)
        console.print(f"part {options.shard}: {len(tasks)} of {len(every)} recordings")
    left = remaining(
        tasks,
        storage,
        recognizer,
        options.formats,
        overwrite=options.overwrite,
        retry_failed=options.retry_failed,
    )
    check_names(left.todo, every, storage)
    if left.done:
        console.print(f"{len(left.done)} of {len(tasks)} recordings are scored already")
    for name, run in left.regrouped.items():
        storage.replace_run(name, run)
    if left.regrouped:
        console.print(f"{len(left.regrouped)} of them have another group now")
    if left.changed:
        have = "recording has" if len(left.changed) == 1 else "recordings have"
        console.print(f"{len(left.changed)} {have} changed since: scored again")
    lengths_s = durations(left.todo)
    longest_first = sorted(
        zip(left.todo, lengths_s, strict=True), key=lambda pair: (-pair[1], pair[0].name)
    )
    outcomes = list(left.done)
    interrupted = False
    by_name = {task.name: task for task in left.todo}
    named_s = {task.name: length for task, length in zip(left.todo, lengths_s, strict=True)}
    with (
        single_interrupt(),
        BatchProgress(console, named_s, enabled=options.progress) as progress,
    ):

        def warn(message: str) -> None:
            if len(tasks) <= _MAX_WARNED:
                progress.print(f"warning: {message}")

        def advance(task: Task, media_s: float) -> None:
            progress.advance(task.name, media_s)

        try:
            started = _outcomes(
                recognizer, longest_first, len(tasks), storage, options, advance, warn
            )
            for outcome in started:
                outcomes.append(outcome)
                progress.finish(outcome.name, outcome.media_s)
                if outcome.status == "failed" and outcome.failure is not None:
                    task = by_name[outcome.name]
                    progress.print(f"error: {outcome.failure.message(task.path)}", style="red")
                    if outcome.failure.kind == "crash":
                        record_failure(recognizer, task, storage, outcome.failure)
        except KeyboardInterrupt:
            interrupted = True
    result = BatchResult(tuple(sorted(outcomes, key=lambda one: one.name)), interrupted)
    if interrupted:
        console.print(
            "interrupted: the results so far are kept, those of unfinished recordings marked incomplete; "
            "the same command goes on"
        )
        return result
    try:
        write_across(storage, result.outcomes)
    finally:  # on a full disk too
        print_summary(console, result.outcomes, time.monotonic() - began_s, storage)
    return result


@dataclass(frozen=True, slots=True)
class _Observer:
    """Hears of one recording that is scored in this process."""

    task: Task
    advanced: Callable[[Task, float], None]
    warn: Callable[[str], None]

    def advance(self, media_s: float) -> None:
        self.advanced(self.task, media_s)


def _outcomes(
    recognizer: LoadedBundle,
    longest_first: Sequence[tuple[Task, float]],
    recordings: int,
    storage: Storage,
    options: BatchOptions,
    advance: Callable[[Task, float], None],
    warn: Callable[[str], None],
) -> Iterator[Outcome]:
    """Score what is left, with the seconds of media, here if one process is enough, else in several.

    The threads of each follow from all `recordings`, so that a run that goes on has those of one that was not
    disturbed.
    """
    if not longest_first:
        return
    tasks = [task for task, _ in longest_first]
    inputs = tuple(task.path.absolute() for task in tasks)
    chosen = options.workers is not None
    processes = options.workers or worker_count(recognizer.bundle, recognizer.choice.device)
    workers, ranges = share_out(processes, len(tasks), chosen=chosen)
    threads = min(recognizer.threads, max(1, cores() // min(processes, recordings)))
    if workers == 1 and threads == recognizer.threads and options.cluster is None:
        for task in tasks:
            observer = _Observer(task, advance, warn)
            yield score_recording(
                recognizer, task, storage, options.formats, observer, inputs=inputs, ranges=ranges
            )
        return
    settings = Settings(
        bundle=recognizer.bundle.folder,
        choice=recognizer.choice,
        threads=threads if options.cluster is None else 1,
        ranges=ranges,
        output=str(storage),
        formats=options.formats,
        inputs=inputs,
    )
    if options.cluster is not None:
        from affectstream.stream.batch.workers.cluster import score_on_cluster

        yield from score_on_cluster(
            longest_first,
            settings,
            options.cluster,
            processes=processes,
            chosen=chosen,
            retry_failed=options.retry_failed,
        )
        return
    yield from score_in_processes(tasks, settings, workers, advance=advance, warn=warn)
