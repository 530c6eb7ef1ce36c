"""A progress bar on a terminal; nothing elsewhere."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Protocol


class Advance(Protocol):
    """Moves the bar."""

    def __call__(self, *, completed: int, total: int | None = None, note: str = "") -> None:
        """Show `completed` of `total`, and `note` at the end."""


@contextmanager
def progress_bar(description: str, *, shown: bool = True) -> Iterator[Advance]:
    """A bar on stderr, where that is a terminal and `shown`."""
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        MofNCompleteColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
    )

    console = Console(stderr=True)
    columns = (
        TextColumn("{task.description}"),
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        TextColumn("{task.fields[note]}"),
    )
    disable = not (shown and console.is_terminal)
    with Progress(*columns, console=console, transient=True, disable=disable) as progress:
        task = progress.add_task(description, total=None, note="")

        def advance(*, completed: int, total: int | None = None, note: str = "") -> None:
            progress.update(task, completed=completed, total=total, note=note)

        yield advance
