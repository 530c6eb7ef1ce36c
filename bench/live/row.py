"""One row of `affectstream bench live`: the result of a source, or why it was not measured."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import asdict, dataclass
from typing import Any

import numpy as np

from affectstream.stream.errors import AffectstreamError

_COLUMNS = ("opens_s", "events_s", "way_ms", "age_ms", "latency_ms", "skew_ms", "lost", "cpu")
_NAME, _CELL = 24, 20


class Unmeasured(AffectstreamError):
    """A source that cannot be measured on this machine, with the reason."""


@dataclass(frozen=True, slots=True)
class Row:
    """Result of one source, see `bench.live.sources`; None for what is not known.

    `age_ms` and `latency_ms` are the quantiles 50, 95 and 99 %. `lost` counts frames that were dropped or
    late. `skew_ms` is the median over `pairs` of a flash and a beep.
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

    def document(self) -> dict[str, Any]:
        """The row for JSON."""
        return asdict(self)


@dataclass(frozen=True, slots=True)
class Skipped:
    """A source that was not measured, and why."""

    source: str
    not_measured: str

    def document(self) -> dict[str, Any]:
        """The row for JSON."""
        return asdict(self)


def header() -> str:
    """The first line of the table."""
    return f"{'source':{_NAME}}" + "".join(f"{name:>{_CELL}}" for name in _COLUMNS)


def cells(row: Row | Skipped) -> str:
    """One line of the table without the name of the source."""
    if isinstance(row, Skipped):
        return f"  not measured: {row.not_measured}"
    return "".join(f"{_text(getattr(row, name)):>{_CELL}}" for name in _COLUMNS)


def name_cell(source: str) -> str:
    """The beginning of a line, printed before the source is measured."""
    return f"{source:{_NAME}}"


def quantiles(values: Iterable[object]) -> list[float] | None:
    """Quantiles 50, 95 and 99 % of those that are numbers; None if there are none."""
    known = [value for value in values if isinstance(value, int | float)]
    if not known:
        return None
    return [round(float(value), 1) for value in np.percentile(known, (50, 95, 99))]


def _text(value: object) -> str:
    if value is None:
        return "-"
    return " ".join(map(_text, value)) if isinstance(value, list) else str(value)
