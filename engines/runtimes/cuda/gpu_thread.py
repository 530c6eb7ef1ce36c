"""The one thread that owns a GPU context and everything that is made in it.

Three facts of pycuda shape this file. What a thread makes can be freed on that thread only. A thread that
ends, or is still in a call when the interpreter ends, with a context pushed aborts the whole process. And
an error keeps the local variables of its frames alive, GPU memory among them, on whatever thread holds it.
So one thread opens, runs and closes; the context is pushed only around work, never while waiting for it;
errors lose their frames before they leave; and at the interpreter's exit the thread is stopped and waited
for whether or not anyone closed it.
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
"""Items on the GPU at once: the next one's inputs travel while this one is computed."""

Item = TypeVar("Item")
Result = TypeVar("Result")
ItemIn = TypeVar("ItemIn", contravariant=True)
ResultOut = TypeVar("ResultOut", covariant=True)


class Work(Protocol[ItemIn, ResultOut]):
    """What a stage does. Always called on its thread, with the context current."""

    def begin(self, item: ItemIn) -> Callable[[], ResultOut]:
        """Give `item` to the GPU without waiting. What is returned waits and brings the result.

        Called at most `DEPTH` times before the first of the results is fetched; results are fetched in
        order. Raises anything: the error is the item's alone, unless it is a `DeviceFault`.
        """
        ...

    def close(self) -> None:
        """Free everything; nothing is on the GPU any more."""
        ...


@dataclass(frozen=True, slots=True)
class _Job(Generic[Item, Result]):
    item: Item
    future: Future[Result]


class _Inbox(Generic[Item, Result]):
    """Jobs on their way to the thread, at most `limit`, and last of all the word to stop."""

    def __init__(self, name: str, limit: int) -> None:
        self._name = name
        self._limit = limit
        self._jobs: SimpleQueue[_Job[Item, Result] | None] = SimpleQueue()
        self._closed = False
        # A garbage collection inside these few lines may close the stage from the same thread.
        self._lock = threading.RLock()

    def put(self, job: _Job[Item, Result]) -> None:
        with self._lock:
            if self._closed:
                raise EngineError(f"{self._name}: this engine was closed; open it again")
            if self._jobs.qsize() >= self._limit:
                raise EngineError(
                    f"{self._name}: {self._limit} batches wait already; await results before you submit more"
                )
            self._jobs.put(job)

    def get(self, *, wait: bool) -> _Job[Item, Result] | None:
        """The next job, None to stop. Raises `queue.Empty` when there is none and `wait` is false."""
        return self._jobs.get(block=wait)

    def close(self) -> None:
        with self._lock:
            if not self._closed:
                self._closed = True
                self._jobs.put(None)


class Stage(Generic[Item, Result]):
    """A thread with a GPU. `submit` may be called from any other thread."""

    def __init__(
        self,
        name: str,
        open_device: Callable[[], DeviceApi],
        open_work: Callable[[DeviceApi], Work[Item, Result]],
        *,
        limit: int = 64,
    ) -> None:
        """Start the thread and wait until both are open. Raises what opening raised.

        `limit` is how many items may wait for the GPU; a live pipeline drops at its head long before.
        """
        self._inbox: _Inbox[Item, Result] = _Inbox(name, limit)
        opened: Future[None] = Future()
        self._ended = threading.Event()
        self._thread = threading.Thread(
            target=_run,
            args=(
                self._ended,
                partial(_serve, name, self._inbox, opened, open_device, open_work),
            ),
            name=f"stage {name}",
            daemon=True,  # or an engine that nobody closed would keep the interpreter from ending
        )
        # Before the start: an interrupt while opening must not leave the thread behind.
        weakref.finalize(self, _settle, self._inbox, self._thread, self._ended)
        self._thread.start()
        opened.result()

    def submit(self, item: Item) -> Future[Result]:
        """Queue `item`. Raises `EngineError` when closed, when too many wait, or on its own thread."""
        if threading.current_thread() is self._thread:
            raise EngineError(
                f"{self._thread.name}: called from its own thread, in a callback of a result: "
                "hand the result to another thread first"
            )
        future: Future[Result] = Future()
        self._inbox.put(_Job(item, future))
        return future

    def close(self) -> None:
        """Finish what was submitted, free everything on the thread, and end it. May be called again."""
        self._inbox.close()
        _wait(self._thread, self._ended)


def _wait(thread: threading.Thread, ended: threading.Event) -> None:
    """Until the GPU is given back; at once on the thread itself, or in a fork, where there is no thread.

    Not by `join`: where that is interrupted it takes the thread for ended (Python 3.11).
    """
    if thread is not threading.current_thread() and thread.is_alive():
        ended.wait()


def _settle(inbox: _Inbox[Item, Result], thread: threading.Thread, ended: threading.Event) -> None:
    """At the interpreter's exit, or when nobody has the stage any more. No interrupt leaves it half done."""
    inbox.close()
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
    inbox: _Inbox[Item, Result],
    opened: Future[None],
    open_device: Callable[[], DeviceApi],
    open_work: Callable[[DeviceApi], Work[Item, Result]],
) -> None:
    try:
        device = open_device()
    except BaseException as error:
        opened.set_exception(_bare(error))
        return
    try:
        work = _current(device, open_work, device)
    except BaseException as error:
        opened.set_exception(_bare(error))
    else:
        opened.set_result(None)
        _loop(name, inbox, device, work)
        with suppress(DeviceFault):  # a broken context frees nothing; the driver does, at the end
            _current(device, work.close)
        del work
    finally:
        device.close()


def _loop(
    name: str,
    inbox: _Inbox[Item, Result],
    device: DeviceApi,
    work: Work[Item, Result],
) -> None:
    flying: deque[tuple[Future[Result], Callable[[], Result]]] = deque()
    broken = ""
    stopping = False
    while flying or not stopping:
        job = None
        if not stopping and len(flying) < DEPTH:
            with suppress(Empty):
                job = inbox.get(wait=not flying)
                stopping = job is None
        if job is not None:
            if job.future.set_running_or_notify_cancel():
                try:
                    if broken:
                        raise EngineError(f"{name}: failed before, open it again; {broken}")
                    flying.append((job.future, _current(device, work.begin, job.item)))
                except BaseException as error:
                    broken = broken or _fault(error)
                    job.future.set_exception(_bare(error))
        elif flying:
            future, finish = flying.popleft()
            try:
                result = _current(device, finish)
            except BaseException as error:
                broken = broken or _fault(error)
                future.set_exception(_bare(error))
            else:
                future.set_result(result)
                del result
            del future, finish
        del job


Parameter = TypeVar("Parameter")
Answer = TypeVar("Answer")


def _current(device: DeviceApi, call: Callable[..., Answer], *args: Parameter) -> Answer:
    """`call(*args)` with the context current, which it still is when a failure frees what it had made."""
    with device:
        try:
            return call(*args)
        except BaseException as error:
            _bare(error)
            raise


def _bare(error: BaseException) -> BaseException:
    """`error` and what led to it without their frames; a mistake of ours keeps the lines as text."""
    if not isinstance(error, EngineError):
        error.add_note("".join(traceback.format_tb(error.__traceback__)))
    link: BaseException | None = error
    while link is not None:
        # Clearing the frames would not do: a comprehension's frame holds what it closes over for ever.
        link.__traceback__ = None
        link = link.__cause__ or link.__context__
    return error


def _fault(error: BaseException) -> str:
    return str(error) if isinstance(error, DeviceFault) else ""
