"""How far the scoring of files is: a bar on a terminal, else a line now and then."""

from __future__ import annotations

import time
from collections.abc import Callable
from types import TracebackType
from typing import Self

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn

LINE_S = 10.0
"""Time between two lines about one file, where there is no terminal."""


class BarDisplay:
    """Shows a bar, where there is one, while used with ``with``."""

    _bar: Progress | None

    def __enter__(self) -> Self:
        if self._bar is not None:
            self._bar.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._bar is not None:
            self._bar.stop()


class ProgressDisplay(BarDisplay):
    """The progress of `total` files on `console`. Use it with ``with``."""

    def __init__(
        self,
        console: Console,
        total: int,
        *,
        enabled: bool = True,
        now_s: Callable[[], float] = time.monotonic,
    ) -> None:
        self.console, self._total, self._number = console, total, 0
        self._bar = _bar(console) if enabled and console.is_terminal else None
        self._lines = enabled and not console.is_terminal
        self._now_s = now_s

    def file(self, name: str, span: tuple[int, int | None]) -> FileProgress:
        """The next file; `span` is where it begins and, if known, ends, in microseconds."""
        self._number += 1
        line = f"[{self._number}/{self._total}] {name}"
        return FileProgress(
            self.console, self._bar, line if self._lines else None, name, span, self._now_s
        )


class FileProgress:
    """The progress of one file. Use it with ``with``: it is then on display."""

    def __init__(
        self,
        console: Console,
        bar: Progress | None,
        line: str | None,
        name: str,
        span: tuple[int, int | None],
        now_s: Callable[[], float],
    ) -> None:
        self._console, self._bar, self._line, self._now_s = console, bar, line, now_s
        self._start_us, end_us = span
        self._length_us = None if end_us is None else max(1, end_us - self._start_us)
        self._task = None if bar is None else bar.add_task(name, total=self._length_us)
        self._printed_s = now_s()

    def advance(self, end_us: int) -> None:
        """Everything up to `end_us` is done."""
        done_us = end_us - self._start_us
        if self._bar is not None and self._task is not None:
            self._bar.update(self._task, completed=done_us)
        elif self._line is not None and self._now_s() - self._printed_s >= LINE_S:
            self._printed_s = self._now_s()
            share = (
                "" if self._length_us is None else f" ({min(1.0, done_us / self._length_us):.0%})"
            )
            self._console.print(f"{self._line}: {done_us / 1e6:.0f} s of media{share}")

    def print(self, message: str) -> None:
        """Print a message above the progress."""
        self._console.print(message)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._bar is not None and self._task is not None:
            self._bar.remove_task(self._task)
        elif self._line is not None and error is None:
            self._console.print(f"{self._line}: done")


def _bar(console: Console) -> Progress:
    return Progress(
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        TextColumn("{task.percentage:3.0f}%"),
        TimeRemainingColumn(),
        console=console,
        transient=True,
    )
