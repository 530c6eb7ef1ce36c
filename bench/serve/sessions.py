"""Latency against the number of live sessions on one server, and what degrades first when it is full.

For each number a server is started (`affectstream serve`). Each session sends the same recording in real
time over its own WebSocket, as WebM with 640x360 pixels and 30 frames a second. Network, camera and browser
are not covered. The columns:

    latency     the `latency_ms` of the events: the work on a complete window
    delay       from the end of an event's hop in the recording to its arrival at the client; includes the
                wait for decoding, and up to 0.1 s in the recorder
    frames/s    analyzed frames a second of each session
    lowered     sessions whose rate of analyzed frames was reduced for a while
    dropped     frames that were skipped because newer ones had arrived
    ended       sessions that the server or the connection ended early
    refused     clients that the server refused; each time one more client asks than the server accepts
    server      processor time of the server in cores, decoding included
    clients     the same of all clients together
    late        95 % of the chunks were sent less late than this; if it is small, the clients kept up

`delay` counts from the scheduled time, like the latency of MLPerf's scenario Server: what waits before it is
decoded is late too, which `latency` does not see. With a bound for its p99 the most sessions are searched.

    affectstream bench sessions --counts 1,2,4,8,16,24,32 --seconds 30
    affectstream bench sessions --arrivals poisson --p99 250
"""

from __future__ import annotations

import json
import os
import sys
import time
from collections import Counter
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from affectstream.bench.distribution import is_stable, runs_needed, spread
from affectstream.bench.machine import describe
from affectstream.bench.recordings import write_demo_recording
from affectstream.bench.serve.arrivals import Arrivals, begin_times
from affectstream.bench.serve.clients import Client, check_addresses
from affectstream.bench.serve.peak import search_peak
from affectstream.bench.serve.webm import Chunk, encode_webm
from affectstream.bench.server_process import ServerProcess, serving
from affectstream.stream.serve.options import Batching

WARM_S = 5.0
"""Events of the first seconds do not count."""
_TARGET_MS = 150.0


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


@dataclass(frozen=True, slots=True)
class Server:
    """How `affectstream serve` is started."""

    bundle: str
    device: str
    workers: int = 1
    batch: Batching = "auto"

    def serving(self, count: int) -> AbstractContextManager[ServerProcess]:
        """Such a server for `count` sessions, with a session for each worker at least."""
        options = ["--workers", str(min(self.workers, count)), "--batch", self.batch]
        return serving(self.bundle, self.device, count, options)


_COLUMNS = (
    "sessions", "events/s", "latency p50", "p95", "p99 ms", "delay p50", "p95", "p99 ms", "frames/s",
    "lowered", "dropped", "ended", "refused", "server", "clients", "late ms",
)  # fmt: skip


def main(
    file: Path | None,
    server: Server,
    counts: Sequence[int],
    seconds: float,
    *,
    limit: int | None = None,
    arrivals: Arrivals = "paced",
    p99_ms: float | None = None,
    output: Path | None = None,
    warm_s: float = WARM_S,
) -> None:
    """Measure and print. The server accepts `limit` sessions; None: as many as there are clients.

    With `p99_ms` the most sessions are searched for which it bounds the p99 of the delay, beginning with the
    first of `counts`. With `output` the result and a picture of it are written there too. Raises
    `SourceError` if the system has too few loopback addresses or a server does not start.
    """
    check_addresses(max(counts) + 1)
    load = round(os.getloadavg()[0], 2)
    print("encoding the media that the sessions send ...", file=sys.stderr, flush=True)
    with TemporaryDirectory() as scratch:
        path = file or write_demo_recording(seconds, Path(scratch))
        chunks = encode_webm(path, seconds + warm_s)
    rows: list[Row] = []
    print("  ".join(_COLUMNS), flush=True)

    def measure(count: int) -> Row:
        check_addresses(count + 1)
        accepted = count if limit is None else min(count, limit)
        with server.serving(accepted) as process:
            rows.append(_measure(process, chunks, count, warm_s, arrivals))
        print(_line(rows[-1]), flush=True)
        return rows[-1]

    peak = None
    if p99_ms is None:
        for count in counts:
            measure(count)
        print(_summary(rows))
    else:
        bound = p99_ms
        peak = search_peak(lambda count: measure(count).carries(bound), counts[0])
        rows.sort(key=lambda row: row.sessions)
        print(f"p99 of the delay within {bound:g} ms: up to {peak} sessions")
    result = {
        "bench": "sessions",
        "seconds": seconds,
        **asdict(server),
        "arrivals": arrivals,
        "load_before": load,
        **({} if peak is None else {"p99_bound_ms": p99_ms, "peak": peak}),
        "rows": [asdict(row) for row in rows],
        "machine": describe(),
    }
    if output is not None:
        output.mkdir(parents=True, exist_ok=True)
        (output / "sessions.json").write_text(json.dumps(result, indent=1) + "\n")
        _draw(output / "sessions.png", result)
    print(json.dumps(result))


