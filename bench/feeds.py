"""What each engine of a bundle is fed while recordings are scored, to be fed to another engine.

    affectstream bench feeds interview.mp4 --output feeds.npz
    affectstream engines compare cpu cpu:fp16 --inputs feeds.npz

The file holds one array for each ``role/number/input``, numbered in the order of the calls.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path

import numpy as np

from affectstream.bench.machine import describe
from affectstream.engines.spec import Array, Engine
from affectstream.stream.recognizer import Recognizer

Feeds = list[dict[str, Array]]


class Recorder(AbstractContextManager["Recorder"]):
    """An engine that remembers what it was fed, in `fed`."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self.fed: Feeds = []
        self.inputs, self.outputs, self.runtime = engine.inputs, engine.outputs, engine.runtime

    def __exit__(self, *_: object) -> None:
        return

    def run(self, feeds: Mapping[str, Array]) -> dict[str, Array]:
        """As the engine's own `run`."""
        self.fed.append(dict(feeds))
        return self._engine.run(feeds)

    def replay(self) -> None:
        """Feed the engine again with all of it."""
        for feeds in self.fed:
            self._engine.run(feeds)


def record(recognizer: Recognizer, path: Path) -> dict[str, Feeds]:
    """What each role was fed while `path` was scored."""
    engines = recognizer.bundle.engines
    plain = dict(engines)
    recorders = {role: Recorder(engine) for role, engine in plain.items()}
    engines.update(recorders)
    try:
        with recognizer.session(path) as session:
            for _ in session:
                pass
    finally:
        engines.update(plain)
    return {role: recorder.fed for role, recorder in recorders.items()}


def main(files: Sequence[Path], output: Path, bundle: str) -> None:
    """Record and write."""
    arrays: dict[str, Array] = {}
    calls: dict[str, int] = {}
    with Recognizer.open(bundle, threads=1) as recognizer:
        for path in files:
            for role, fed in record(recognizer, path).items():
                for feeds in fed:
                    number = calls[role] = calls.get(role, 0) + 1
                    arrays.update({f"{role}/{number}/{name}": a for name, a in feeds.items()})
    with output.open("wb") as file:
        np.savez_compressed(file, allow_pickle=False, **arrays)
    for role, count in calls.items():
        print(f"  {role:16} {count} calls")
    print(json.dumps({"bench": "feeds", "calls": calls, "machine": describe()}))
