"""When the label follows a change of expression: the delay of the hops, and the ends of the segments.

The labels are the bundle's own, so this measures the delay and not whether a label is right. The delay ends
where the first hop with the new label begins: that is how late the label is in the results. A live listener
knows it when that hop ends.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

import numpy as np

from affectstream.bench.behaviour import intervals
from affectstream.bench.behaviour.report import Measure, Promise
from affectstream.bench.behaviour.workbench import Row
from affectstream.stream import Event, Segment

PROMISED_S = 0.5


@dataclass(frozen=True, slots=True)
class Change:
    """A change from the label `before` to the label `after`, made at `at_s` of a recording. `source` is what
    it was made of."""

    source: str
    before: str
    after: str
    at_s: float

    def followed(self, rows: Iterable[Row], events: Iterable[Event]) -> Splice:
        """How late the hops of one person, `rows`, and the segments among `events` follow it."""
        segments = [e for e in events if isinstance(e, Segment) and e.of == "emotion"]
        onsets = [abs(s.t_start - self.at_s) for s in segments if s.state == self.after]
        offsets = [abs(s.t_end - self.at_s) for s in segments if s.state == self.before]
        ends = min(onsets, default=math.inf), min(offsets, default=math.inf)
        for row in rows:
            if row["t_end"] > self.at_s + 1e-6 and row["label"] == self.after:
                delay_s = max(0.0, row["t_start"] - self.at_s)
                return Splice(self.source, delay_s, row["t_end"] - self.at_s, *ends)
        return Splice(self.source, math.inf, math.inf, *ends)


@dataclass(frozen=True, slots=True)
class Splice:
    """One change that was followed. How late the new label is, and when it is known; infinite if it never
    came."""

    source: str
    delay_s: float
    known_s: float
    onset_s: float
    """How far the nearest segment of the new label begins from the change."""
    offset_s: float
    """How far the nearest segment of the old label ends from the change."""


def reports_of(splices: Sequence[Splice]) -> tuple[Measure, ...]:
    """Median and longest delay, and the share that the promise covers. Intervals draw the sources."""
    n = len(splices)
    delays = [s.delay_s for s in splices]
    in_time = sum(d <= PROMISED_S + 1e-6 for d in delays)
    came = sum(np.isfinite(delays))
    return (
        Measure(
            "delay, median",
            float(np.median(delays)),
            n,
            "s",
            intervals.bootstrap(_median, _by_source(splices)),
            Promise(at_most=PROMISED_S),
        ),
        Measure("delay, longest", max(delays), n, "s"),
        Measure(
            f"delay of {PROMISED_S} s at most",
            100 * in_time / n,
            n,
            "%",
            intervals.share(in_time, n),
        ),
        Measure(
            "known to a live listener after, median",
            float(np.median([s.known_s for s in splices])),
            n,
            "s",
        ),
        _distance("onset", [s.onset_s for s in splices]),
        _distance("offset", [s.offset_s for s in splices]),
        Measure(
            "label came at all",
            100 * came / n,
            n,
            "%",
            intervals.share(came, n),
            Promise(at_least=99.0),
        ),
    )


def _distance(end: str, distances_s: Sequence[float]) -> Measure:
    return Measure(
        f"{end} of the segment, median distance",
        float(np.median(distances_s)),
        len(distances_s),
        "s",
        promise=Promise(at_most=PROMISED_S),
    )


def _by_source(splices: Sequence[Splice]) -> list[list[float]]:
    sources = dict.fromkeys(s.source for s in splices)
    return [[s.delay_s for s in splices if s.source == source] for source in sources]


def _median(groups: Sequence[Sequence[float]]) -> float:
    return float(np.median([value for group in groups for value in group]))
