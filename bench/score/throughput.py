"""How fast `score` is, and how much of its time is not decoding or inference.

In one run, on the same recording: `score` as a whole; decoding alone (bare PyAV, every frame and
sample, nothing converted); inference alone (every engine fed with exactly what `score` fed it, in the
same order, already in memory, in one thread). What is in neither (conversion to RGB, cropping,
resampling, voice gate, tracking, pose, windows, events) is the overhead. The three take turns; a ratio
is the median over the rounds, so a busy machine spoils a round and not the figure.

Not covered: opening the bundle, writing results.

    affectstream bench score interview.mp4
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path
from statistics import median
from tempfile import TemporaryDirectory

import av

from affectstream.bench.engines.feeds import calls_of
from affectstream.bench.machine import Cost, describe, measure_costs, median_cost
from affectstream.bench.recordings import write_demo_recording
from affectstream.stream.recognizer import Recognizer

CPU_LIMIT, WALL_LIMIT, SPEED_LIMIT = 1.25, 0.7, 10.0


@dataclass(frozen=True, slots=True)
class Measured:
    """What one recording cost as a whole and in its two parts: medians, and ratios of each round."""

    media_s: float
    threads: int
    score: Cost
    decode: Cost
    inference: Cost
    cpu_ratio: float
    wall_ratio: float


def decode_alone(path: Path) -> None:
    """Every packet of the first video and audio stream through its decoder, and nothing else."""
    with av.open(str(path)) as container:
        streams = [*container.streams.video[:1], *container.streams.audio[:1]]
        for packet in container.demux(streams):
            packet.decode()


def measure(path: Path, bundle: str, threads: int | None, repeats: int) -> Measured:
    """Costs of the three on one recording."""
    with Recognizer.open(bundle, threads=threads) as recognizer:
        calls = calls_of(recognizer, path)

        def whole() -> float:
            with recognizer.session(path) as session:
                for _ in session:
                    pass
                return session.end_us / 1e6

        def inference() -> None:
            for engine, feeds in calls:
                engine.run(feeds)

        rounds = measure_costs((whole, lambda: decode_alone(path), inference), repeats)
        score, decode, inferred = (median_cost(costs) for costs in zip(*rounds, strict=True))
        return Measured(
            media_s=whole(),
            threads=recognizer.threads,
            score=score,
            decode=decode,
            inference=inferred,
            cpu_ratio=median(s.cpu_s / (d.cpu_s + i.cpu_s) for s, d, i in rounds),
            wall_ratio=median(s.wall_s / (d.wall_s + i.wall_s) for s, d, i in rounds),
        )


def main(file: Path | None, bundle: str, threads: int | None, repeats: int) -> None:
    """Measure and print."""
    with TemporaryDirectory() as scratch:
        path = file or write_demo_recording(120, Path(scratch))
        found = measure(path, bundle, threads, repeats)
    media_s, score, decode, inference = found.media_s, found.score, found.decode, found.inference
    print(f"{media_s:.1f} s of media, {found.threads} threads, median of {repeats}")
    for name, cost in (("score", score), ("decode alone", decode), ("inference alone", inference)):
        print(f"  {name:16} wall {cost.wall_s:7.2f} s   processors {cost.cpu_s:7.2f} s")
    speed = media_s / score.wall_s
    print(f"  real-time ratio                {speed:6.1f}   (at least {SPEED_LIMIT:g})")
    print(f"  processors, score over the sum {found.cpu_ratio:6.2f}   (at most {CPU_LIMIT:g})")
    print(
        f"  wall, score over the sum       {found.wall_ratio:6.2f}   (at most {WALL_LIMIT:g} on 2 cores)"
    )
    print(
        json.dumps(
            {
                "bench": "score",
                "file": path.name,
                "media_s": round(media_s, 3),
                "realtime": round(speed, 2),
                "cpu_ratio": round(found.cpu_ratio, 3),
                "wall_ratio": round(found.wall_ratio, 3),
                "score_cpu_s": round(score.cpu_s, 3),
                "decode_cpu_s": round(decode.cpu_s, 3),
                "inference_cpu_s": round(inference.cpu_s, 3),
                "machine": describe(),
            }
        )
    )
