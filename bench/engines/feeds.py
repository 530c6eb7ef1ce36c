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
Calls = list[tuple[Engine, dict[str, Array]]]


class FeedRecorder(AbstractContextManager["FeedRecorder"]):
    """An engine that notes what it was fed, in `calls`, which several may share."""

    def __init__(self, engine: Engine, calls: Calls) -> None:
        self._engine, self.calls = engine, calls
        self.inputs, self.outputs, self.runtime = engine.inputs, engine.outputs, engine.runtime

    def __exit__(self, *_: object) -> None:
        return

    def run(self, feeds: Mapping[str, Array]) -> dict[str, Array]:
        """As the engine's own `run`."""
        self.calls.append((self._engine, dict(feeds)))
        return self._engine.run(feeds)


def calls_of(recognizer: Recognizer, path: Path) -> Calls:
    """Every call of an engine while `path` was scored, in order."""
    calls, plain = Calls(), recognizer.bundle
    # A file that several members share is one engine: its calls are noted once.
    recorders = {id(e): FeedRecorder(e, calls) for e in plain.every_engine.values()}
    recognizer.bundle = plain.with_engines(
        {role: recorders[id(e)] for role, e in plain.every_engine.items()}
    )
    try:
        with recognizer.session(path) as session:
            for _ in session:
                pass
    finally:
        recognizer.bundle = plain
    return calls


def record(recognizer: Recognizer, path: Path) -> dict[str, Feeds]:
    """What each role was fed while `path` was scored; ``member/role`` inside a member."""
    calls, engines = calls_of(recognizer, path), recognizer.bundle.every_engine
    return {role: [f for e, f in calls if e is engine] for role, engine in engines.items()}


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
