"""Whether anything grows or is left over on a server while sessions come and go for an hour.

A server is started (`affectstream serve`). Half of the sessions send WebM over a WebSocket all the time,
and are opened again if they break off. The others end after 10 to 60 s and connect again, in turn over
WebRTC and over a WebSocket; half of them leave without closing the connection. The bench reads memory,
threads, tasks and open files of the server every 10 s, and compares them before the first session and after
the last one.

    affectstream bench soak --minutes 60 --sessions 4
"""

from __future__ import annotations

import asyncio
import json
import re
import threading
import time
from dataclasses import asdict, dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from urllib.request import urlopen

from affectstream.bench.machine import describe
from affectstream.bench.recordings import write_demo_recording
from affectstream.bench.serve.soak_clients import (
    LONGEST_S,
    MEDIA_S,
    SHORTEST_S,
    ClientCounts,
    run_changing,
    run_permanent,
    send_webrtc,
    send_websocket,
)
from affectstream.bench.serve.webm import encode_webm
from affectstream.bench.server_process import serving
from affectstream.stream.errors import SourceError

SETTLE_S = 60.0
"""Memory growth counts after this time; usage after the last session is read after as long."""
POLL_S = 10.0
PRINT_EVERY = 30
"""Readings between two lines of progress."""


@dataclass(frozen=True, slots=True)
class ServerUsage:
    """Resources of the server at one moment, `at_s` after the start."""

    at_s: float
    memory_mb: float
    threads: int
    tasks: int
    files: int
    sessions: int

    def __str__(self) -> str:
        return (
            f"{self.memory_mb:.0f} MB, {self.threads} threads, {self.tasks} tasks, "
            f"{self.files} files, {self.sessions} sessions"
        )


def main(file: Path | None, bundle: str, device: str, sessions: int, minutes: float) -> None:
    """Measure and print."""
    with TemporaryDirectory() as scratch:
        path = file or write_demo_recording(MEDIA_S, Path(scratch))
        media = b"".join(data for _, data in encode_webm(path, MEDIA_S))
    with serving(bundle, device, sessions + 1) as server:
        _warm_up(server.address, media)
        before = _read_idle(server.pid, server.address)
        usage, counts = _run(server.pid, server.address, media, sessions, minutes * 60)
        time.sleep(SETTLE_S)
        after = _read(server.pid, server.address, usage[-1].at_s + SETTLE_S)
    settled = [one for one in usage if one.at_s >= SETTLE_S] or usage
    first_mb = settled[0].memory_mb
    growth_mb = max(one.memory_mb for one in settled) - first_mb
    print(f"memory after a minute {first_mb:.0f} MB, growth {growth_mb:.0f} MB (aim: under 50)")
    print(f"before  {before}\nafter   {after}")
    print(
        f"{counts.events} events; {counts.opened} sessions opened, {counts.reconnected} of them again; "
        f"{counts.failed} failed"
    )
    for reason, count in counts.reasons.items():
        print(f"{count} x {reason}")
    figures = {
        "minutes": minutes,
        "clients": sessions,
        **counts.document(),
        "memory_first_mb": first_mb,
        "memory_growth_mb": round(growth_mb, 1),
        "before": asdict(before),
        "after": asdict(after),
    }
    print(json.dumps({"bench": "soak", "figures": figures, "machine": describe()}))


def _warm_up(address: str, media: bytes) -> None:
    """One session of each kind, so that what is allocated once does not look like a leak."""
    end_s = time.monotonic() + SHORTEST_S
    send_websocket(address, media, end_s, ClientCounts())
    asyncio.run(send_webrtc(address, media, end_s + SHORTEST_S, ClientCounts()))
    time.sleep(SHORTEST_S)


def _run(
    pid: int, address: str, media: bytes, sessions: int, seconds: float
) -> tuple[list[ServerUsage], ClientCounts]:
    counts, usage, start_s = ClientCounts(), list[ServerUsage](), time.monotonic()
    end_s = start_s + seconds
    clients = [
        threading.Thread(
            target=run_permanent if number % 2 == 0 else run_changing,
            args=(address, media, end_s, counts, number),
            daemon=True,
        )
        for number in range(sessions)
    ]
    for client in clients:
        client.start()
    while time.monotonic() < end_s:
        time.sleep(min(POLL_S, max(0.0, end_s - time.monotonic())))
        usage.append(_read(pid, address, time.monotonic() - start_s))
        if len(usage) % PRINT_EVERY == 0:
            print(f"{usage[-1].at_s / 60:4.0f} min  {usage[-1]}", flush=True)
    for client in clients:
        client.join(LONGEST_S)
    return usage, counts


def _read_idle(pid: int, address: str) -> ServerUsage:
    """Usage once all sessions have ended, or after a minute."""
    end_s = time.monotonic() + LONGEST_S
    while (usage := _read(pid, address, 0.0)).sessions and time.monotonic() < end_s:
        time.sleep(1.0)
    return usage


def _read(pid: int, address: str, at_s: float) -> ServerUsage:
    import psutil

    with urlopen(f"{address}/metrics", timeout=10) as answer:
        text = answer.read().decode()
    process = psutil.Process(pid)
    return ServerUsage(
        at_s=round(at_s, 1),
        memory_mb=round(process.memory_info().rss / 1e6, 1),
        threads=process.num_threads(),
        tasks=_gauge(text, "tasks"),
        files=process.num_fds(),
        sessions=_gauge(text, "sessions"),
    )


def _gauge(text: str, name: str) -> int:
    found = re.search(rf"^affectstream_{name} ([\d.e+]+)$", text, re.MULTILINE)
    if found is None:
        raise SourceError(
            f"the server has no metric affectstream_{name}: is it of another version?"
        )
    return int(float(found[1]))
