"""What a section reports: measures with their count, interval and promise, and pictures."""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import asdict, dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Promise:
    """The range that a value must be in; None: no bound."""

    at_least: float | None = None
    at_most: float | None = None

    def holds(self, value: float) -> bool:
        """Whether `value` is in the range."""
        above = self.at_least is None or value >= self.at_least
        # A number of NumPy compares to a truth value that JSON does not know.
        return bool(above and (self.at_most is None or value <= self.at_most))

    def __str__(self) -> str:
        if self.at_least is None:
            return f"at most {self.at_most:g}"
        if self.at_most is None:
            return f"at least {self.at_least:g}"
        return f"{self.at_least:g} to {self.at_most:g}"


@dataclass(frozen=True, slots=True)
class Measure:
    """One value. `n` counts what it was measured on, `interval` is its 95 % interval.

    `value` is None where nothing could be counted; `unit` is a word such as ``degrees`` or ``%``.
    """

    name: str
    value: float | None
    n: int
    unit: str = ""
    interval: tuple[float, float] | None = None
    promise: Promise | None = None

    @property
    def holds(self) -> bool | None:
        """Whether the promise holds; None without a promise or without a value."""
        if self.promise is None or self.value is None:
            return None
        return self.promise.holds(self.value)

    def as_json(self) -> dict[str, Any]:
        """The measure for JSON, rounded to 4 decimals."""
        return {
            "name": self.name,
            "value": _finite(self.value),
            "unit": self.unit,
            "n": self.n,
            "interval": None if self.interval is None else [_finite(v) for v in self.interval],
            "promise": None if self.promise is None else asdict(self.promise),
            "holds": self.holds,
        }


@dataclass(frozen=True, slots=True, eq=False)
class Tile:
    """A picture (H, W, 3) uint8 RGB for the sheet. `good` colors its caption green or red."""

    picture: NDArray[np.uint8]
    caption: str
    good: bool | None = None


@dataclass(frozen=True, slots=True, eq=False)
class Report:
    """The result of one section."""

    measures: tuple[Measure, ...] = ()
    details: tuple[str, ...] = ()
    """Lines to read, such as one for each recording."""
    tiles: tuple[Tile, ...] = field(default=())
    not_measured: str | None = None
    """Why there are no measures."""

    def as_json(self) -> dict[str, Any]:
        """The report for JSON, without pictures."""
        found: dict[str, Any] = {"measures": [m.as_json() for m in self.measures]}
        if self.details:
            found["details"] = list(self.details)
        if self.not_measured is not None:
            found["not_measured"] = self.not_measured
        return found


class NotMeasured(Exception):
    """A section cannot be measured here; the text says why, and what to do."""


def print_report(name: str, question: str, report: Report) -> None:
    """Print one section as a table."""
    print(f"\n## {name}: {question}")
    if report.not_measured is not None:
        print(f"not measured: {report.not_measured}")
        return
    print("| | value | 95 % interval | n | promise | holds |")
    print("|---|---|---|---|---|---|")
    for measure in report.measures:
        print("| " + " | ".join(_cells(measure)) + " |")
    for line in report.details:
        print(f"- {line}")


def _cells(measure: Measure) -> Sequence[str]:
    value = "-" if measure.value is None else f"{_number(measure.value)} {measure.unit}".strip()
    interval = ""
    if measure.interval is not None:
        interval = " to ".join(_number(v) for v in measure.interval)
    holds = {True: "yes", False: "NO", None: ""}[measure.holds]
    promise = "" if measure.promise is None else str(measure.promise)
    return measure.name, value, interval, str(measure.n), promise, holds


def _finite(value: float | None) -> float | None:
    """`value` for JSON, which has no infinity."""
    return None if value is None or not math.isfinite(value) else round(value, 4)


def _number(value: float) -> str:
    return f"{value:.1f}" if abs(value) >= 10 else f"{value:.2f}"
