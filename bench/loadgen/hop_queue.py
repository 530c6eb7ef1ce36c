"""The system that LoadGen tests: hops of a bundle wait in one queue, and workers compute them in batches."""

from __future__ import annotations

import queue
import threading
from collections.abc import Callable, Sequence
from types import TracebackType
from typing import Self

from affectstream.bench.engines.feeds import Calls
from affectstream.bench.engines.hop_calls import HopCalls, run_calls
from affectstream.engines.graphs.batching import BATCH_SIZES, batch_size_for

Finished = Callable[[Sequence[int]], None]
"""Is called with the identifiers of the hops that a worker has computed, from its thread."""


class HopQueue:
    """`workers` threads. Each takes a hop, with those that wait as well, up to `batch` of them, as one batch.

    A batch is never waited for: without a queue, each hop is computed at once and alone. With ``batch=1``
    the hops of different sessions are never computed together.
    """

    def __init__(self, calls: HopCalls, workers: int, batch: int, finished: Finished) -> None:
        """Prepares the inputs of all batch sizes, and computes each once."""
        sizes = [size for size in BATCH_SIZES if size <= batch]
        self._calls: dict[int, Calls] = {size: calls.hop(size) for size in sizes}
        self.largest = sizes[-1]
        self._finished = finished
        self._waiting: queue.SimpleQueue[int | None] = queue.SimpleQueue()
        self._threads = [threading.Thread(target=self._work, daemon=True) for _ in range(workers)]
        self.error: BaseException | None = None
        """The first error of a worker; its hops are reported as finished."""
        for size in sizes:
            run_calls(self._calls[size])

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for _ in self._threads:
            self._waiting.put(None)
        for thread in self._threads:
            thread.join()

    def put(self, hops: Sequence[int]) -> None:
        """Queue hops by their identifiers. Returns at once."""
        for hop in hops:
            self._waiting.put(hop)

    def _work(self) -> None:
        ended = False
        while not ended and (first := self._waiting.get()) is not None:
            hops = [first]
            while len(hops) < self.largest:
                try:
                    following = self._waiting.get_nowait()
                except queue.Empty:
                    break
                if following is None:
                    ended = True
                    break
                hops.append(following)
            try:
                run_calls(self._calls[batch_size_for(len(hops))])
            except BaseException as error:  # LoadGen waits for every hop
                self.error = self.error or error
            self._finished(hops)
