"""The thread that owns a GPU context and every object in it.

Three facts about pycuda shape this file:

- Only the thread that created an object can free it. So one thread opens, runs and closes everything.
- A thread that ends with a pushed context, or is in a call when the interpreter exits, aborts the process.
  So the context is pushed only around work, and the thread is stopped at the interpreter's exit.
- An error keeps the local variables of its frames alive, and with them GPU memory, on the thread that holds
  the error. So errors lose their frames before they leave.
"""

from __future__ import annotations

import threading
import traceback
import weakref
from collections import deque
from collections.abc import Callable
from concurrent.futures import Future
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from queue import Empty, SimpleQueue
from typing import Generic, Protocol, TypeVar

from affectstream.engines.errors import EngineError
from affectstream.engines.runtimes.cuda.memory import DeviceApi, DeviceFault

DEPTH = 2
"""Items on the GPU at once: the inputs of the next travel while the GPU computes this one."""

Item = TypeVar("Item")
Result = TypeVar("Result")
ItemIn = TypeVar("ItemIn", contravariant=True)
ResultOut = TypeVar("ResultOut", covariant=True)


class Work(Protocol[ItemIn, ResultOut]):
    """What a GPU thread does. Every method is called on the thread, with its context current."""

    def begin(self, item: ItemIn) -> Callable[[], ResultOut]:
        """Give `item` to the GPU without waiting. The returned function waits and returns the result.

        It is called at most `DEPTH` times before the first result is fetched; results are fetched in order.
        An error fails this item alone, unless it is a `DeviceFault`.
        """
        ...

    def close(self) -> None:
        """Free everything. No item is on the GPU any more."""
        ...


@dataclass(frozen=True, slots=True)
class _Job(Generic[Item, Result]):
    item: Item
    future: Future[Result]


class _JobQueue(Generic[Item, Result]):
    """Jobs for the thread, at most `limit`; None at the end stops it."""

    def __init__(self, name: str, limit: int) -> None:
        self._name = name
        self._limit = limit
        self._jobs: SimpleQueue[_Job[Item, Result] | None] = SimpleQueue()
        self._closed = False
        # A garbage collection inside these methods may call `close` on the same thread.
        self._lock = threading.RLock()

    def put(self, job: _Job[Item, Result]) -> None:
        with self._lock:
            if self._closed:
                raise EngineError(f"{self._name}: this engine was closed; open it again")
            if self._jobs.qsize() >= self._limit:
                raise EngineError(
                    f"{self._name}: {self._limit} batches are waiting; await results before you submit more"
                )
            self._jobs.put(job)

    def get(self, *, wait: bool) -> _Job[Item, Result] | None:
        """The next job; None means stop. Raises `queue.Empty` when there is none and `wait` is false."""
        return self._jobs.get(block=wait)

    def close(self) -> None:
        with self._lock:
            if not self._closed:
                self._closed = True
                self._jobs.put(None)


class GpuThread(Generic[Item, Result]):
    """A thread with a GPU. Every other thread may call `submit`."""

    def __init__(
        self,
        name: str,
        open_device: Callable[[], DeviceApi],
        open_work: Callable[[DeviceApi], Work[Item, Result]],
        *,
        limit: int = 64,
    ) -> None:
        """Start the thread and wait until the device and the work are open. Raises the error of opening.

        At most `limit` items may wait for the GPU.
        """
        self._queue: _JobQueue[Item, Result] = _JobQueue(name, limit)
        opened: Future[None] = Future()
        self._ended = threading.Event()
        self._thread = threading.Thread(
            target=_run,
            args=(
                self._ended,
                partial(_serve, name, self._queue, opened, open_device, open_work),
            ),
            name=f"GPU thread {name}",
            daemon=True,  # an engine that is not closed must not keep the interpreter alive
        )
        # Before `start`: Ctrl-C while opening must not leave the thread behind.
        weakref.finalize(self, _close_and_wait, self._queue, self._thread, self._ended)
        self._thread.start()
        opened.result()

    def submit(self, item: Item) -> Future[Result]:
        """Queue `item`. Raises `EngineError` when closed, when too many wait, or on this thread itself."""
        if threading.current_thread() is self._thread:
            raise EngineError(
                f"{self._thread.name}: a callback of a result calls the engine on its own thread: "
                "hand the result to another thread first"
            )
        future: Future[Result] = Future()
        self._queue.put(_Job(item, future))
        return future

    def close(self) -> None:
        """Finish the submitted items, free everything and end the thread. It may be called again."""
        self._queue.close()
        _wait(self._thread, self._ended)


