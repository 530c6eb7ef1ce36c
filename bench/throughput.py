"""How fast `score` is, and how much of its time is not decoding or inference.

In one run, on the same recording: `score` as a whole; decoding alone (bare PyAV, every frame and
sample, nothing converted, in one thread); inference alone (every engine fed with exactly what `score`
fed it, already in memory, in one thread). Medians after a warm-up. What is in neither (conversion to
RGB, cropping, resampling, voice gate, tracking, pose, windows, events) is the overhead.

Not covered: opening the bundle, writing results.

    affectstream bench score interview.mp4
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory

import av

from affectstream.bench.machine import Cost, cost_of, describe
from affectstream.bench.material import demo_recording
from affectstream.engines.spec import Array, Engine
from affectstream.stream.recognizer import Recognizer

CPU_LIMIT, WALL_LIMIT, SPEED_LIMIT = 1.25, 0.7, 10.0


@dataclass(frozen=True, slots=True)
class Measured:
    """What one recording cost as a whole and in its two parts."""

    media_s: float
    threads: int
    score: Cost
    decode: Cost
    inference: Cost


class _Recorder(AbstractContextManager["_Recorder"]):
    """An engine that remembers what it was fed."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._fed: list[dict[str, Array]] = []
        self.inputs, self.outputs, self.runtime = engine.inputs, engine.outputs, engine.runtime

    def __exit__(self, *_: object) -> None:
        return

    def run(self, feeds: Mapping[str, Array]) -> dict[str, Array]:
        self._fed.append(dict(feeds))
        return self._engine.run(feeds)

    def replay(self) -> None:
        for feeds in self._fed:
            self._engine.run(feeds)


def decode_alone(path: Path) -> None:
    """Every packet of the first video and audio stream through its decoder, and nothing else."""
    with av.open(str(path)) as container:
        streams = [*container.streams.video[:1], *container.streams.audio[:1]]
        for packet in container.demux(streams):
            packet.decode()


def measure(path: Path, bundle: str, threads: int | None, repeats: int) -> Measured:
    """Costs of the three on one recording."""
    with Recognizer.open(bundle, threads=threads) as recognizer:
        plain = dict(recognizer.bundle.engines)
        recorders = {role: _Recorder(engine) for role, engine in plain.items()}
        recognizer.bundle.engines.update(recorders)
        with recognizer.session(path) as session:
            for _ in session:
                pass
            media_s = session.end_us / 1e6
        recognizer.bundle.engines.update(plain)

        def whole() -> None:
            with recognizer.session(path) as session:
                for _ in session:
                    pass

        def inference() -> None:
            for recorder in recorders.values():
                recorder.replay()

        return Measured(
            media_s=media_s,
            threads=recognizer.threads,
            score=cost_of(whole, repeats),
            decode=cost_of(lambda: decode_alone(path), repeats),
            inference=cost_of(inference, repeats),
        )


def main(file: Path | None, bundle: str, threads: int | None, repeats: int) -> None:
    """Measure and print."""
    with TemporaryDirectory() as scratch:
        path = file or demo_recording(120, Path(scratch))
        found = measure(path, bundle, threads, repeats)
    media_s, score, decode, inference = found.media_s, found.score, found.decode, found.inference
    print(f"{media_s:.1f} s of media, {found.threads} threads, median of {repeats}")
    for name, cost in (("score", score), ("decode alone", decode), ("inference alone", inference)):
        print(f"  {name:16} wall {cost.wall_s:7.2f} s   processors {cost.cpu_s:7.2f} s")
    speed = media_s / score.wall_s
    cpu = score.cpu_s / (decode.cpu_s + inference.cpu_s)
    wall = score.wall_s / (decode.wall_s + inference.wall_s)
    print(f"  real-time ratio                {speed:6.1f}   (at least {SPEED_LIMIT:g})")
    print(f"  processors, score over the sum {cpu:6.2f}   (at most {CPU_LIMIT:g})")
    print(f"  wall, score over the sum       {wall:6.2f}   (at most {WALL_LIMIT:g} on 2 cores)")
    print(
        json.dumps(
            {
                "bench": "score",
                "file": path.name,
                "media_s": round(media_s, 3),
                "realtime": round(speed, 2),
                "cpu_ratio": round(cpu, 3),
                "wall_ratio": round(wall, 3),
                "score_cpu_s": round(score.cpu_s, 3),
                "decode_cpu_s": round(decode.cpu_s, 3),
                "inference_cpu_s": round(inference.cpu_s, 3),
                "machine": describe(),
            }
        )
    )
