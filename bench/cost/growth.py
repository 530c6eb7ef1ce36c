"""How a cost grows with what is varied: measured points, and the power law and the line through them.

The exponent is the slope of a straight line through the logarithms, fitted by least squares: with 1 twice the
work costs twice as much, with less than 1 a part of the cost is there anyway. Its interval is that of
Student's t over the points, so it also says how well a power law fits. The straight line, fitted with
relative weights, splits the cost into what is fixed and what each unit adds.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from statistics import median
from typing import Any, Literal, get_args

import numpy as np

from affectstream.bench.distribution import is_stable, spread
from affectstream.engines.errors import UsageError
from affectstream.engines.extras import install_hint

Name = Literal["faces", "resolution", "duration", "sessions"]
NAMES: tuple[Name, ...] = get_args(Name)
"""What can be varied, in the order of the tables."""
_CONFIDENCE = 0.95
_COUNTS: dict[Name, tuple[str, str, str]] = {
    "faces": ("faces found in a hop", "processor ms a second of media", "face"),
    "resolution": ("megapixels", "processor ms a second of media", "megapixel"),
    "duration": ("minutes of media", "processor s", "minute"),
    "sessions": ("sessions", "cores of the server", "session"),
}
"""What is counted, the unit of the cost, and the name of one that is counted."""


@dataclass(frozen=True, slots=True)
class Point:
    """The cost of one setting, with the units of its `Growth`. `rounds` has the cost of each round."""

    label: str
    x: float
    rounds: tuple[float, ...]
    more: dict[str, float] = field(default_factory=dict)
    """Other measurements, by the head of their column."""
    agrees: bool | None = None
    """Of a setting that is measured once: whether its delays are stable. None: the rounds decide."""

    @property
    def cost(self) -> float:
        """The median of the rounds."""
        return median(self.rounds)

    @property
    def stable(self) -> bool:
        """`agrees`, or else whether three rounds or more agree within a tenth."""
        return is_stable([[cost] for cost in self.rounds]) if self.agrees is None else self.agrees


@dataclass(frozen=True, slots=True)
class Exponent:
    """A slope in logarithms, with the bounds of its interval; None with two points, which leave no error."""

    value: float
    low: float | None
    high: float | None

    def __str__(self) -> str:
        bounds = "" if self.low is None else f" ({self.low:.2f} to {self.high:.2f})"
        return f"{self.value:.2f}{bounds}"


@dataclass(frozen=True, slots=True)
class Growth:
    """What was measured while one thing was varied."""

    name: Name
    points: tuple[Point, ...]

    def document(self) -> dict[str, Any]:
        """For JSON."""
        x, y, each = _COUNTS[self.name]
        exponent, line = self.exponent(), self.line()
        return {
            "name": self.name,
            "x": x,
            "y": y,
            "each": each,
            "rows": [
                {
                    "label": point.label,
                    "x": round(point.x, 4),
                    "cost": float(f"{point.cost:.5g}"),
                    "rounds": [float(f"{cost:.5g}") for cost in point.rounds],
                    "spread": round(spread([[cost] for cost in point.rounds]), 3),
                    "stable": point.stable,
                    **{name: round(value, 3) for name, value in point.more.items()},
                }
                for point in self.points
            ],
            "exponent": None
            if exponent is None
            else {
                "value": round(exponent.value, 3),
                "low": None if exponent.low is None else round(exponent.low, 3),
                "high": None if exponent.high is None else round(exponent.high, 3),
            },
            "line": None
            if line is None
            else {"fixed": float(f"{line[0]:.4g}"), "each": float(f"{line[1]:.4g}")},
        }

    def exponent(self) -> Exponent | None:
        """The slope in logarithms; None with fewer than two different settings or without a cost."""
        if (found := self._xy()) is None:
            return None
        x, y = np.log(found[0]), np.log(found[1])
        slope, level = np.polyfit(x, y, 1)
        free = len(x) - 2
        if not free:
            return Exponent(float(slope), None, None)
        error = np.sqrt(np.sum((y - level - slope * x) ** 2) / free / np.sum((x - x.mean()) ** 2))
        half = _student(free) * float(error)
        return Exponent(float(slope), float(slope) - half, float(slope) + half)

    def line(self) -> tuple[float, float] | None:
        """The fixed cost, and that of one more; None as for `exponent`."""
        if (found := self._xy()) is None:
            return None
        x, y = found
        each, fixed = np.polyfit(x, y, 1, w=1 / y)
        return float(fixed), float(each)

    def _xy(self) -> tuple[Any, Any] | None:
        used = [(point.x, point.cost) for point in self.points if point.x > 0 and point.cost > 0]
        if len({x for x, _ in used}) < 2:
            return None
        x, y = np.array(used, np.float64).T
        return x, y


def table(growth: Growth) -> str:
    """A table for people, and what follows from it."""
    x, y, each = _COUNTS[growth.name]
    more = list(dict.fromkeys(name for point in growth.points for name in point.more))
    heads = [growth.name, x, y, *more]
    rows = [
        [
            point.label,
            f"{point.x:.4g}",
            f"{point.cost:.4g}",
            *(_cell(point.more.get(name)) for name in more),
        ]
        for point in growth.points
    ]
    widths = [max(map(len, column)) for column in zip(heads, *rows, strict=True)]
    marks = ["", *("" if point.stable else "  unstable" for point in growth.points)]
    lines = [
        "  ".join(cell.rjust(width) for cell, width in zip(row, widths, strict=True)) + mark
        for row, mark in zip([heads, *rows], marks, strict=True)
    ]
    exponent, line = growth.exponent(), growth.line()
    if exponent is not None and line is not None:
        lines.append(f"exponent {exponent}; {line[0]:.3g} and {line[1]:.3g} for each {each}")
    return "\n".join(lines)


def check_scipy() -> None:
    """Raise `UsageError` without scipy, which the intervals need."""
    try:
        _student(1)
    except ModuleNotFoundError as error:
        raise UsageError(f"bench cost needs scipy: {install_hint('voices')}") from error


def _student(free: int) -> float:
    from scipy.stats import t

    return float(t.ppf((1 + _CONFIDENCE) / 2, free))


def _cell(value: float | None) -> str:
    return "" if value is None else f"{value:.4g}"


def parse_names(text: str) -> Sequence[Name]:
    """Such as ``faces,sessions``. Raises `UsageError` for others than `NAMES`."""
    given = text.split(",")
    if unknown := [name for name in given if name not in NAMES]:
        raise UsageError(f"--only {unknown[0]}: expected some of {','.join(NAMES)}")
    return [name for name in NAMES if name in given]
