"""GPU memory, streams and events through pycuda, and CUDA graphs through cuda-python.

Only the thread that opened a GPU may call these methods (see `gpu_thread`). The context is the *primary* one,
which TensorRT, torch and ONNX Runtime share: in any other context their handles would be invalid.
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

INSTALL_COMMAND = install_hint("pycuda")


class DeviceFault(EngineError):
    """A CUDA call failed; the context cannot be used any more."""


class OutOfDeviceMemory(EngineError):
    """The GPU, or the host's pinned memory, is full; everything else still works."""


class NotCaptured(Exception):
    """No CUDA graph could be captured, for this reason; enqueue without one instead."""


class Stream(Protocol):
    """A CUDA stream: work that the GPU does in order."""

    @property
    def handle(self) -> int:
        """The ``CUstream``."""
        ...


class Graph(Protocol):
    """A captured CUDA graph, launched with one call."""

    def launch(self, stream: Stream) -> None:
        """Put the graph on `stream`."""
        ...

    def close(self) -> None:
        """Free the graph. It must not be on a stream any more."""
        ...


class DeviceApi(Protocol):
    """What the engine needs of a GPU. Inside ``with`` its context is current on this thread.

    Copies return at once: arrays must be pinned, and arrays and memory must not change or be freed before the
    stream has passed the copy. Memory, streams and events are freed when they are dropped, which must happen
    inside ``with``. Raises `OutOfDeviceMemory`, or `DeviceFault` for any other failure.
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
        """Pinned host memory with undefined content; the GPU reads and writes it directly."""
        ...

    def alloc(self, nbytes: int) -> SupportsInt:
        """GPU memory, aligned to 256 bytes or more; ``int()`` gives its address."""
        ...

    def stream(self) -> Stream:
        """A new stream. On the default stream TensorRT would wait for the whole GPU."""
        ...

    def event(self) -> Any:
        """A new event without timing, whose wait does not spin."""
        ...

    def h2d(self, target: SupportsInt, source: Array, stream: Stream) -> None:
        """Copy `source` to the GPU."""
        ...

    def d2h(self, target: Array, source: SupportsInt, stream: Stream) -> None:
        """Fill `target` from the GPU."""
        ...

    def record(self, event: Any, stream: Stream) -> None:
        """Mark the current end of `stream` with `event`."""
        ...

    def wait(self, event: Any) -> None:
        """Wait until the stream has passed `event`. Other Python threads run meanwhile."""
        ...

    def synchronize(self, stream: Stream) -> None:
        """Wait until `stream` is empty. Other Python threads run meanwhile."""
        ...

    def capture(self, stream: Stream, enqueue: Callable[[], bool]) -> Graph:
        """Capture what `enqueue` puts on `stream`. Raises `NotCaptured`; `stream` stays usable."""
        ...

    def close(self) -> None:
        """Release the context, after everything in it was freed."""
        ...


class CudaDevice:
    """`DeviceApi` on GPU number `ordinal`."""

    def __init__(self, ordinal: int = 0) -> None:
        """Raises `DeviceError` when pycuda, the driver or the GPU is missing."""
        self.name = f"cuda:{ordinal}"
        try:
            driver: Any = import_module("pycuda.driver")
        except ImportError as error:
            raise DeviceError(
                f"{self.name}: pycuda does not load: {error}; it needs NVIDIA's driver, and: "
                f"{INSTALL_COMMAND}"
            ) from error
        self._driver = driver
        try:
            driver.init()
            count = driver.Device.count()
            if ordinal >= count:
                raise DeviceError(f"{self.name} was requested, but the driver shows {count} GPUs")
            self._context: Any = driver.Device(ordinal).retain_primary_context()
        except driver.Error as error:
            raise DeviceError(f"{self.name}: the GPU does not open: {error}") from error

    def __enter__(self) -> Self:
        with self._faults("entering the context"):
            if self._context is None:
                raise DeviceFault(f"{self.name}: its context was lost")
            self._context.push()
        return self

    def __exit__(self, *error: object) -> None:
        try:
            self._driver.Context.pop()
        except self._driver.Error:
            # pycuda still has the context on its stack and would abort the process when this thread ends.
            # Detaching a current context removes it from the stack.
            self._context.detach()
            self._context = None

    def alloc_pinned(self, shape: tuple[int, ...], dtype: np.dtype[Any]) -> Array:
        """See `DeviceApi`."""
        with self._faults(f"pinning {shape} {dtype}"):
            flags = self._driver.host_alloc_flags.PORTABLE
            array: Array = self._driver.pagelocked_empty(shape, dtype, mem_flags=flags)
            return array

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
    """A CUDA graph of cuda-python, which accepts pycuda's handles. pycuda has no graphs."""

    def __init__(self, stream: Stream, enqueue: Callable[[], bool]) -> None:
        try:
            driver: Any = import_module("cuda.bindings.driver")
        except ImportError as error:
            raise NotCaptured(f"cuda-python does not load ({error}): {INSTALL_COMMAND}") from error
        self._driver = driver
        handle = driver.CUstream(stream.handle)
        # Thread-local mode: other threads may allocate, which would break a capture in global mode.
        mode = driver.CUstreamCaptureMode.CU_STREAM_CAPTURE_MODE_THREAD_LOCAL
        self._check(driver.cuStreamBeginCapture(handle, mode))
        done = captured = False
        try:
            done = enqueue()
        finally:  # always: otherwise the stream would stay in capture mode
            status, graph = driver.cuStreamEndCapture(handle)
            captured = done and status == driver.CUresult.CUDA_SUCCESS
            if not captured and graph is not None and int(graph):
                driver.cuGraphDestroy(graph)
        if not captured:
            raise NotCaptured(
                f"the capture failed ({'enqueue refused' if not done else status.name})"
            )
        try:
            self._graph = self._check(driver.cuGraphInstantiate(graph, 0))
        finally:
            driver.cuGraphDestroy(graph)

    def launch(self, stream: Stream) -> None:
        """See `Graph`."""
        status = self._driver.cuGraphLaunch(self._graph, self._driver.CUstream(stream.handle))[0]
        if status != self._driver.CUresult.CUDA_SUCCESS:
            raise DeviceFault(f"CUDA failed while launching a graph: {status.name}")

    def close(self) -> None:
        """See `Graph`."""
        self._driver.cuGraphExecDestroy(self._graph)

    def _check(self, result: tuple[Any, ...]) -> Any:
        status, *values = result
        if status != self._driver.CUresult.CUDA_SUCCESS:
            raise NotCaptured(f"CUDA refused: {status.name}")
        return values[0] if values else None
