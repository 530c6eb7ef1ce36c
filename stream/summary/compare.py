"""Comparisons across recordings: rows that stand out, and groups side by side."""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from hashlib import sha256

import numpy as np
from numpy.typing import NDArray

from affectstream.stream.summary.rows import MEASURES, MOMENTS, Row

OUTLIER_Z = 3.5
"""A modified z-score above this is an outlier (Iglewicz and Hoaglin, "How to detect and handle outliers",
1993)."""
_LEAST = {"segments_per_minute": 1.0}
"""An outlier is at least this far from the median; for other columns `_LEAST_SHARE`."""
_LEAST_SHARE = 0.05
MIN_ROWS = 10
"""With fewer rows nothing is called an outlier."""
MOST_OUTLIERS = 0.2
"""Where more of the rows than this are far from the median, none is an outlier: shares of time are often near
0 for most people, and near 1 for many."""
_DRAWS = 2000
MIN_RECORDINGS = 3
"""A group of fewer recordings has a mean without an interval."""
UNGROUPED = "all"
OUTLIER_AT = "outlier_at"
"""Of a row, not of the table."""


def compared(rows: Iterable[Row]) -> list[Row]:
    """The rows that comparisons count: people who are in the recording long enough, or where nobody is in
    view the recording itself."""
    found = [row for row in rows if row.get("brief") is False]
    in_view = {row["recording"] for row in found if row["track"] is not None}
    return [row for row in found if row["track"] is not None or row["recording"] not in in_view]


def mark_outliers(rows: Sequence[Row], labels: Iterable[str]) -> None:
    """Set `outlier` of each row to the columns in which it stands out, separated by semicolons: it is far
    from the median there, and few others are (see `MOST_OUTLIERS`). `OUTLIER_AT` becomes the seconds at which
    it does most, None where they are not known."""
    counted = compared(rows)
    found: dict[int, list[str]] = {}
    places: dict[int, list[float | None]] = {}
    for column in columns(labels):
        values = np.array([_number(row.get(column)) for row in counted])
        known = values[~np.isnan(values)]
        if known.size < MIN_ROWS:
            continue
        middle = np.median(known)
        spread = np.median(np.abs(known - middle))
        limit = max(OUTLIER_Z * spread / 0.6745, _LEAST.get(column, _LEAST_SHARE))
        far = np.abs(values - middle) > limit
        if far.sum() > MOST_OUTLIERS * known.size:
            continue
        for row, value, stands_out in zip(counted, values, far, strict=True):
            if stands_out:
                found.setdefault(id(row), []).append(column)
                at = (row.get(MOMENTS) or {}).get(column, (None, None))
                places.setdefault(id(row), []).append(at[int(value > middle)])
    for row in rows:
        row["outlier"] = ";".join(found[id(row)]) if id(row) in found else None
        row[OUTLIER_AT] = places.get(id(row))


def columns(labels: Iterable[str]) -> tuple[str, ...]:
    """The columns that are compared."""
    return (*MEASURES, *(f"share_{label}" for label in labels))


@dataclass(frozen=True, slots=True)
class GroupMean:
    """The mean of one column over the recordings of one group."""

    group: str
    column: str
    recordings: int
    people: int
    mean: float
    low: float | None
    high: float | None
    """95 % interval of the mean, by drawing recordings again; None of few recordings."""


def group_means(rows: Iterable[Row], labels: Iterable[str]) -> list[GroupMean]:
    """The mean of each column in each group. People of one recording are not independent, so recordings are
    drawn, not people."""
    groups: dict[str, dict[str, list[Row]]] = {}
    for row in compared(rows):
        recordings = groups.setdefault(row["group"] or UNGROUPED, {})
        recordings.setdefault(row["recording"], []).append(row)
    found = []
    for column in columns(labels):
        for group, recordings in sorted(groups.items()):
            values = [
                known
                for people in recordings.values()
                if (known := [row[column] for row in people if row.get(column) is not None])
            ]
            if values:
                found.append(_mean(group, column, values))
    return found


def _mean(group: str, column: str, recordings: Sequence[Sequence[float]]) -> GroupMean:
    means = np.array([np.mean(values) for values in recordings])
    low = high = None
    if len(means) >= MIN_RECORDINGS:
        seed = int.from_bytes(sha256(f"{group}/{column}".encode()).digest()[:8], "big")
        low, high = (round(float(v), 4) for v in _interval(means, np.random.default_rng(seed)))
    people = sum(map(len, recordings))
    return GroupMean(group, column, len(means), people, round(float(means.mean()), 4), low, high)


def _interval(means: NDArray[np.float64], random: np.random.Generator) -> NDArray[np.float64]:
    """The middle 95 % of the means of `_DRAWS` samples with replacement."""
    drawn = np.empty(_DRAWS)
    for draw in range(_DRAWS):  # one at a time, since a group may have thousands
        drawn[draw] = means[random.integers(0, len(means), len(means))].mean()
    found: NDArray[np.float64] = np.quantile(drawn, (0.025, 0.975))
    return found


def _number(value: float | None) -> float:
    return float("nan") if value is None else value
