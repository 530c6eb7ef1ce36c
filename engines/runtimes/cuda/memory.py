"""The narrow seam to a GPU's memory, streams and events: pycuda behind it, CUDA graphs by cuda-python.

A GPU belongs to the thread that opened it: every method here is for that thread alone (see `stage`).
Its context is the *primary* one, shared with TensorRT, torch and ONNX Runtime; a context of our own
would make their handles invalid.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from types import TracebackType
from typing import Any, Protocol, Self, SupportsInt

import numpy as np

from affectstream.engines.errors import DeviceError, EngineError
from affectstream.engines.extras import install_hint
from affectstream.engines.spec import Array

INSTALL = install_hint("pycuda")


class DeviceFault(EngineError):
    """A call of CUDA failed: nothing more can be asked of this context."""


class OutOfDeviceMemory(EngineError):
    """The GPU, or the host's pinned memory, has no room for what was asked; all else still works."""


class NotCaptured(Exception):
    """No CUDA graph could be made, for the reason given: enqueue plainly instead."""


class Stream(Protocol):
    """Work that the GPU does in order."""

    @property
    def handle(self) -> int:
        """The ``CUstream``."""
        ...


class Graph(Protocol):
    """Captured work, launched as one."""

    def launch(self, stream: Stream) -> None:
        """Put it on `stream`."""
        ...

    def close(self) -> None:
        """Free it. It must not be on a stream any more."""
        ...


