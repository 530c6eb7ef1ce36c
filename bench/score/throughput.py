"""How fast `score` is, and how much of its time is neither decoding nor inference.

Three tasks run on the same recording: `score` as a whole; decoding alone (PyAV, every frame and sample,
nothing converted); inference alone (every engine with exactly the inputs that `score` gave it, in the same
order, in one thread; the network of the speech gate too). The rest of `score` is overhead: conversion to
RGB, cropping, resampling, tracking, pose, windows, events. The tasks alternate, and each ratio is the median
over the rounds, so a busy moment spoils one round and not the result.

Not covered: opening the bundle, writing results.

    affectstream bench score interview.mp4
"""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import av

from affectstream.bench.engines.feeds import record_calls
from affectstream.bench.machine import describe
from affectstream.bench.recordings import write_demo_recording
from affectstream.stream.recognizer import Recognizer

CPU_LIMIT, WALL_LIMIT, SPEED_LIMIT = 1.25, 0.7, 10.0
"""What the README promises; the wall limit is for 2 cores."""


@dataclass(frozen=True, slots=True)
class Cost:
    """Seconds of wall time, and of processor time summed over all threads."""

    wall_s: float
    cpu_s: float


@dataclass(frozen=True, slots=True)
class Throughput:
    """Median costs of one recording; each ratio is `score` over decoding plus inference."""

    media_s: float
    threads: int
    score: Cost
    decode: Cost
    inference: Cost
    cpu_ratio: float
    wall_ratio: float
    frames: int
    """Pictures that were decoded."""
    hops: int
    rounds_s: tuple[float, ...]
    """Wall seconds of `score` in each round."""


def main(file: Path | None, bundle: str, threads: int | None, repeats: int) -> None:
    """Measure and print."""
    with TemporaryDirectory() as scratch:
        path = file or write_demo_recording(120, Path(scratch))
        found = measure(path, bundle, threads, repeats)
    speed = found.media_s / found.score.wall_s
    print(f"{found.media_s:.1f} s of media, {found.threads} threads, median of {repeats}")
    costs = {
        "score": found.score,
        "decode alone": found.decode,
        "inference alone": found.inference,
    }
    for name, cost in costs.items():
        print(f"  {name:16} wall {cost.wall_s:7.2f} s   processor {cost.cpu_s:7.2f} s")
    print(f"  times real time                 {speed:6.1f}   (at least {SPEED_LIMIT:g})")
    print(f"  processor time, score over sum  {found.cpu_ratio:6.2f}   (at most {CPU_LIMIT:g})")
    print(
        f"  wall time, score over sum       {found.wall_ratio:6.2f}   "
        f"(at most {WALL_LIMIT:g} on 2 cores)"
    )
    print(
        json.dumps(
            {
                "bench": "score",
                "file": path.name,
                "media_s": round(found.media_s, 3),
                "realtime": round(speed, 2),
                "cpu_ratio": round(found.cpu_ratio, 3),
                "wall_ratio": round(found.wall_ratio, 3),
                "score_cpu_s": round(found.score.cpu_s, 3),
                "decode_cpu_s": round(found.decode.cpu_s, 3),
                "inference_cpu_s": round(found.inference.cpu_s, 3),
                "machine": describe(),
            }
        )
    )


def measure(
    path: Path, bundle: str, threads: int | None, repeats: int, *, device: str = "auto"
) -> Throughput:
    """Costs of the three tasks on one recording, after one round of each that does not count."""
    with Recognizer.open(bundle, device=device, threads=threads) as recognizer:
        calls = record_calls(recognizer, path)

        hops = 0

        def score() -> float:
            nonlocal hops
            with recognizer.session(path) as session:
                hops = sum(bool(hop.readings) for hop in session)
                return session.end_us / 1e6

        def decode() -> int:
            return count_pictures(path)

        def infer() -> None:
            for engine, feeds in calls:
                engine.run(feeds)

        tasks: tuple[Callable[[], object], ...] = (score, decode, infer)
        for task in tasks:
            task()
        rounds = [[cost_of(task) for task in tasks] for _ in range(repeats)]
        total, decoding, inference = (_median(costs) for costs in zip(*rounds, strict=True))
        return Throughput(
            media_s=score(),
            frames=decode(),
            hops=hops,
            rounds_s=tuple(costs[0].wall_s for costs in rounds),
            threads=recognizer.threads,
            score=total,
            decode=decoding,
            inference=inference,
            cpu_ratio=median(s.cpu_s / (d.cpu_s + i.cpu_s) for s, d, i in rounds),
            wall_ratio=median(s.wall_s / (d.wall_s + i.wall_s) for s, d, i in rounds),
        )


def count_pictures(path: Path) -> int:
    """Decode every packet of the first video and the first audio stream; the number of pictures."""
    pictures = 0
    with av.open(str(path)) as container:
        streams = [*container.streams.video[:1], *container.streams.audio[:1]]
        for packet in container.demux(streams):
            pictures += sum(isinstance(frame, av.VideoFrame) for frame in packet.decode())
    return pictures


def cost_of(task: Callable[[], object]) -> Cost:
    """What one call of `task` takes."""
    wall, cpu = time.perf_counter(), time.process_time()
    task()
    return Cost(time.perf_counter() - wall, time.process_time() - cpu)


def _median(costs: Iterable[Cost]) -> Cost:
    walls, cpus = zip(*((cost.wall_s, cost.cpu_s) for cost in costs), strict=True)
    return Cost(median(walls), median(cpus))
