"""The engine calls of one hop, as a recording gives them, and the same for many sessions at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np

from affectstream.bench.engines.feeds import Calls, record_calls
from affectstream.engines.batching import BATCH_SIZES
from affectstream.engines.feeds import random_feeds
from affectstream.engines.spec import Array, Engine
from affectstream.stream.recognizer import Recognizer

HOP = "hop"
"""Name of the whole hop among the engines."""


class HopCalls:
    """What the engines of a bundle were asked while a recording was scored."""

    def __init__(self, recognizer: Recognizer, source: Path) -> None:
        """Score `source` once."""
        self.engines = dict(recognizer.bundle.all_engines)
        self._calls = record_calls(recognizer, source)
        self._hop = _fullest(self._calls, self.engines["fusion"])

    def feeds(self, role: str, rows: int) -> Mapping[str, Array]:
        """Inputs of `rows` rows for one engine: its last recorded call again and again, or random ones."""
        engine = self.engines[role]
        recorded = next((f for e, f in reversed(self._calls) if e is engine), None)
        if recorded is None:
            return random_feeds(engine.inputs, 1, 0, rows)[0]
        return _with_rows(engine, recorded, rows)

    def hop(self, sessions: int) -> Calls:
        """The calls of a hop for `sessions` sessions together: rows in batches of 64 at most."""
        found: Calls = []
        for engine, feeds in self._hop:
            if not _batched(engine):
                found += [(engine, feeds)] * sessions
                continue
            rows, largest = sessions * len(next(iter(feeds.values()))), BATCH_SIZES[-1]
            for start in range(0, rows, largest):
                count = min(largest, rows - start)
                found.append((engine, _with_rows(engine, feeds, count)))
        return found

    def hop_rows(self) -> dict[str, int]:
        """Rows of each engine in the hop of one session."""
        names = {id(engine): role for role, engine in self.engines.items()}
        rows: dict[str, int] = {}
        for engine, feeds in self._hop:
            role = names[id(engine)]
            rows[role] = rows.get(role, 0) + len(next(iter(feeds.values())))
        return rows


def _fullest(calls: Calls, fusion: Engine) -> Calls:
    """The calls up to a call of `fusion`, of the hop with the most different engines and calls."""
    hops: list[Calls] = [[]]
    for call in calls:
        hops[-1].append(call)
        if call[0] is fusion:
            hops.append([])
    whole = [hop for hop in hops if hop and hop[-1][0] is fusion]
    # The first hops also hold the calls of the frames before: the middle of those with all engines.
    most = max((len({id(e) for e, _ in hop}) for hop in whole), default=0)
    full = sorted((h for h in whole if len({id(e) for e, _ in h}) == most), key=len)
    return full[len(full) // 2] if full else []


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
