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

import os
import sys
import time
from collections.abc import Sequence
from contextlib import AbstractContextManager
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

from affectstream.bench.machine import describe
from affectstream.bench.output import finish, tables
from affectstream.bench.recordings import write_demo_recording
from affectstream.bench.serve.arrivals import Arrivals, begin_times
from affectstream.bench.serve.clients import Client, check_addresses
from affectstream.bench.serve.peak import search_peak
from affectstream.bench.serve.session_row import COLUMNS, Row, line, row_of_clients
from affectstream.bench.serve.webm import Chunk, encode_webm
from affectstream.bench.server_process import ServerProcess, serving
from affectstream.stream.serve.options import Batching

WARM_S = 5.0
"""Events of the first seconds do not count."""
_TARGET_MS = 150.0


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
    as_json: bool = False,
) -> None:
    """Measure and print, JSON last; with `as_json` nothing else.

    The server accepts `limit` sessions; None: as many as there are clients. With `p99_ms` the most sessions
    are searched for which it bounds the p99 of the delay, beginning with the first of `counts`. With `output`
    the result and a picture of it are written there too. Raises `SourceError` if the system has too few
    loopback addresses or a server does not start.
    """
    with tables(hidden=as_json):
        result = measure(
            file,
            server,
            counts,
            seconds,
            limit=limit,
            arrivals=arrivals,
            p99_ms=p99_ms,
            warm_s=warm_s,
        )
    finish("sessions", result, output, lambda path: _draw(path, result))


def measure(
    file: Path | None,
    server: Server,
    counts: Sequence[int],
    seconds: float,
    *,
    limit: int | None = None,
    arrivals: Arrivals = "paced",
    p99_ms: float | None = None,
    warm_s: float = WARM_S,
) -> dict[str, Any]:
    """Measure as `main` does, print the table, and return the result."""
    check_addresses(max(counts) + 1)
    load = round(os.getloadavg()[0], 2)
    print("encoding the media that the sessions send ...", file=sys.stderr, flush=True)
    with TemporaryDirectory() as scratch:
        path = file or write_demo_recording(seconds, Path(scratch))
        chunks = encode_webm(path, seconds + warm_s)
    rows: list[Row] = []
    print("  ".join(COLUMNS), flush=True)

    def measure_count(count: int) -> Row:
        check_addresses(count + 1)
        accepted = count if limit is None else min(count, limit)
        with server.serving(accepted) as process:
            rows.append(_measure(process, chunks, count, warm_s, arrivals))
        print(line(rows[-1]), flush=True)
        return rows[-1]

    peak = None
    if p99_ms is None:
        for count in counts:
            measure_count(count)
        print(_summary(rows))
    else:
        bound = p99_ms
        peak = search_peak(lambda count: measure_count(count).carries(bound), counts[0])
        rows.sort(key=lambda row: row.sessions)
        print(f"p99 of the delay within {bound:g} ms: up to {peak} sessions")
    return {
        "bench": "sessions",
        "seconds": seconds,
        **asdict(server),
        "arrivals": arrivals,
        "load_before": load,
        **({} if peak is None else {"p99_bound_ms": p99_ms, "peak": peak}),
        "rows": [asdict(row) for row in rows],
        "machine": describe(),
    }


def _draw(path: Path, result: dict[str, Any]) -> None:
    from affectstream.bench.serve.sessions_picture import draw

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
    return row_of_clients(
        clients, extra, warm_s, wall_s, cpu, (time.process_time() - own_s) / wall_s
    )


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
