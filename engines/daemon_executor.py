"""An executor whose threads cannot keep the program from ending."""

from __future__ import annotations

import atexit
import queue
import threading
import time
from collections.abc import Callable
from concurrent.futures import Executor, Future
from functools import partial
from typing import Any, ParamSpec, TypeVar
from weakref import WeakKeyDictionary, WeakMethod, WeakSet

_Parameters = ParamSpec("_Parameters")
_Result = TypeVar("_Result")
_Call = tuple["Future[Any]", Callable[[], Any]]

_EXIT_S = 2.0
"""How long the end of the program waits for calls that still run: Python would break them off where they next
need it, and C++ code that is broken off aborts the process."""


class DaemonExecutor(Executor):
    """Like `ThreadPoolExecutor`, but its threads are daemons.

    When Python exits it waits for the threads of a `ThreadPoolExecutor`, even after a `shutdown` that does
    not wait: one call that is stuck in C (an engine, a read from storage that does not answer) keeps the
    process alive. These threads are waited for two seconds at most.
    """

    def __init__(self, max_threads: int, name: str) -> None:
        """Start up to `max_threads` threads, each when it is first needed."""
        if max_threads < 1:
            raise ValueError(f"max_threads must be at least 1, found {max_threads}")
        self._max_threads, self._name = max_threads, name
        self._calls: queue.SimpleQueue[_Call | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._idle = threading.Semaphore(0)
        self._threads: list[threading.Thread] = []
        self._closed = False
        _open.add(self)

    def submit(
        self,
        fn: Callable[_Parameters, _Result],
        /,
        *args: _Parameters.args,
        **kwargs: _Parameters.kwargs,
    ) -> Future[_Result]:
        """Call `fn` on a thread. Raises RuntimeError after `shutdown`."""
        future: Future[_Result] = Future()
        with self._lock:
            if self._closed:
                raise RuntimeError("this executor was shut down")
            self._calls.put((future, partial(fn, *args, **kwargs)))
            if not self._idle.acquire(blocking=False) and len(self._threads) < self._max_threads:
                name = f"{self._name}_{len(self._threads)}"
                thread = threading.Thread(target=self._run, name=name, daemon=True)
                self._threads.append(thread)
                thread.start()
        return future

    def shutdown(self, wait: bool = True, *, cancel_futures: bool = False) -> None:
        """Take no more calls. The threads end after the waiting calls, which `cancel_futures` cancels."""
        with self._lock:
            self._closed = True
            waiting = self._take_waiting() if cancel_futures else []
            for _ in self._threads:
                self._calls.put(None)
        for future in waiting:
            future.cancel()  # without the lock: this calls what the caller added to the future
        if wait:
            for thread in self._threads:
                thread.join()

    def join(self, timeout_s: float) -> None:
        """Wait for the threads at most `timeout_s`, after `shutdown`.

        Without this, an exit right after `shutdown` may abort: Python ends a daemon thread that returns from
        C by unwinding it, which C++ code does not allow.
        """
        until_s = time.monotonic() + timeout_s
        for thread in self._threads:
            thread.join(max(0.0, until_s - time.monotonic()))

    def _take_waiting(self) -> list[Future[Any]]:
        waiting: list[Future[Any]] = []
        while True:
            try:
                call = self._calls.get_nowait()
            except queue.Empty:
                return waiting
            if call is not None:
                waiting.append(call[0])

    def _run(self) -> None:
        while (call := self._calls.get()) is not None:
            future, work = call
            if future.set_running_or_notify_cancel():
                try:
                    future.set_result(work())
                except BaseException as error:  # raised by `Future.result`
                    future.set_exception(error)
            del call, future, work  # a waiting thread must not hold on to the last result
            self._idle.release()


_open: WeakSet[DaemonExecutor] = WeakSet()
_stops: WeakKeyDictionary[threading.Thread, WeakMethod[Callable[[], object]]] = WeakKeyDictionary()


def stop_at_exit(thread: threading.Thread, stop: Callable[[], object]) -> None:
    """Call `stop`, a bound method, when Python exits, and wait for the daemon `thread`, two seconds at most.

    For threads that compute: one that runs C++ code when Python ends aborts the process.
    """
    _stops[thread] = WeakMethod(stop)


@atexit.register
def _end() -> None:
    """Stop every thread and cancel what waits in every executor, then wait for what runs."""
    until_s = time.monotonic() + _EXIT_S
    stopping, executors = list(_stops.items()), list(_open)
    for _, method in stopping:
        if (stop := method()) is not None:
            stop()
    for executor in executors:
        executor.shutdown(wait=False, cancel_futures=True)
    threads = [thread for executor in executors for thread in executor._threads]
    for thread in [*(thread for thread, _ in stopping), *threads]:
        thread.join(max(0.0, until_s - time.monotonic()))
