"""Many live sessions on one machine: latency against their number, and what gives where it is full.

A server is started (`affectstream serve`) for each number, and each session sends the same recording, as WebM
at 640x360 and 30 pictures a second, at its own pace over a WebSocket of its own. Network, camera and browser
are not in it. Each row tells

    latency     of the events, as they say it themselves: the work alone
    delay       from the end of an event's hop in the recording to its arrival at the client, so with what
                waited to be decoded; up to a tenth of a second of it is the recorder's
    looked at   pictures a second of each session; `lowered` counts sessions that looked at fewer for a while
    dropped     pictures that were overtaken by newer ones before anyone looked at them
    ended       sessions that the server, or the connection, ended before their time
    refused     clients that got no place. One more than the server takes asks each time.
    server      its processor time in cores, decoding included; `clients` that of all clients together, and
                `late` how late 95 % of their pieces went out: they are not what is measured as long as it is
                little

    affectstream bench sessions --counts 1,2,4,8,16,24,32 --seconds 30
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections import Counter
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from affectstream.bench.machine import describe
from affectstream.bench.recordings import write_demo_recording
from affectstream.bench.serve.clients import Client, check_addresses
from affectstream.bench.serve.webm import webm
from affectstream.bench.server_process import Served, serving

WARM_S = 5.0
"""Events of the first seconds do not count."""
_AIM_MS = 150.0


@dataclass(frozen=True, slots=True)
class Row:
    """What one number of sessions gave, all sessions together.

    Milliseconds, None where no event came; `cpu` and `client_cpu` in cores; `refused` by HTTP status.
    """

    sessions: int
    served: int
    events_per_s: float
    latency_p50: float | None
    latency_p95: float | None
    latency_p99: float | None
    delay_p50: float | None
    delay_p95: float | None
    age_p50: float | None
    frame_hz: float
    lowered: int
    dropped_share: float
    ended_early: int
    refused: dict[str, int]
    cpu: float
    client_cpu: float
    client_late_p95: float

    @property
    def strained(self) -> bool:
        """Whether anything gave way: the rate, pictures, or whole sessions."""
        return bool(self.lowered or self.dropped_share or self.ended_early) or not self.events_per_s


_HEADS = (
    "sessions", "events/s", "latency p50", "p95", "p99 ms", "delay p95 ms", "looked at", "lowered",
    "dropped", "ended", "refused", "server", "clients", "late ms",
)  # fmt: skip


def main(
    file: Path | None,
    bundle: str,
    device: str,
    counts: Sequence[int],
    seconds: float,
    *,
    limit: int | None = None,
    warm_s: float = WARM_S,
) -> None:
    """Measure and print. The server takes `limit` sessions, as many as there are unless given.

    Raises `SourceError` where the system has too few addresses, or a server does not start.
    """
    check_addresses(max(counts) + 1)
    load = round(os.getloadavg()[0], 2)
    print("preparing what is sent ...", file=sys.stderr, flush=True)
    with TemporaryDirectory() as scratch:
        path = file or write_demo_recording(seconds, Path(scratch))
        chunks = webm(path, seconds + warm_s)
    rows: list[Row] = []
    print("  ".join(_HEADS), flush=True)
    for count in counts:
        places = count if limit is None else min(count, limit)
        with serving(bundle, device, places) as server:
            rows.append(_measure(server, chunks, count, warm_s))
        print(_line(rows[-1]), flush=True)
    print(_verdict(rows))
    figures = [asdict(row) for row in rows]
    told = {"seconds": seconds, "bundle": bundle, "device": device, "load_before": load}
    print(json.dumps({"bench": "sessions", **told, "rows": figures, "machine": describe()}))


def _measure(
    server: Served, chunks: Sequence[tuple[float, bytes]], count: int, warm_s: float
) -> Row:
    clients = [Client(server.address, number, chunks) for number in range(count)]
    server_s, own_s, start_s = server.cpu_s(), time.process_time(), time.monotonic()
    for client in clients:
        client.start()
        time.sleep(0.5 / count)  # so that hops do not coincide
    time.sleep(warm_s / 2)
    one_more = Client(server.address, count, ())
    one_more.start()
    for client in (*clients, one_more):
        client.join()
    wall_s = time.monotonic() - start_s
    cpu = (server.cpu_s() - server_s) / wall_s
    return _row(clients, one_more, warm_s, wall_s, cpu, (time.process_time() - own_s) / wall_s)


def _row(
    clients: Sequence[Client],
    one_more: Client,
    warm_s: float,
    wall_s: float,
    cpu: float,
    client_cpu: float,
) -> Row:
    served = [client for client in clients if client.refused is None]
    events = [pair for client in served for pair in client.events if pair[1]["t_end"] > warm_s]
    latency = _quantiles([event["latency_ms"] for _, event in events], 50, 95, 99)
    delay = _quantiles([1e3 * late_s for late_s, _ in events], 50, 95)
    (age,) = _quantiles([e["age_ms"] for _, e in events if e["age_ms"] is not None], 50)
    (late,) = _quantiles([1e3 * late_s for client in served for late_s in client.late_s], 95)
    last = [client.states[-1] for client in served if client.states]
    rates = [[state["frame_hz"] for state in client.states] for client in served if client.states]
    full_hz = max((max(one) for one in rates), default=0)
    dropped = sum(state["frames_dropped"] for state in last)
    refused = Counter(str(one.refused) for one in (*clients, one_more) if one.refused is not None)
    return Row(
        sessions=len(clients),
        served=len(served),
        events_per_s=round(len(events) / (wall_s - warm_s), 2),
        latency_p50=latency[0],
        latency_p95=latency[1],
        latency_p99=latency[2],
        delay_p50=delay[0],
        delay_p95=delay[1],
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
    )


def _quantiles(values: Sequence[float], *percents: int) -> list[float | None]:
    if not values:
        return [None] * len(percents)
    return [round(float(value), 1) for value in np.percentile(values, percents)]


def _line(row: Row) -> str:
    """One line of the table, below `_HEADS`."""
    cells: tuple[Any, ...] = (
        row.sessions, f"{row.events_per_s:.1f}", _ms(row.latency_p50), _ms(row.latency_p95),
        _ms(row.latency_p99), _ms(row.delay_p95), f"{row.frame_hz:.1f}", row.lowered,
        f"{row.dropped_share:.1%}", row.ended_early, sum(row.refused.values()), f"{row.cpu:.2f}",
        f"{row.client_cpu:.2f}", f"{row.client_late_p95:.0f}",
    )  # fmt: skip
    return "  ".join(str(cell).rjust(len(head)) for cell, head in zip(cells, _HEADS, strict=True))


def _ms(value: float | None) -> str:
    return "-" if value is None else f"{value:.0f}"


def _verdict(rows: Sequence[Row]) -> str:
    """How many are borne, and what gives first."""
    good = [
        row.sessions
        for row in rows
        if not row.strained and row.latency_p95 is not None and row.latency_p95 <= _AIM_MS
    ]
    borne = f"p95 under {_AIM_MS:g} ms with nothing given up: up to {max(good, default=0)} sessions"
    strained = next((row for row in rows if row.strained), None)
    if strained is None:
        return f"{borne}; where it is full was not reached"
    return (
        f"{borne}; at {strained.sessions}: {strained.lowered} looked at fewer pictures, "
        f"{strained.dropped_share:.1%} of those were dropped, {strained.ended_early} ended early"
    )
