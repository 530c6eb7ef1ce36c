"""What a batch leaves across its folder, and the table that it ends with."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable

from rich.box import SIMPLE
from rich.console import Console
from rich.table import Table

from affectstream.stream.batch.output.outcome import Outcome
from affectstream.stream.batch.output.resume import outcome_of
from affectstream.stream.batch.output.storage import Storage
from affectstream.stream.summary.files import SUMMARY_FILES, write_summary

FAILURES = "failures.csv"
_MAX_SHOWN = 10


def summarize(storage: Storage) -> None:
    """Write the summary of all recordings in `storage`; of a single one there is nothing to compare.

    Of several shards, the last one to end sees everything. Raises `OutputError`.
    """
    scored = list(storage.runs())
    if len(scored) > 1:
        with storage.summarized([name for name, _ in scored]) as folder:
            write_summary(folder, scored)
        return
    for name in SUMMARY_FILES:  # of recordings that are no longer there
        storage.remove(name)


def write_failures(storage: Storage, outcomes: Iterable[Outcome]) -> None:
    """Write `failures.csv`: every recording in `storage` that is not complete, and why.

    It holds what earlier runs and other shards left there, and `outcomes`. The same results give the same
    bytes.
    """
    found = {
        name: outcome
        for name, run in storage.runs()
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
    storage.write(FAILURES, text.getvalue().encode("utf-8", "replace"))


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
