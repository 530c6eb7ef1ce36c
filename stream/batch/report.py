"""What a batch leaves across its folder, and the table that it ends with."""

from __future__ import annotations

import csv
import io
import os
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

from affectstream.engines.cache.atomic import write_atomic
from affectstream.stream.batch.outcome import Outcome
from affectstream.stream.batch.resume import outcome_of, read_run
from affectstream.stream.results.scored import RUN
from affectstream.stream.sinks.base import writing
from affectstream.stream.summary.files import write_summary

FAILURES = "failures.csv"
_MAX_SHOWN = 10


def scored_folders(output: Path) -> Iterator[tuple[str, dict[str, Any]]]:
    """The name of each recording that was scored into `output`, or could not be, and its `run.json`."""
    for folder, folders, files in os.walk(output):
        folders.sort()
        if RUN in files and (run := read_run(Path(folder))) is not None:
            folders.clear()
            yield Path(folder).relative_to(output).as_posix(), run


def summarize(output: Path) -> None:
    """Write the summary of all recordings in `output`; of a single one there is nothing to compare."""
    scored = list(scored_folders(output))
    if len(scored) > 1:
        write_summary(output, scored)


FOLDER_WRITERS: tuple[Callable[[Path], None], ...] = (summarize,)
"""Each writes something about all recordings in an output, which `scored_folders` finds. They run when a
batch ends; of several shards, the last one to end sees everything."""


def write_failures(output: Path, outcomes: Iterable[Outcome]) -> Path:
    """Write `failures.csv`: every recording in `output` that is not complete, and why.

    It holds what earlier runs and other shards left there, and `outcomes`. The same results give the same
    bytes.
    """
    found = {
        name: outcome
        for name, run in scored_folders(output)
        if (outcome := outcome_of(name, run)) is not None
    }
    found |= {outcome.name: outcome for outcome in outcomes}
    text = io.StringIO(newline="")
    table = csv.writer(text, lineterminator="\n")
    table.writerow(("recording", "status", "kind", "reason"))
    for name in sorted(found):
        outcome = found[name]
        if outcome.failure is not None:
            table.writerow((name, outcome.status, outcome.failure.kind, outcome.failure.reason))
    path = output / FAILURES
    with writing(path):
        output.mkdir(parents=True, exist_ok=True)
        write_atomic(path, text.getvalue().encode("utf-8", "replace"))
    return path


def print_summary(
    console: Console, outcomes: Iterable[Outcome], wall_s: float, output: Path
) -> None:
    """The table at the end: counts, media and rate, then the first failures."""
    every = list(outcomes)
    now = [outcome for outcome in every if not outcome.done_before]
    media_s = sum(outcome.media_s for outcome in now)
    counts = Table(box=SIMPLE, show_header=False, pad_edge=False)
    counts.add_column()
    counts.add_column(justify="right")
    for status in ("complete", "incomplete", "failed"):
        counts.add_row(status, str(sum(outcome.status == status for outcome in every)))
    counts.add_row("of these scored before", str(len(every) - len(now)))
    counts.add_row("media", f"{media_s:.1f} s")
    counts.add_row("time", f"{wall_s:.1f} s")
    if wall_s > 0 and now:
        counts.add_row("rate", f"{media_s / wall_s:.1f} x real time")
    console.print(counts)
    bad = [outcome for outcome in every if outcome.failure is not None]
    if len(bad) > 1:
        reasons = Table("recording", "reason", box=SIMPLE, pad_edge=False, show_edge=False)
        for outcome in bad[:_MAX_SHOWN]:
            assert outcome.failure is not None
            reasons.add_row(outcome.name, outcome.failure.reason.partition("\n")[0])
        console.print(reasons)
    if bad:
        console.print(f"{len(bad)} not complete: see {output / FAILURES}")
    console.print(f"results in {output}")
