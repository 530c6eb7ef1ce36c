"""One row of `affectstream bench live`: what a source was measured to do, or why it was not measured."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from affectstream.stream.errors import AffectstreamError

HEADS = ("opens_s", "events_s", "way_ms", "age_ms", "latency_ms", "skew_ms", "lost", "cpu")
_NAME, _CELL = 24, 20


class Unmeasured(AffectstreamError):
    """A kind of source that cannot be measured on this machine, and why."""


@dataclass(frozen=True, slots=True)
class Row:
    """Figures of one source, as `bench.live.sources` explains them; None for what cannot be told.

    `age_ms` and `latency_ms` are quantiles: 50, 95, 99 %. `lost` are pictures that were dropped or came too
    late, `cpu` cores, `pairs` how many flashes and beeps `skew_ms` is the median of.
    """

    source: str
    opens_s: float
    events_s: float
    way_ms: float | None
    age_ms: list[float] | None
    latency_ms: list[float] | None
    skew_ms: float | None
    lost: int
    cpu: float
    pairs: int

    def figures(self) -> dict[str, Any]:
        """All of it, for JSON."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Skipped:
    """A source that was left out."""

    source: str
    not_measured: str

    def figures(self) -> dict[str, Any]:
        """All of it, for JSON."""
        return asdict(self)


def head() -> str:
    """The first line of the table."""
    return f"{'source':{_NAME}}" + "".join(f"{name:>{_CELL}}" for name in HEADS)


def line(row: Row | Skipped) -> str:
    """One line of the table, without the name that begins it."""
    if isinstance(row, Skipped):
        return f"  not measured: {row.not_measured}"
    return "".join(f"{_shown(getattr(row, name)):>{_CELL}}" for name in HEADS)


def begun(source: str) -> str:
    """The beginning of a line, for while its source is measured."""
    return f"{source:{_NAME}}"


def quantiles(values: Iterable[object]) -> list[float] | None:
    """50, 95 and 99 % of those that are numbers; None where there are none."""
    known = [value for value in values if isinstance(value, int | float)]
    if not known:
        return None
    return [round(float(value), 1) for value in np.percentile(known, (50, 95, 99))]


def _shown(value: object) -> str:
    if value is None:
        return "-"
    return " ".join(map(_shown, value)) if isinstance(value, list) else str(value)