class DeviceApi(Protocol):
    """All that is asked of a GPU. In a ``with`` its context is current on this thread.

    Copies return at once: neither array nor memory may change or go before the stream has passed them,
    and arrays have to be pinned ones. Memory, streams and events are freed as they are dropped, inside
    the ``with``. Raises `OutOfDeviceMemory`, or `DeviceFault` when anything else fails.
    """

    name: str
    """Such as ``cuda:0``."""

    def __enter__(self) -> Self: ...

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None: ...

    def alloc_pinned(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
        """Host memory that the GPU reads by itself; its contents are undefined."""
        ...

    def alloc(self, nbytes: int) -> SupportsInt:
        """GPU memory, at least 256-byte aligned; ``int()`` gives its address."""
        ...

    def stream(self) -> Stream:
        """A new stream, never the default one, on which TensorRT would wait for the whole GPU."""
        ...

    def event(self) -> Any:
        """A new event, which takes no times and waits without spinning."""
        ...

    def h2d(self, target: SupportsInt, source: Array, stream: Stream) -> None:
        """Copy `source` to the GPU."""
        ...

    def d2h(self, target: Array, source: SupportsInt, stream: Stream) -> None:
        """Fill `target` from the GPU."""
        ...

    def record(self, event: Any, stream: Stream) -> None:
        """Mark with `event` the place that `stream` has been filled up to."""
        ...

    def wait(self, event: Any) -> None:
        """Return when the stream has passed `event`. Other Python threads run meanwhile."""
        ...

    def synchronize(self, stream: Stream) -> None:
        """Return when `stream` is empty. Other Python threads run meanwhile."""
        ...

    def capture(self, stream: Stream, enqueue: Callable[[], bool]) -> Graph:
        """What `enqueue` puts on `stream`, as a graph. Raises `NotCaptured`; `stream` works on."""
        ...

    def close(self) -> None:
        """Give the context back, after everything that was made in it."""
        ...


class CudaDevice:
    """`DeviceApi` on GPU number `ordinal`."""

    def __init__(self, ordinal: int = 0) -> None:
        """Raises `DeviceError` when pycuda, the driver or the GPU is not there."""
        self.name = f"cuda:{ordinal}"
        try:
            driver: Any = import_module("pycuda.driver")
        except ImportError as error:
            raise DeviceError(
                f"{self.name}: pycuda does not load: {error}; it needs NVIDIA's driver, and: {INSTALL}"
            ) from error
        self._driver = driver
        try:
            driver.init()
            count = driver.Device.count()
            if ordinal >= count:
                raise DeviceError(f"{self.name} was asked for, but the driver shows {count} GPUs")
            self._context: Any = driver.Device(ordinal).retain_primary_context()
        except driver.Error as error:
            raise DeviceError(f"{self.name}: the GPU does not open: {error}") from error

    def __enter__(self) -> Self:
        with self._faults("entering the context"):
            if self._context is None:
                raise DeviceFault(f"{self.name}: its context was lost")
            self._context.push()
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        try:
            self._driver.Context.pop()
        except self._driver.Error:
            # pycuda still has the context on its stack and would abort the process as this thread ends.
            # A context that is given back while it is current leaves the stack.
            self._context.detach()
            self._context = None

    def alloc_pinned(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
        """See `DeviceApi`."""
        with self._faults(f"pinning {shape} {dtype}"):
            flags = self._driver.host_alloc_flags.PORTABLE
            found: Array = self._driver.pagelocked_empty(shape, dtype, mem_flags=flags)
            return found

    def alloc(self, nbytes: int) -> SupportsInt:
        """See `DeviceApi`."""
        with self._faults(f"allocating {nbytes} bytes"):
            memory: SupportsInt = self._driver.mem_alloc(nbytes)
            return memory

    def stream(self) -> Stream:
        """See `DeviceApi`."""
        with self._faults("making a stream"):
            stream: Stream = self._driver.Stream()
            return stream

    def event(self) -> Any:
        """See `DeviceApi`."""
        flags = self._driver.event_flags
        with self._faults("making an event"):
            return self._driver.Event(flags.DISABLE_TIMING | flags.BLOCKING_SYNC)

    def h2d(self, target: SupportsInt, source: Array, stream: Stream) -> None:
        """See `DeviceApi`."""
        with self._faults("copying to the GPU"):
            self._driver.memcpy_htod_async(target, source, stream)

    def d2h(self, target: Array, source: SupportsInt, stream: Stream) -> None:
        """See `DeviceApi`."""
        with self._faults("copying from the GPU"):
            self._driver.memcpy_dtoh_async(target, source, stream)

    def record(self, event: Any, stream: Stream) -> None:
        """See `DeviceApi`."""
        with self._faults("recording an event"):
            event.record(stream)

    def wait(self, event: Any) -> None:
        """See `DeviceApi`."""
        with self._faults("computing"):
            event.synchronize()

    def synchronize(self, stream: Any) -> None:
        """See `DeviceApi`."""
        with self._faults("computing"):
            stream.synchronize()

    def capture(self, stream: Stream, enqueue: Callable[[], bool]) -> Graph:
        """See `DeviceApi`."""
        return _CudaGraph(stream, enqueue)

    def close(self) -> None:
        """See `DeviceApi`."""
        if self._context is not None:
            self._context.detach()
            self._context = None

    @contextmanager
    def _faults(self, doing: str) -> Iterator[None]:
        try:
            yield
        except self._driver.MemoryError as error:
            raise OutOfDeviceMemory(
                f"{self.name}: no memory left while {doing}: {error}; run smaller batches or fewer engines"
            ) from error
        except self._driver.Error as error:
            raise DeviceFault(f"{self.name}: CUDA failed while {doing}: {error}") from error


class _CudaGraph:
    """pycuda knows no graphs. cuda-python's driver functions take the same handles as pycuda."""

    def __init__(self, stream: Stream, enqueue: Callable[[], bool]) -> None:
        try:
            driver: Any = import_module("cuda.bindings.driver")
        except ImportError as error:
            raise NotCaptured(f"cuda-python does not load ({error}): {INSTALL}") from error
        self._driver = driver
        handle = driver.CUstream(stream.handle)
        # Thread-local: other threads go on allocating, which in the global mode would spoil the capture.
        mode = driver.CUstreamCaptureMode.CU_STREAM_CAPTURE_MODE_THREAD_LOCAL
        self._ask(driver.cuStreamBeginCapture(handle, mode))
        done = captured = False
        try:
            done = enqueue()
        finally:  # or the stream would stay in capture for ever
            status, graph = driver.cuStreamEndCapture(handle)
            captured = done and status == driver.CUresult.CUDA_SUCCESS
            if not captured and graph is not None and int(graph):
                driver.cuGraphDestroy(graph)
        if not captured:
            raise NotCaptured(
                f"the capture failed ({'enqueue refused' if not done else status.name})"
            )
        try:
            self._graph = self._ask(driver.cuGraphInstantiate(graph, 0))
        finally:
            driver.cuGraphDestroy(graph)

    def launch(self, stream: Stream) -> None:
        """Put it on `stream`."""
        status = self._driver.cuGraphLaunch(self._graph, self._driver.CUstream(stream.handle))[0]
        if status != self._driver.CUresult.CUDA_SUCCESS:
            raise DeviceFault(f"CUDA failed while launching a graph: {status.name}")

    def close(self) -> None:
        """Free it."""
        self._driver.cuGraphExecDestroy(self._graph)

    def _ask(self, answer: tuple[Any, ...]) -> Any:
        status, *found = answer
        if status != self._driver.CUresult.CUDA_SUCCESS:
            raise NotCaptured(f"CUDA refused: {status.name}")
        return found[0] if found else None
