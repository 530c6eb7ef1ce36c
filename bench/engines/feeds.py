"""Records the inputs of every engine of a bundle while recordings are scored, to run another engine on them.

    affectstream bench feeds interview.mp4 --output feeds.npz
    affectstream engines compare cpu cpu:fp16 --inputs feeds.npz

The file holds one array for each ``role/number/input``, numbered in the order of the calls.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path
from unittest.mock import patch

import numpy as np

from affectstream.bench.machine import describe
from affectstream.engines.graphs.wrapper import EngineWrapper
from affectstream.engines.spec import Array, Engine
from affectstream.stream.recognizer import Recognizer
from affectstream.stream.windowing import speech_detectors

Feeds = list[dict[str, Array]]
Calls = list[tuple[Engine, dict[str, Array]]]


class FeedRecorder(EngineWrapper):
    """Appends the inputs of each call to `calls`, a list that several may share. Its engine stays open."""

    def __init__(self, engine: Engine, calls: Calls) -> None:
        super().__init__(engine)
        self.calls = calls

    def __exit__(self, *_: object) -> None:
        return

    def run(self, feeds: Mapping[str, Array]) -> dict[str, Array]:
        """As the engine's own `run`."""
        self.calls.append((self.inner, dict(feeds)))
        return self.inner.run(feeds)


def record_calls(recognizer: Recognizer, path: Path) -> Calls:
    """Score `path` and return every call of the bundle's engines and of the speech gate, in order."""
    calls, plain = Calls(), recognizer.bundle
    # A file that several members share is one engine: its calls are recorded once.
    recorders = {id(e): FeedRecorder(e, calls) for e in plain.all_engines.values()}
    recognizer.bundle = plain.with_engines(
        {role: recorders[id(e)] for role, e in plain.all_engines.items()}
    )
    gate = FeedRecorder(speech_detectors.open_silero(), calls)
    try:
        with (
            patch.object(speech_detectors, "open_silero", lambda: gate),
            recognizer.session(path) as session,
        ):
            for _ in session:
                pass
    finally:
        recognizer.bundle = plain
    return calls


def record_feeds(recognizer: Recognizer, path: Path) -> dict[str, Feeds]:
    """Score `path` and return the inputs of each role; ``member/role`` inside a member."""
    calls, engines = record_calls(recognizer, path), recognizer.bundle.all_engines
    return {role: [f for e, f in calls if e is engine] for role, engine in engines.items()}


def main(files: Sequence[Path], output: Path, bundle: str) -> None:
    """Record and write."""
    arrays: dict[str, Array] = {}
    calls: dict[str, int] = {}
    with Recognizer.open(bundle, threads=1) as recognizer:
        for path in files:
            for role, recorded in record_feeds(recognizer, path).items():
                for feeds in recorded:
                    number = calls[role] = calls.get(role, 0) + 1
                    arrays.update({f"{role}/{number}/{name}": a for name, a in feeds.items()})
    with output.open("wb") as file:
        np.savez_compressed(file, allow_pickle=False, **arrays)
    for role, count in calls.items():
        print(f"  {role:16} {count} calls")
    print(json.dumps({"bench": "feeds", "calls": calls, "machine": describe()}))
