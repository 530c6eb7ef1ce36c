"""One set of engines for every session: who waits for a busy engine is served together.

The thread that finds an engine free runs it; those that come meanwhile wait in line, and the first of
them then runs what has gathered as one batch. So nobody is delayed to fill a batch, at most one batch
is between a request and its turn, and a session, which waits for its answer before it asks again, has
one place in each: a fair share, whatever the others ask for.

This pays where a batch costs less than its parts, on a GPU. On a CPU, where several threads compute side
by side anyway, it does not (docs/guides/serve.md has the figures), so there `share` only measures.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Mapping
from types import TracebackType
from typing import Self

import numpy as np

from affectstream.engines.bundle.bundle import Bundle
from affectstream.engines.spec import SLOTS, Array, Engine, TensorSpec, check_feeds, padded, slot

Observe = Callable[[str, float], None]
"""Called with the role of an engine and the seconds that one request took, waiting included."""


class _Request:
    def __init__(self, feeds: Mapping[str, Array]) -> None:
        self.feeds = feeds
        self.rows = len(next(iter(feeds.values())))
        self.shapes = tuple(sorted((name, array.shape[1:]) for name, array in feeds.items()))
        self.turn = threading.Event()
        """Set when the answer is there, or when it is this one's turn to run the engine."""
        self.answer: dict[str, Array] | None = None
        self.error: BaseException | None = None

    @property
    def done(self) -> bool:
        return self.answer is not None or self.error is not None


class _Around:
    """An engine around another: the same to look at, and closed with it."""

    def __init__(self, engine: Engine, role: str) -> None:
        self._engine, self._role = engine, role

    @property
    def inputs(self) -> Mapping[str, TensorSpec]:
        """Inputs of the engine."""
        return self._engine.inputs

    @property
    def outputs(self) -> Mapping[str, TensorSpec]:
        """Outputs of the engine."""
        return self._engine.outputs

    @property
    def runtime(self) -> str:
        """What computes."""
        return self._engine.runtime

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._engine.__exit__(kind, error, trace)


class SharedEngine(_Around):
    """An engine whose waiting requests are run together, in order of arrival, up to 64 rows at once."""

    def __init__(self, engine: Engine, role: str) -> None:
        super().__init__(engine, role)
        self._lock = threading.Lock()
        self._line: deque[_Request] = deque()
        self._busy = False

    def run(self, feeds: Mapping[str, Array]) -> dict[str, Array]:
        """All outputs for these rows, by name. Raises `EngineError` for this request's own faults."""
        check_feeds(self._role, self._engine.inputs, feeds)
        request = _Request(feeds)
        with self._lock:
            self._line.append(request)
            first, self._busy = not self._busy, True
        if not first:
            request.turn.wait()
        if not request.done:
            self._serve()
        if request.error is not None:
            raise request.error
        assert request.answer is not None  # a batch always takes the head of the line
        return request.answer

    def _serve(self) -> None:
        """Run one batch from the head of the line, then let the next in line do so."""
        with self._lock:
            batch = self._batch()
        try:
            self._run(batch)
        finally:
            with self._lock:
                heir = self._line[0] if self._line else None
                self._busy = heir is not None
            for request in batch:
                request.turn.set()
            if heir is not None:
                heir.turn.set()

    def _batch(self) -> list[_Request]:
        """The head of the line and those after it that fit with it, in order."""
        head = self._line.popleft()
        batch, rows = [head], head.rows
        for request in list(self._line):
            if request.shapes == head.shapes and rows + request.rows <= SLOTS[-1]:
                self._line.remove(request)
                batch.append(request)
                rows += request.rows
        return batch

    def _run(self, batch: list[_Request]) -> None:
        try:
            if len(batch) == 1:
                batch[0].answer = self._engine.run(batch[0].feeds)
                return
            size = slot(sum(request.rows for request in batch))
            joined = {
                name: padded(np.concatenate([request.feeds[name] for request in batch]), size)
                for name in self._engine.inputs
            }
            outputs = self._engine.run(joined)
            start = 0
            for request in batch:
                end = start + request.rows
                request.answer = {n: a[start:end].copy() for n, a in outputs.items()}
                start = end
        except BaseException as error:  # each of them raises it in its own thread
            for request in batch:
                request.error = error


class MeasuredEngine(_Around):
    """An engine that tells how long each request took."""

    def __init__(self, engine: Engine, role: str, observe: Observe) -> None:
        super().__init__(engine, role)
        self._observe = observe

    def run(self, feeds: Mapping[str, Array]) -> dict[str, Array]:
        """All outputs by name."""
        start_s = time.perf_counter()
        try:
            return self._engine.run(feeds)
        finally:
            self._observe(self._role, time.perf_counter() - start_s)


def share(bundle: Bundle, observe: Observe, *, together: bool) -> Bundle:
    """The same bundle for many sessions: measured, and with `together` in batches across them.

    Closing it closes the engines.
    """

    made: dict[int, Engine] = {}  # one that serves several members stays one

    def wrapped(role: str, engine: Engine) -> Engine:
        if id(engine) not in made:
            shared = SharedEngine(engine, role) if together and _batches(engine) else engine
            made[id(engine)] = MeasuredEngine(shared, role, observe)
        return made[id(engine)]

    return bundle.with_engines({r: wrapped(r, e) for r, e in bundle.every_engine.items()})


def _batches(engine: Engine) -> bool:
    """Whether every input and output has a free first axis."""
    specs = [*engine.inputs.values(), *engine.outputs.values()]
    return all(spec.shape and isinstance(spec.shape[0], str) for spec in specs)
