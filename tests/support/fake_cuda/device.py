"""A GPU in numpy, as lazy and as strict as the seam allows."""

from __future__ import annotations

import threading
import weakref
from collections import Counter
from collections.abc import Callable
from ctypes import c_char
from itertools import count
from typing import Any, Self

import numpy as np

from affectstream.engines.runtimes.cuda.memory import DeviceFault, Graph, NotCaptured
from affectstream.engines.spec import Array

Op = Callable[[], None]


class LazyStream:
    """Nothing that is put on it happens before somebody waits for it."""

    _handles = count(0x1000)

    def __init__(self) -> None:
        self.handle = next(self._handles)
        self.pending: list[Op] = []
        self.captured: list[Op] | None = None

    def put(self, op: Op) -> None:
        (self.pending if self.captured is None else self.captured).append(op)

    def run(self) -> None:
        while self.pending:
            self.pending.pop(0)()


class Memory:
    def __init__(self, nbytes: int) -> None:
        self.data = np.full(nbytes, 0xDD, np.uint8)

    def __int__(self) -> int:
        return int(self.data.ctypes.data)


class Event:
    stream: LazyStream


class LazyGraph:
    def __init__(self, device: LazyDevice, ops: list[Op]) -> None:
        self.device = device
        self.ops = ops
        self.closed = False

    def launch(self, stream: Any) -> None:
        self.device.check("launch")
        assert not self.closed
        for op in self.ops:
            stream.put(op)

    def close(self) -> None:
        self.device.check("close graph")
        self.closed = True
        self.device.live["graph"] -= 1


class LazyDevice:
    """`DeviceApi` in numpy. It refuses what CUDA would: another thread, or no context.

    `fail` maps the name of a method to the error that its next call raises, and call number `fail_at`
    fails whatever it is; `no_graphs` is why nothing is captured; `calls` is what was asked, in order;
    `live` counts what has not been freed; `ends` is what was freed, in order.
    """

    def __init__(self, ordinal: int = 0) -> None:
        self.name = f"cuda:{ordinal}"
        self.fail: dict[str, Exception] = {}
        self.fail_at = 0
        self.no_graphs = ""
        self.calls: list[str] = []
        self.live: Counter[str] = Counter()
        self.ends: list[tuple[str, str]] = []
        self.depth = 0
        self.closed = False
        self.thread: threading.Thread | None = None
        self.streams: weakref.WeakValueDictionary[int, LazyStream] = weakref.WeakValueDictionary()
        self.before_wait: Callable[[], None] = lambda: None

    def opened(self, ordinal: int) -> Self:
        """Open the device on the thread that will own it."""
        self.check_failure("opened")
        assert ordinal == 0
        self.thread = threading.current_thread()
        return self

    def check(self, call: str) -> None:
        assert threading.current_thread() is self.thread, f"{call} on another thread"
        assert self.depth > 0, f"{call} without a context"
        self.calls.append(call)
        self.check_failure(call)
        if len(self.calls) == self.fail_at:
            raise DeviceFault("broken")

    def check_failure(self, call: str) -> None:
        if call in self.fail:
            raise self.fail.pop(call)

    def __enter__(self) -> Self:
        assert threading.current_thread() is self.thread and not self.closed
        self.depth += 1
        return self

    def __exit__(self, *_: object) -> None:
        self.depth -= 1

    def alloc_pinned(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
        self.check("alloc_pinned")
        size = int(np.prod(shape)) * dtype.itemsize
        memory = (c_char * max(size, 1))()
        array = np.frombuffer(memory, dtype, count=int(np.prod(shape))).reshape(shape)
        return self._counted("pinned", array, memory)

    def alloc(self, nbytes: int) -> Memory:
        self.check("alloc")
        return self._counted("memory", Memory(nbytes))

    def stream(self) -> LazyStream:
        self.check("stream")
        stream = self._counted("stream", LazyStream())
        self.streams[stream.handle] = stream
        return stream

    def event(self) -> Event:
        self.check("event")
        return self._counted("event", Event())

    def h2d(self, target: Any, source: Array, stream: Any) -> None:
        self.check("h2d")
        raw = source.reshape(-1).view(np.uint8)
        stream.put(lambda: np.copyto(target.data[: raw.size], raw))

    def d2h(self, target: Array, source: Any, stream: Any) -> None:
        self.check("d2h")
        raw = target.reshape(-1).view(np.uint8)
        stream.put(lambda: np.copyto(raw, source.data[: raw.size]))

    def record(self, event: Event, stream: Any) -> None:
        self.check("record")
        event.stream = stream

    def wait(self, event: Event) -> None:
        self.check("wait")
        self.before_wait()
        event.stream.run()

    def synchronize(self, stream: Any) -> None:
        self.check("synchronize")
        stream.run()

    def capture(self, stream: Any, enqueue: Callable[[], bool]) -> Graph:
        self.check("capture")
        if self.no_graphs:
            raise NotCaptured(self.no_graphs)
        stream.captured = []
        done = enqueue()
        ops, stream.captured = stream.captured, None
        if not done:
            raise NotCaptured("the capture failed (enqueue refused)")
        self.live["graph"] += 1
        return LazyGraph(self, ops)

    def close(self) -> None:
        assert threading.current_thread() is self.thread and self.depth == 0
        self.closed = True

    def leaks(self) -> dict[str, int]:
        """What has not been freed."""
        return {kind: left for kind, left in self.live.items() if left}

    def _counted(self, kind: str, made: Any, base: Any = None) -> Any:
        self.live[kind] += 1
        weakref.finalize(made if base is None else base, self._freed, kind)
        return made

    def _freed(self, kind: str) -> None:
        self.live[kind] -= 1
        self.ends.append((kind, threading.current_thread().name))
