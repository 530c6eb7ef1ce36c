"""One set of engines for every session: requests that wait for a busy engine run as one batch.

The thread that finds an engine free runs it. Requests that arrive meanwhile wait in a queue, and the
first of them then runs all that fit as one batch. So no request is delayed to fill a batch, and at most
one batch runs between a request and its turn. A session waits for each answer before its next request,
so it has one place in each batch, however much others ask for.

This pays if a batch costs less than its parts, as on a GPU. On a CPU, where several threads compute side
by side, it does not (docs/guides/serve.md has the measurements); there `share_engines` only measures.
"""

from __future__ import annotations

import threading
import time
from collections import deque
from collections.abc import Callable, Mapping

import numpy as np

from affectstream.engines.bundle.bundle import Bundle
from affectstream.engines.graphs.batching import BATCH_SIZES, batch_size_for, pad_rows
from affectstream.engines.graphs.wrapper import EngineWrapper
from affectstream.engines.spec import Array, Engine, check_feeds

Observe = Callable[[str, float], None]
"""Called with the role of an engine and the seconds that one request took, with its waiting."""


class _Request:
    def __init__(self, feeds: Mapping[str, Array]) -> None:
        self.feeds = feeds
        self.rows = len(next(iter(feeds.values())))
        self.shapes = tuple(sorted((name, array.shape[1:]) for name, array in feeds.items()))
        self.turn = threading.Event()
        """Set when the outputs are there, or when this thread is to run the next batch."""
        self.outputs: dict[str, Array] | None = None
        self.error: BaseException | None = None

    @property
    def done(self) -> bool:
        return self.outputs is not None or self.error is not None


class BatchingEngine(EngineWrapper):
    """An engine that runs waiting requests together, in order of arrival, up to 64 rows at once."""

    def __init__(self, engine: Engine, role: str) -> None:
        super().__init__(engine)
        self._role = role
        self._lock = threading.Lock()
        self._waiting: deque[_Request] = deque()
        self._busy = False

    def run(self, feeds: Mapping[str, Array]) -> dict[str, Array]:
        """The outputs for these rows, by name. Raises `EngineError`."""
        check_feeds(self._role, self.inner.inputs, feeds)
        request = _Request(feeds)
        with self._lock:
            self._waiting.append(request)
            first, self._busy = not self._busy, True
        if not first:
            request.turn.wait()
        if not request.done:
            self._serve()
        if request.error is not None:
            raise request.error
        assert request.outputs is not None  # a batch always takes the first that waits
        return request.outputs

    def _serve(self) -> None:
        """Run one batch, then hand the engine to the thread of the first request that waits."""
        with self._lock:
            batch = self._take_batch()
        try:
            self._run(batch)
        finally:
            with self._lock:
                successor = self._waiting[0] if self._waiting else None
                self._busy = successor is not None
            for request in batch:
                request.turn.set()
            if successor is not None:
                successor.turn.set()

    def _take_batch(self) -> list[_Request]:
        """The first request, and all after it that fit into one batch with it, in order."""
        first = self._waiting.popleft()
        batch, rows = [first], first.rows
        for request in list(self._waiting):
            if request.shapes == first.shapes and rows + request.rows <= BATCH_SIZES[-1]:
                self._waiting.remove(request)
                batch.append(request)
                rows += request.rows
        return batch

    def _run(self, batch: list[_Request]) -> None:
        try:
            if len(batch) == 1:
                batch[0].outputs = self.inner.run(batch[0].feeds)
                return
            size = batch_size_for(sum(request.rows for request in batch))
            joined = {
                name: pad_rows(np.concatenate([request.feeds[name] for request in batch]), size)
                for name in self.inner.inputs
            }
            outputs = self.inner.run(joined)
            start = 0
            for request in batch:
                end = start + request.rows
                request.outputs = {n: a[start:end].copy() for n, a in outputs.items()}
                start = end
        except BaseException as error:  # each request raises it in its own thread
            for request in batch:
                request.error = error


class TimedEngine(EngineWrapper):
    """An engine that reports the duration of each request."""

    def __init__(self, engine: Engine, role: str, observe: Observe) -> None:
        super().__init__(engine)
        self._role, self._observe = role, observe

    def run(self, feeds: Mapping[str, Array]) -> dict[str, Array]:
        """The outputs by name. Raises `EngineError`."""
        start_s = time.perf_counter()
        try:
            return self.inner.run(feeds)
        finally:
            self._observe(self._role, time.perf_counter() - start_s)


def share_engines(bundle: Bundle, observe: Observe, *, batch: bool) -> Bundle:
    """The same bundle for many sessions: with timed engines, and with `batch` batches across sessions.

    Closing it closes the engines.
    """
    wrappers: dict[int, Engine] = {}  # an engine that serves several members stays one

    def wrap(role: str, engine: Engine) -> Engine:
        if id(engine) not in wrappers:
            inner = BatchingEngine(engine, role) if batch and _has_free_rows(engine) else engine
            wrappers[id(engine)] = TimedEngine(inner, role, observe)
        return wrappers[id(engine)]

    return bundle.with_engines({r: wrap(r, e) for r, e in bundle.all_engines.items()})


def _has_free_rows(engine: Engine) -> bool:
    """Whether the first axis of every input and output is dynamic."""
    specs = [*engine.inputs.values(), *engine.outputs.values()]
    return all(spec.shape and isinstance(spec.shape[0], str) for spec in specs)
