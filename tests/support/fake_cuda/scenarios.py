"""What happens to a process that runs engines through the real pycuda, one scenario each.

    LD_LIBRARY_PATH=<folder of libcuda.so.1> python -m tests.support.fake_cuda.scenarios SCENARIO

A process that pycuda aborts ends with signal 6. Whatever a scenario prints is for its test to read.
"""

from __future__ import annotations

import asyncio
import atexit
import ctypes
import gc
import os
import signal
import sys
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from itertools import count
from typing import Any

import numpy as np

from affectstream.engines.errors import DeviceError, EngineError
from affectstream.engines.runtimes.tensorrt import TensorRTEngine
from affectstream.engines.spec import Array
from tests.support.fake_cuda.tensorrt import FakeTensorRT, Network, affine

LIBCUDA = ctypes.CDLL("libcuda.so.1")
HOST_CALL = ctypes.CFUNCTYPE(None, ctypes.c_void_p)
_calls: list[Any] = []


def enqueue(stream: int, kernels: Callable[[], None]) -> None:
    """Put `kernels` on a stream of pycuda's, where a capture catches it too."""
    call = HOST_CALL(lambda _: kernels())
    _calls.append(call)
    status = LIBCUDA.cuLaunchHostFunc(ctypes.c_void_p(stream), call, None)
    assert status == 0, status


def fail(name: str, code: int, *, after: int = 0, times: int = 1) -> None:
    LIBCUDA.fake_fail(name.encode(), code, after, times)


def live() -> dict[str, int]:
    kinds = ("memory", "pinned", "streams", "events", "graphs", "retained")
    return {kind: LIBCUDA.fake_live(kind.encode()) for kind in kinds}


def opened(network: Network | None = None) -> TensorRTEngine:
    trt = FakeTensorRT({b"plan": network or affine(profiles=[(1, 2, 4)])}, enqueue)
    return TensorRTEngine(b"plan", trt.bindings(), name="affine")


def ones(rows: int) -> dict[str, Array]:
    return {"x": np.ones((rows, 3), np.float32)}


def hooked(hook: Callable[[int], None]) -> Network:
    """`affine`, which calls `hook` with a running number as often as it computes."""
    network = affine(profiles=[(1, 1, 1)])
    plain = network.compute
    calls = count(1)

    def compute(feeds: Mapping[str, Array]) -> Mapping[str, Array]:
        if np.any(feeds["x"]):  # shapes are inferred, and slots warmed, on zeros
            hook(next(calls))
        return plain(feeds)

    network.compute = compute
    return network


def use() -> None:
    """Threads, asyncio, both slots; nothing is left behind."""
    with opened() as engine:
        print(engine.runtime)
        with ThreadPoolExecutor(8) as pool:
            for rows, found in enumerate(
                pool.map(lambda n: engine.run(ones(n % 4 + 1)), range(200))
            ):
                assert found["y"].shape == (rows % 4 + 1, 3) and np.all(found["y"] == 3)

        async def several() -> list[dict[str, Array]]:
            return await asyncio.gather(
                *(asyncio.wrap_future(engine.submit(ones(n % 4 + 1))) for n in range(50))
            )

        assert all(np.all(found["total"] == 9) for found in asyncio.run(several()))
        assert live()["graphs"] == 3 * 2, live()
    print(live())


def without_graphs() -> None:
    """cuda-python is absent, then captures fail: both enqueue plainly and say so."""
    sys.modules["cuda.bindings.driver"] = None  # type: ignore[assignment]
    with opened() as engine:
        assert "cuda-python does not load" in engine.runtime, engine.runtime
        assert np.all(engine.run(ones(3))["y"] == 3)
    del sys.modules["cuda.bindings.driver"]
    for call in ("cuStreamBeginCapture_v2", "cuStreamEndCapture", "cuGraphInstantiateWithFlags"):
        fail(call, 901, times=1000)
        with opened() as engine:
            assert "no CUDA graphs" in engine.runtime, engine.runtime
            assert np.all(engine.run(ones(3))["y"] == 3)
        fail("", 0)
    print(live())


def failing_open() -> None:
    """Every function of the driver fails in turn, at every call that opening makes of it."""
    for call in (
        "cuInit",
        "cuDevicePrimaryCtxRetain",
        "cuCtxPushCurrent_v2",
        "cuStreamCreate",
        "cuEventCreate",
        "cuMemAlloc_v2",
        "cuMemHostAlloc",
        "cuMemcpyHtoDAsync_v2",
        "cuMemcpyDtoHAsync_v2",
        "cuStreamSynchronize",
        "cuGraphLaunch",
    ):
        after = 0
        while True:
            before = live()
            # pycuda collects garbage and asks again for memory that it did not get.
            fail(
                call, 2 if "Alloc" in call else 700, after=after, times=2 if "Alloc" in call else 1
            )
            try:
                opened().close()
            except EngineError as error:
                told = str(error)
            else:
                break
            assert "fake error" in told or "CUDA_ERROR" in told, told
            assert live() == before, (call, after, live())
            after += 1
        fail("", 0)
        print(call, after)


def failing_pop() -> None:
    """The context cannot be popped: it is lost, the process is not."""
    fail("cuCtxPopCurrent_v2", 700)
    try:
        opened()
    except EngineError as error:
        print(error)
    with opened() as engine:
        fail("cuCtxPopCurrent_v2", 700)
        for _ in range(2):
            try:
                engine.run(ones(1))
            except EngineError as error:
                print(error)


