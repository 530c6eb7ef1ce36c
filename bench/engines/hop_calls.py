"""The engine calls of one hop, as a recording gives them, and the same for many sessions at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import av
import numpy as np

from affectstream.bench.engines.feeds import Calls, record_calls
from affectstream.engines.graphs.batching import BATCH_SIZES
from affectstream.engines.graphs.feeds import random_feeds
from affectstream.engines.spec import Array, Engine
from affectstream.stream.recognizer import Recognizer

DETECTOR = "face_detector"
FACE_ROLES = (DETECTOR, "face_geometry", "face_encoder")
ORDER = (*FACE_ROLES, "voice_encoder", "text_encoder", "fusion")
HOP = "hop"
"""Name of the whole hop among the engines."""


class HopCalls:
    """What the engines of a bundle are asked while a recording is scored, for one hop on average."""

    def __init__(self, recognizer: Recognizer, source: Path) -> None:
        """Score `source` once. Raises what scoring raises, and `ValueError` if it states no duration."""
        self.engines = dict(recognizer.bundle.all_engines)
        self._calls = record_calls(recognizer, source)
        with av.open(str(source)) as container:
            if not container.duration:
                raise ValueError(f"{source} does not state its duration")
            hops = max(1.0, container.duration / recognizer.bundle.manifest.hop_us)
        self._rows = {role: self._recorded(role) / hops for role in self.engines}
        self.looks = max(
            1, *(round(self._rows[role]) for role in self.engines if _name(role) == DETECTOR)
        )
        """Pictures of a hop that are looked at."""

    def feeds(self, role: str, rows: int) -> Mapping[str, Array]:
        """Inputs of `rows` rows for one engine: its last recorded call again and again, or random ones."""
        engine = self.engines[role]
        recorded = next((f for e, f in reversed(self._calls) if e is engine), None)
        if recorded is None:
            return random_feeds(engine.inputs, 1, 0, rows)[0]
        return _with_rows(engine, recorded, rows)

    def hop(self, sessions: int) -> Calls:
        """The calls of a hop for `sessions` sessions together, in batches of 64 at most.

        As in a live session: each picture that is looked at goes through the engines of faces, then come
        voice and fusion.
        """
        rows = self.hop_rows()
        faces = [role for role in rows if _name(role) in FACE_ROLES]
        others = [role for role in rows if _name(role) not in FACE_ROLES]
        found: Calls = []
        for role in [*sorted(faces, key=_order) * self.looks, *sorted(others, key=_order)]:
            of_call = rows[role] // self.looks if role in faces else rows[role]
            found += self._split(role, sessions * of_call)
        return found

    def hop_rows(self) -> dict[str, int]:
        """Rows of each engine in the hop of one session; the engines of faces have as many at each look."""
        rows: dict[str, int] = {}
        for role, average in self._rows.items():
            looks = self.looks if _name(role) in FACE_ROLES else 1
            if average:
                rows[role] = looks * max(1, round(average / looks))
        return rows

    def _recorded(self, role: str) -> int:
        engine = self.engines[role]
        return sum(len(next(iter(feeds.values()))) for e, feeds in self._calls if e is engine)

    def _split(self, role: str, rows: int) -> Calls:
        engine, largest = self.engines[role], BATCH_SIZES[-1]
        if not _batched(engine):
            return [(engine, dict(self.feeds(role, 1)))] * rows
        counts = [min(largest, rows - start) for start in range(0, rows, largest)]
        return [(engine, dict(self.feeds(role, count))) for count in counts]


def _name(role: str) -> str:
    """Without the member's name."""
    return role.rpartition("/")[2]


def _order(role: str) -> tuple[int, str]:
    name = _name(role)
    return (ORDER.index(name) if name in ORDER else len(ORDER) - 2), role


def _batched(engine: Engine) -> bool:
    return all(spec.shape and isinstance(spec.shape[0], str) for spec in engine.inputs.values())


def _with_rows(engine: Engine, feeds: Mapping[str, Array], rows: int) -> dict[str, Array]:
    if not _batched(engine):
        return dict(feeds)
    return {name: _repeat(array, rows) for name, array in feeds.items()}


def _repeat(array: Array, rows: int) -> Array:
    return np.ascontiguousarray(array[np.arange(rows) % len(array)])


def run_calls(calls: Sequence[tuple[Engine, Mapping[str, Array]]]) -> None:
    """Run all calls in order, each after the one before it."""
    for engine, feeds in calls:
        engine.run(feeds)