def _draw(path: Path, result: dict[str, Any]) -> None:
    try:
        from affectstream.bench.serve.sessions_picture import draw
    except ImportError as error:
        print(f"no picture: {error}: pip install matplotlib", file=sys.stderr)
        return
    draw(path, result)


def _measure(
    server: ServerProcess, chunks: Sequence[Chunk], count: int, warm_s: float, arrivals: Arrivals
) -> Row:
    clients = [Client(server.address, number, chunks) for number in range(count)]
    server_s, own_s, start_s = server.cpu_s(), time.process_time(), time.monotonic()
    for client, at_s in zip(clients, begin_times(count, arrivals), strict=True):
        time.sleep(max(0.0, start_s + at_s - time.monotonic()))
        client.start()
    time.sleep(warm_s / 2)
    extra = Client(server.address, count, ())
    extra.start()
    for client in (*clients, extra):
        client.join()
    wall_s = time.monotonic() - start_s
    cpu = (server.cpu_s() - server_s) / wall_s
    return _row(clients, extra, warm_s, wall_s, cpu, (time.process_time() - own_s) / wall_s)


def _row(
    clients: Sequence[Client],
    extra: Client,
    warm_s: float,
    wall_s: float,
    cpu: float,
    client_cpu: float,
) -> Row:
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


def _line(row: Row) -> str:
    """One line of the table, below `_COLUMNS`."""
    cells: tuple[Any, ...] = (
        row.sessions, f"{row.events_per_s:.1f}", _ms(row.latency_p50), _ms(row.latency_p95),
        _ms(row.latency_p99), _ms(row.delay_p50), _ms(row.delay_p95), _ms(row.delay_p99),
        f"{row.frame_hz:.1f}", row.lowered,
        f"{row.dropped_share:.1%}", row.ended_early, sum(row.refused.values()), f"{row.cpu:.2f}",
        f"{row.client_cpu:.2f}", f"{row.client_late_p95:.0f}",
    )  # fmt: skip
    padded = (str(cell).rjust(len(head)) for cell, head in zip(cells, _COLUMNS, strict=True))
    return "  ".join(padded) + ("" if row.stable else "  unstable")


def _ms(value: float | None) -> str:
    return "-" if value is None else f"{value:.0f}"


def _summary(rows: Sequence[Row]) -> str:
    """How many sessions keep the target, and what degrades first."""
    good = [
        row.sessions
        for row in rows
        if not row.degraded and row.latency_p95 is not None and row.latency_p95 <= _TARGET_MS
    ]
    kept = f"p95 under {_TARGET_MS:g} ms without degradation: up to {max(good, default=0)} sessions"
    first = next((row for row in rows if row.degraded), None)
    if first is None:
        return f"{kept}; saturation was not reached"
    return (
        f"{kept}; at {first.sessions}: {first.lowered} with fewer frames, "
        f"{first.dropped_share:.1%} of the frames dropped, {first.ended_early} ended early"
    )