def failing_run() -> None:
    """A fault of the GPU ends the engine; one of memory only the call."""
    with opened() as engine:
        fail("cuEventSynchronize", 700)
        for _ in range(2):
            try:
                engine.run(ones(1))
            except EngineError as error:
                print(error)
    print(live())


def cancelled() -> None:
    """Futures cancelled before, during and after their turn."""
    entered, go_on = threading.Event(), threading.Event()

    def hook(call: int) -> None:
        entered.set()
        go_on.wait(10)

    with opened(hooked(hook)) as engine:
        futures = [engine.submit(ones(1)) for _ in range(20)]
        entered.wait(10)
        taken = [future.cancel() for future in futures]
        go_on.set()
        print(taken.count(False), "too late")
        assert all(
            np.all(f.result()["y"] == 3) for f, t in zip(futures, taken, strict=True) if not t
        )
        assert not futures[0].cancel()

        async def abandoned() -> None:
            task = asyncio.wrap_future(engine.submit(ones(1)))
            task.cancel()

        asyncio.run(abandoned())
        assert np.all(engine.run(ones(1))["y"] == 3)
    print(live())


def exit_without_close() -> None:
    """The interpreter ends with batches on the GPU and in the queue; all of them are done, and freed."""
    atexit.register(lambda: print(sum(future.done() for future in futures), live()))
    engine = opened()
    futures = [engine.submit(ones(1)) for _ in range(20)]
    globals()["kept"] = engine, futures


def several() -> None:
    """The interpreter ends with three engines and a thread of the user's that waits for one of them."""
    atexit.register(lambda: print(live()))
    engines = globals()["kept"] = [opened() for _ in range(3)]
    threading.Thread(
        target=lambda: [engines[0].run(ones(1)) for _ in range(50)], daemon=True
    ).start()
    engines[1].submit(ones(2))


def forked() -> None:
    """A fork has the engine but not its thread; it ends, and the engine of its parent works on."""
    engine = opened()
    child = os.fork()
    if child == 0:
        sys.exit(7)
    _, status = os.waitpid(child, 0)
    print(os.waitstatus_to_exitcode(status), engine.run(ones(1))["total"])
    engine.close()
    print(live())


def exit_while_opening() -> None:
    """A thread is still opening an engine as the interpreter ends."""
    entered = threading.Event()
    network = affine()
    plain = network.compute

    def compute(feeds: Mapping[str, Array]) -> Mapping[str, Array]:
        entered.set()
        return plain(feeds)

    network.compute = compute
    threading.Thread(target=opened, args=(network,), daemon=True).start()
    entered.wait(10)


def interrupted() -> None:
    """Ctrl-C while a result is awaited, and again and again while the exit waits for the GPU."""
    exiting = threading.Event()

    def hook(call: int) -> None:
        if call > 1:
            exiting.wait(10)
            threading.Event().wait(0.02)  # by then the exit waits for this thread
        os.kill(os.getpid(), signal.SIGINT)

    atexit.register(lambda: print(sum(future.done() for future in futures), live()))
    engine = opened(hooked(hook))
    atexit.register(exiting.set)  # the last to be registered is the first to be called
    futures = [engine.submit(ones(1)) for _ in range(4)]
    for future in futures:
        future.result()


def interrupted_opening() -> None:
    """Ctrl-C while the plan is being opened."""
    network = affine()
    plain = network.compute
    calls = count(1)

    def compute(feeds: Mapping[str, Array]) -> Mapping[str, Array]:
        if next(calls) == 5:
            os.kill(os.getpid(), signal.SIGINT)
        return plain(feeds)

    network.compute = compute
    opened(network)
    raise AssertionError("the interrupt was lost")


def closed_again() -> None:
    """Closed twice, by several threads at once, and in a callback on the GPU thread."""
    first = opened()
    first.close()
    first.close()
    second = opened()
    closers = [threading.Thread(target=second.close) for _ in range(4)]
    for thread in closers:
        thread.start()
    for thread in closers:
        thread.join()
    third = opened()
    ended = threading.Event()

    def close(_: object) -> None:
        third.close()
        ended.set()

    third.submit(ones(1)).add_done_callback(close)
    assert ended.wait(10)
    third.close()
    print(live())


def dropped() -> None:
    """Closed by nobody, and nobody has it any more."""
    engine = opened()
    engine.run(ones(1))
    del engine
    gc.collect()
    print(live())


def no_device() -> None:
    """A GPU that is not there."""
    trt = FakeTensorRT({b"plan": affine()}, enqueue)
    try:
        TensorRTEngine(b"plan", trt.bindings(), ordinal=3)
    except DeviceError as error:
        print(error)


def naive_thread() -> None:
    """The control: a thread that pushes and ends without popping."""

    def push() -> None:
        import pycuda.driver as driver

        driver.init()
        driver.Device(0).retain_primary_context().push()

    thread = threading.Thread(target=push)
    thread.start()
    thread.join()


def naive_exit() -> None:
    """The control: the interpreter ends with a pushed context."""
    import pycuda.driver as driver

    driver.init()
    driver.Device(0).retain_primary_context().push()


if __name__ == "__main__":
    globals()[sys.argv[1]]()
