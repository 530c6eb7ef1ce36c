"""Whether anything grows, drifts or is left over on a server while sessions come and go for hours.

A server is started (`affectstream serve`). Half of the sessions send WebM over a WebSocket all the time,
and are opened again if they break off. The others end after 10 to 60 s and connect again, in turn over
WebRTC and over a WebSocket; half of them leave without closing the connection. The bench reads memory,
threads, tasks, open files, queues, drops, latency and age of the server every 10 s. It compares three equal
parts of the time after the first minute, and what was in use before the first session and after the last one.

    affectstream bench soak --minutes 60 --sessions 4
"""

from __future__ import annotations

import asyncio
import re
import threading
import time
from dataclasses import asdict
from itertools import pairwise
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any
from urllib.request import urlopen

from affectstream.bench.machine import describe
from affectstream.bench.output import finish, tables
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
from affectstream.bench.serve.usage import ServerUsage, compare, parse
from affectstream.bench.serve.webm import encode_webm
from affectstream.bench.server_process import serving

SETTLE_S = 60.0
"""Memory growth counts after this time; usage after the last session is read after as long."""
POLL_S = 10.0
_TRIES = 10
PRINT_EVERY = 30
"""Readings between two lines of progress."""


def main(
    file: Path | None,
    bundle: str,
    device: str,
    sessions: int,
    minutes: float,
    workers: int,
    output: Path | None,
    *,
    as_json: bool = False,
) -> None:
    """Measure and print, JSON last; with `as_json` nothing else. With `output` also write it there."""
    with tables(hidden=as_json):
        usage, result = measure(file, bundle, device, sessions, minutes, workers)
        _print(result["figures"])
    finish("soak", result, output, lambda path: _draw(path, usage))


def measure(
    file: Path | None, bundle: str, device: str, sessions: int, minutes: float, workers: int
) -> tuple[list[ServerUsage], dict[str, Any]]:
    """Run the server and its clients. Returns every reading, and the result."""
    with TemporaryDirectory() as scratch:
        path = file or write_demo_recording(MEDIA_S, Path(scratch))
        media = b"".join(data for _, data in encode_webm(path, MEDIA_S))
    options = ["--workers", str(workers)] if workers > 1 else []
    with serving(bundle, device, sessions + workers, options) as server:
        _warm_up(server.address, media)
        before = _read_idle(server.pid, server.address, workers)
        usage, counts = _run(server.pid, server.address, media, sessions, minutes * 60, workers)
        time.sleep(SETTLE_S)
        after = _read(server.pid, server.address, usage[-1].at_s + SETTLE_S, workers)
    settled = [one for one in usage if one.at_s >= SETTLE_S] or usage
    first_mb = settled[0].memory_mb
    growth_mb = max(one.memory_mb for one in settled) - first_mb
    figures = {
        "minutes": minutes,
        "clients": sessions,
        "workers": workers,
        **counts.document(),
        "memory_first_mb": first_mb,
        "memory_growth_mb": round(growth_mb, 1),
        **compare(settled),
        "before": asdict(before),
        "after": asdict(after),
    }
    return usage, {"bench": "soak", "figures": figures, "machine": describe()}


def _print(figures: dict[str, Any]) -> None:
    first, growth = figures["memory_first_mb"], figures["memory_growth_mb"]
    print(f"memory after a minute {first:.0f} MB, growth {growth:.0f} MB (aim: under 50)")
    names = ("memory_mb", "events_per_s", "latency_ms", "age_ms", "frames_dropped", "lines_dropped")
    print(f"{'minutes':14}" + "".join(f"{name:>16}" for name in names))
    for window in figures["windows"]:
        span = f"{window['from_min']:g} to {window['to_min']:g}"
        print(f"{span:14}" + "".join(f"{window[name]:>16}" for name in names))
    drift = figures["drift"]
    print(
        "drift an hour: " + ", ".join(f"{name} {value:+g}" for name, value in drift.items())
        if drift
        else "drift: five minutes or more are needed"
    )
    print(
        f"most in a queue {figures['queue_most']}, {'stable' if figures['stable'] else 'unstable'}"
    )
    for moment in ("before", "after"):
        print(f"{moment:8}{ServerUsage(**figures[moment])}")
    print(
        f"{figures['events']} events; {figures['opened']} sessions opened, "
        f"{figures['reconnected']} of them again; {figures['failed']} failed"
    )
    for reason, count in figures["reasons"].items():
        print(f"{count} x {reason}")


def _draw(path: Path, usage: list[ServerUsage]) -> None:
    import matplotlib as mpl

    mpl.use("Agg")
    import matplotlib.pyplot as plt

    figure, axes = plt.subplots(3, sharex=True, figsize=(8, 7), constrained_layout=True)
    minutes = [one.at_s / 60 for one in usage]
    axes[0].plot(minutes, [one.memory_mb for one in usage])
    axes[0].set_ylabel("memory, MB")
    pairs = list(pairwise(usage))
    for name in ("latency", "age"):
        means = [later.mean_ms(name, since=earlier) for earlier, later in pairs]
        axes[1].plot(minutes[1:], means, label=name)
    axes[1].set_ylabel("mean of 10 s, ms")
    axes[1].legend()
    axes[2].step(minutes, [one.sessions for one in usage], label="sessions")
    axes[2].step(minutes, [one.threads for one in usage], label="threads")
    axes[2].set_xlabel("minutes")
    axes[2].legend()
    for axis in axes:
        axis.set_ylim(0, 1.1 * axis.get_ylim()[1])
    figure.savefig(path, dpi=110)
    plt.close(figure)


def _warm_up(address: str, media: bytes) -> None:
    """One session of each kind, so that what is allocated once does not look like a leak."""
    end_s = time.monotonic() + SHORTEST_S
    send_websocket(address, media, end_s, ClientCounts())
    asyncio.run(send_webrtc(address, media, end_s + SHORTEST_S, ClientCounts()))
    time.sleep(SHORTEST_S)


def _run(
    pid: int, address: str, media: bytes, sessions: int, seconds: float, workers: int
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
        usage.append(_read(pid, address, time.monotonic() - start_s, workers))
        if len(usage) % PRINT_EVERY == 0:
            print(f"{usage[-1].at_s / 60:4.0f} min  {usage[-1]}", flush=True)
    for client in clients:
        client.join(LONGEST_S)
    return usage, counts


def _read_idle(pid: int, address: str, workers: int) -> ServerUsage:
    """Usage once all sessions have ended, or after a minute."""
    end_s = time.monotonic() + LONGEST_S
    while (usage := _read(pid, address, 0.0, workers)).sessions and time.monotonic() < end_s:
        time.sleep(1.0)
    return usage


def _read(pid: int, address: str, at_s: float, workers: int) -> ServerUsage:
    """What all workers use. One that is too busy to answer in time is asked again."""
    for _ in range(_TRIES):
        with urlopen(f"{address}/metrics", timeout=10) as answer:
            text = answer.read().decode()
        if len(re.findall(r"^affectstream_sessions[{ ]", text, re.MULTILINE)) >= workers:
            break
    return parse(text, pid, at_s)