def _wait(thread: threading.Thread, ended: threading.Event) -> None:
    """Wait until the thread has ended. Returns at once on the thread itself and in a forked process.

    Not with `join`: after an interrupt it takes the thread for ended (Python 3.11).
    """
    if thread is not threading.current_thread() and thread.is_alive():
        ended.wait()


def _close_and_wait(
    queue: _JobQueue[Item, Result], thread: threading.Thread, ended: threading.Event
) -> None:
    """Close at the interpreter's exit, or when the `GpuThread` is collected. Ctrl-C does not interrupt it."""
    queue.close()
    while True:
        try:
            return _wait(thread, ended)
        except KeyboardInterrupt:
            continue


def _run(ended: threading.Event, serve: Callable[[], None]) -> None:
    try:
        serve()
    finally:
        ended.set()


def _serve(
    name: str,
    queue: _JobQueue[Item, Result],
    opened: Future[None],
    open_device: Callable[[], DeviceApi],
    open_work: Callable[[DeviceApi], Work[Item, Result]],
) -> None:
    try:
        device = open_device()
    except BaseException as error:
        opened.set_exception(_drop_frames(error))
        return
    try:
        work = _in_context(device, open_work, device)
    except BaseException as error:
        opened.set_exception(_drop_frames(error))
    else:
        opened.set_result(None)
        _loop(name, queue, device, work)
        with suppress(DeviceFault):  # with a broken context the driver frees the memory at exit
            _in_context(device, work.close)
        del work
    finally:
        device.close()


def _loop(
    name: str,
    queue: _JobQueue[Item, Result],
    device: DeviceApi,
    work: Work[Item, Result],
) -> None:
    in_flight: deque[tuple[Future[Result], Callable[[], Result]]] = deque()
    broken = ""
    stopping = False
    while in_flight or not stopping:
        job = None
        if not stopping and len(in_flight) < DEPTH:
            with suppress(Empty):
                job = queue.get(wait=not in_flight)
                stopping = job is None
        if job is not None:
            if job.future.set_running_or_notify_cancel():
                try:
                    if broken:
                        raise EngineError(f"{name}: failed before, open it again; {broken}")
                    in_flight.append((job.future, _in_context(device, work.begin, job.item)))
                except BaseException as error:
                    broken = broken or _fault_reason(error)
                    job.future.set_exception(_drop_frames(error))
        elif in_flight:
            future, finish = in_flight.popleft()
            try:
                result = _in_context(device, finish)
            except BaseException as error:
                broken = broken or _fault_reason(error)
                future.set_exception(_drop_frames(error))
            else:
                future.set_result(result)
                del result
            del future, finish
        del job


Returned = TypeVar("Returned")


def _in_context(device: DeviceApi, call: Callable[..., Returned], *args: object) -> Returned:
    """`call(*args)` with the context current; after an error, it stays current until the frames are freed."""
    with device:
        try:
            return call(*args)
        except BaseException as error:
            _drop_frames(error)
            raise


def _drop_frames(error: BaseException) -> BaseException:
    """Remove the frames of `error` and its causes. An unexpected error keeps its traceback as text."""
    if not isinstance(error, EngineError):
        error.add_note("".join(traceback.format_tb(error.__traceback__)))
    link: BaseException | None = error
    while link is not None:
        # Clearing the frames is not enough: a comprehension's frame keeps its closure alive.
        link.__traceback__ = None
        link = link.__cause__ or link.__context__
    return error


def _fault_reason(error: BaseException) -> str:
    return str(error) if isinstance(error, DeviceFault) else ""
