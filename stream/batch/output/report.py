"""What a batch leaves across its folder, and the table that it ends with."""

from __future__ import annotations

import csv
import io
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from typing import Any

from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

from affectstream.stream.batch.output.outcome import Outcome
from affectstream.stream.batch.output.resume import outcome_of
from affectstream.stream.batch.output.storage import Storage
from affectstream.stream.offline.failure import Failure
from affectstream.stream.summary.files import SUMMARY_FILES, write_summary

FAILURES = "failures.csv"
_COLUMNS = ("recording", "status", "kind", "reason")
Run = tuple[str, dict[str, Any]]
"""The name of a recording and its `run.json`."""
_MAX_SHOWN = 10


def write_across(
    storage: Storage,
    outcomes: Iterable[Outcome] = (),
    forgets: Callable[[str], bool] = lambda name: False,
) -> None:
    """Write `failures.csv` and the summary of all recordings in `storage`, from their results.

    `outcomes` are those of this run: a recording whose results could not be written has nothing that says so.
    Such lines of other runs stay, but for the names that `forgets` is true of. Runs that end together lose
    nothing of each other; see `Storage.rebuild`. Raises `OutputError`.
    """
    ours = list(outcomes)

    def build() -> None:
        runs = list(storage.runs())
        _write_failures(storage, runs, ours, forgets)
        _summarize(storage, runs)

    storage.rebuild(build)


def _summarize(storage: Storage, runs: Sequence[Run]) -> None:
    """Write the summary; of a single recording there is nothing to compare."""
    if len(runs) > 1:
        with storage.summarized([name for name, _ in runs]) as folder:
            write_summary(folder, runs)
        return
    for name in SUMMARY_FILES:  # of recordings that are no longer there
        storage.remove(name)


def _write_failures(
    storage: Storage,
    runs: Iterable[Run],
    outcomes: Iterable[Outcome],
    forgets: Callable[[str], bool],
) -> None:
    """Write every recording that is not complete, and why. The same results give the same bytes."""
    found = {
        _shown(name): outcome
        for name, run in runs
        if (outcome := outcome_of(name, run)) is not None
    }
    unwritten = {name: one for name, one in _unwritten(storage).items() if not forgets(name)}
    # Another run may have scored it since, or while this one waited for its folder.
    found = unwritten | found
    for outcome in outcomes:
        name = _shown(outcome.name)
        if name not in found or (_is_unwritten(outcome) and not found[name].finished):
            found[name] = outcome
    text = io.StringIO(newline="")
    table = csv.writer(text, lineterminator="\n")
    table.writerow(_COLUMNS)
    for name in sorted(found):
        failure = found[name].failure
        if failure is not None:
            table.writerow((name, found[name].status, failure.kind, failure.reason))
    storage.write(FAILURES, text.getvalue().encode("utf-8", "replace"))


def _unwritten(storage: Storage) -> dict[str, Outcome]:
    """The recordings in `failures.csv` whose results could not be written, by name."""
    text = (storage.read(FAILURES) or b"").decode("utf-8", "replace")
    rows = list[list[str]]()
    with suppress(csv.Error):  # somebody has changed it: what can be read counts
        for row in csv.reader(io.StringIO(text, newline="")):
            if len(row) == len(_COLUMNS):
                rows.append(row)
    return {
        name: Outcome(name, "failed", Failure("output", reason))
        for name, _, kind, reason in rows
        if kind == "output"
    }


def _is_unwritten(outcome: Outcome) -> bool:
    return outcome.failure is not None and outcome.failure.kind == "output"


def _shown(name: str) -> str:
    """A name as a file in UTF-8 can hold it."""
    return name.encode("utf-8", "replace").decode()


def print_summary(
    console: Console, outcomes: Iterable[Outcome], wall_s: float, storage: Storage
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
        console.print(f"{len(bad)} not complete: see {storage}/{FAILURES}")
    console.print(f"results in {storage}")
