"""The result for one number of sessions: what their clients received, as one row of the table."""

from __future__ import annotations

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from affectstream.bench.distribution import is_stable, runs_needed, spread
from affectstream.bench.serve.clients import Client


@dataclass(frozen=True, slots=True)
class Row:
    """The result for one number of sessions, over all of them.

    Latency, delay, age and lateness are milliseconds, None without events; `cpu` and `client_cpu` are cores;
    `refused` is by HTTP status.
    """

    sessions: int
    served: int
    events_per_s: float
    latency_p50: float | None
    latency_p95: float | None
    latency_p99: float | None
    delay_p50: float | None
    delay_p95: float | None
    delay_p99: float | None
    """None where the events are too few for it."""
    delay_max: float | None
    age_p50: float | None
    frame_hz: float
    lowered: int
    dropped_share: float
    ended_early: int
    refused: dict[str, int]
    cpu: float
    client_cpu: float
    client_late_p95: float
    events: int
    spread: float
    """Of the median delays of three equal parts of the time."""
    stable: bool

    @property
    def degraded(self) -> bool:
        """Whether the frame rate was lowered, frames were dropped, sessions ended or no event came."""
        return bool(self.lowered or self.dropped_share or self.ended_early) or not self.events_per_s

    def carries(self, limit_ms: float) -> bool:
        """Whether nothing degrades and the p99 of the delay, or all of few delays, are within `limit_ms`."""
        longest = self.delay_max if self.delay_p99 is None else self.delay_p99
        return not self.degraded and longest is not None and longest <= limit_ms


COLUMNS = (
    "sessions", "events/s", "latency p50", "p95", "p99 ms", "delay p50", "p95", "p99 ms", "frames/s",
    "lowered", "dropped", "ended", "refused", "server", "clients", "late ms",
)  # fmt: skip


def row_of_clients(
    clients: Sequence[Client],
    extra: Client,
    warm_s: float,
    wall_s: float,
    cpu: float,
    client_cpu: float,
) -> Row:
    """The row of `clients`, which have ended, and of `extra`, the one too many.

    Events of the warm-up do not count.
    """
    served = [client for client in clients if client.refused is None]
    events = [pair for client in served for pair in client.events if pair[1]["t_end"] > warm_s]
    latency = _quantiles([event["latency_ms"] for _, event in events], 50, 95, 99)
    delays = [1e3 * late_s for late_s, _ in events]
    delay = _quantiles(delays, 50, 95, 99, 100)
    parts = _parts(events)
    (age,) = _quantiles([e["age_ms"] for _, e in events if e["age_ms"] is not None], 50)
    (late,) = _quantiles([1e3 * late_s for client in served for late_s in client.late_s], 95)
    last = [client.states[-1] for client in served if client.states]
    rates = [[state["frame_hz"] for state in client.states] for client in served if client.states]
    full_hz = max((max(one) for one in rates), default=0)
    dropped = sum(state["frames_dropped"] for state in last)
    refused = Counter(str(one.refused) for one in (*clients, extra) if one.refused is not None)
    return Row(
        sessions=len(clients),
        served=len(served),
        events_per_s=round(len(events) / (wall_s - warm_s), 2),
        latency_p50=latency[0],
        latency_p95=latency[1],
        latency_p99=latency[2],
        delay_p50=delay[0],
        delay_p95=delay[1],
        delay_p99=delay[2] if len(delays) >= runs_needed(99) else None,
        delay_max=delay[3],
        age_p50=age,
        frame_hz=round(float(np.mean([hz for one in rates for hz in one])), 1) if rates else 0.0,
        lowered=sum(min(one) < full_hz for one in rates),
        dropped_share=round(
            dropped / max(1, dropped + sum(state["frames_used"] for state in last)), 4
        ),
        ended_early=sum(client.failed is not None for client in served),
        refused=dict(refused),
        cpu=round(cpu, 3),
        client_cpu=round(client_cpu, 3),
        client_late_p95=late or 0.0,
        events=len(events),
        spread=round(spread(parts), 3) if parts else 0.0,
        stable=is_stable(parts),
    )


def _parts(events: Sequence[tuple[float, dict[str, Any]]]) -> list[list[float]]:
    """The delays of three equal parts of the recording, in seconds."""
    delays = [late_s for late_s, _ in sorted(events, key=lambda pair: float(pair[1]["t_end"]))]
    third = -(-len(delays) // 3)
    return [delays[n : n + third] for n in range(0, len(delays), third)] if delays else []


def _quantiles(values: Sequence[float], *percents: int) -> list[float | None]:
    if not values:
        return [None] * len(percents)
    return [round(float(value), 1) for value in np.percentile(values, percents)]


def line(row: Row) -> str:
    """One line of the table, below `COLUMNS`."""
    cells: tuple[Any, ...] = (
        row.sessions, f"{row.events_per_s:.1f}", _ms(row.latency_p50), _ms(row.latency_p95),
        _ms(row.latency_p99), _ms(row.delay_p50), _ms(row.delay_p95), _ms(row.delay_p99),
        f"{row.frame_hz:.1f}", row.lowered,
        f"{row.dropped_share:.1%}", row.ended_early, sum(row.refused.values()), f"{row.cpu:.2f}",
        f"{row.client_cpu:.2f}", f"{row.client_late_p95:.0f}",
    )  # fmt: skip
    padded = (str(cell).rjust(len(head)) for cell, head in zip(cells, COLUMNS, strict=True))
    return "  ".join(padded) + ("" if row.stable else "  unstable")


def _ms(value: float | None) -> str:
    return "-" if value is None else f"{value:.0f}"
