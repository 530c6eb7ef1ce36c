"""How far a batch is: a bar on a terminal, else a line now and then."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from datetime import timedelta

from rich.console import Console
from rich.progress import BarColumn, Progress, TextColumn

from affectstream.stream.offline.progress import BarDisplay

LINE_S = 30.0
"""Time between two lines, where there is no terminal."""


class BatchProgress(BarDisplay):
    """The progress of many recordings. Use it with ``with``.

    Seconds of media are the measure, so that a recording of two hours counts more than one of a minute. What
    is done is followed while recordings run.
    """

    def __init__(
        self,
        console: Console,
        lengths_s: Mapping[str, float],
        *,
        enabled: bool = True,
        now_s: Callable[[], float] = time.monotonic,
    ) -> None:
        """`lengths_s` are the recordings by name, with their seconds of media."""
        self._console, self._now_s = console, now_s
        # Also a recording of unknown length takes a moment.
        self._lengths_s = {name: max(1.0, length) for name, length in lengths_s.items()}
        self._total_s = sum(self._lengths_s.values())
        self._running_s: dict[str, float] = {}
        self._finished, self._finished_s, self._media_s = 0, 0.0, 0.0
        self._bar = _bar(console) if enabled and console.is_terminal else None
        self._task = None
        if self._bar is not None:
            self._task = self._bar.add_task("", total=self._total_s, text=self.text())
        self._lines = enabled and not console.is_terminal
        self._began_s = self._printed_s = now_s()

    def advance(self, name: str, media_s: float) -> None:
        """So many seconds of the recording `name` are done."""
        self._running_s[name] = min(media_s, self._lengths_s[name])
        self._show()

    def finish(self, name: str, media_s: float) -> None:
        """The recording `name` is over, after `media_s` seconds of media."""
        self._running_s.pop(name, None)
        self._finished += 1
        self._finished_s += self._lengths_s[name]
        self._media_s += media_s
        self._show()

    def print(self, message: str, style: str | None = None) -> None:
        """Print a message above the progress."""
        self._console.print(message, style=style)

    def text(self) -> str:
        """Such as ``37/200 recordings, 12.3 x real time, 0:41:00 left``."""
        wall_s = self._now_s() - self._began_s if self._finished or self._running_s else 0.0
        parts = [f"{self._finished}/{len(self._lengths_s)} recordings"]
        done_s = self._done_s()
        if wall_s > 0 and done_s > 0:
            media_s = self._media_s + sum(self._running_s.values())
            parts.append(f"{media_s / wall_s:.1f} x real time")
            left_s = wall_s * (self._total_s - done_s) / done_s
            parts.append(f"{timedelta(seconds=round(left_s))} left")
        return ", ".join(parts)

    def _done_s(self) -> float:
        return min(self._total_s, self._finished_s + sum(self._running_s.values()))

    def _show(self) -> None:
        if self._bar is not None and self._task is not None:
            self._bar.update(self._task, completed=self._done_s(), text=self.text())
        elif self._lines and self._now_s() - self._printed_s >= LINE_S:
            self._printed_s = self._now_s()
            self._console.print(f"{self._done_s() / self._total_s:.0%}: {self.text()}")


def _bar(console: Console) -> Progress:
    return Progress(
        BarColumn(),
        TextColumn("{task.percentage:3.0f}%"),
        TextColumn("{task.fields[text]}", markup=False),
        console=console,
        transient=True,
    )
