"""A progress bar on a terminal; nothing elsewhere."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

Advance = Callable[[int, int, str], None]
"""Takes the completed steps, all steps, and a note for the end of the bar."""


@contextmanager
def progress_bar(description: str, *, shown: bool = True) -> Iterator[Advance]:
    """A bar on stderr, where that is a terminal and `shown`."""
    from rich import progress as rich
    from rich.console import Console

    console = Console(stderr=True)
    columns = (
        *("{task.description}", rich.BarColumn(), rich.MofNCompleteColumn()),
        *(rich.TimeRemainingColumn(), "{task.fields[note]}"),
    )
    disable = not (shown and console.is_terminal)
    with rich.Progress(*columns, console=console, transient=True, disable=disable) as progress:
        task = progress.add_task(description, total=None, note="")

        yield lambda done, total, note: progress.update(
            task, completed=done, total=total, note=note
        )
