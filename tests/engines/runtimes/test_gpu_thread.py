"""The thread that owns a GPU: order, overlap, failures, and every way to its end."""

from __future__ import annotations

import asyncio
import gc
import threading
import traceback
from collections.abc import Callable
from concurrent.futures import Future
from concurrent.futures import wait as wait_for

import pytest

from affectstream.engines.errors import DeviceError, EngineError
from affectstream.engines.runtimes.cuda.gpu_thread import GpuThread
from affectstream.engines.runtimes.cuda.memory import DeviceApi, DeviceFault
from tests.support.fake_cuda.device import LazyDevice


class Doubling:
    """Doubles numbers; an exception is raised, in `begin` or, when in a list, in the result."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.go_on = threading.Event()
        self.go_on.set()
        self.waiting = threading.Event()

    def begin(self, item: object) -> Callable[[], object]:
        self.calls.append(f"begin {item}")
        if isinstance(item, BaseException):
            raise item

        def finish() -> object:
            self.waiting.set()
            assert self.go_on.wait(10)
            self.calls.append(f"finish {item}")
            if isinstance(item, list):
                raise item[0]
            assert isinstance(item, int)
            return 2 * item

        return finish

    def close(self) -> None:
        self.calls.append("close")


def started(work: Doubling, device: LazyDevice, limit: int = 64) -> GpuThread[object, object]:
    def open_work(_: DeviceApi) -> Doubling:
        return work

    return GpuThread("test", lambda: device.opened(0), open_work, limit=limit)


@pytest.fixture
def device() -> LazyDevice:
    return LazyDevice()


@pytest.fixture
def work() -> Doubling:
    return Doubling()


def test_results_come_in_order_and_two_items_overlap(device: LazyDevice, work: Doubling) -> None:
    gpu = started(work, device)
    work.go_on.clear()
    first = gpu.submit(0)
    assert work.waiting.wait(10)
    rest = [gpu.submit(n) for n in range(1, 5)]
    work.go_on.set()
    assert [f.result(10) for f in (first, *rest)] == [0, 2, 4, 6, 8]
    gpu.close()
    # From 1 on, an item begins before the one ahead of it is waited for, and never two ahead.
    assert work.calls == [
        *("begin 0", "finish 0", "begin 1", "begin 2", "finish 1", "begin 3", "finish 2"),
        *("begin 4", "finish 3", "finish 4", "close"),
    ]
    assert device.closed


def test_an_error_fails_its_item_alone(device: LazyDevice, work: Doubling) -> None:
    gpu = started(work, device)
    items: list[object] = [1, ValueError("at the start"), 2, [OSError("at the end")], 3]
    futures = [gpu.submit(item) for item in items]
    wait_for(futures)
    found = [f.exception() or f.result() for f in futures]
    assert [str(f) for f in found] == ["2", "at the start", "4", "at the end", "6"]
    gpu.close()


@pytest.mark.parametrize("late", [False, True])
def test_after_a_device_fault_every_item_fails(
    device: LazyDevice, work: Doubling, late: bool
) -> None:
    gpu = started(work, device)
    fault = DeviceFault("cuda:0: illegal address")
    with pytest.raises(DeviceFault, match="illegal address"):
        gpu.submit([fault] if late else fault).result(10)
    with pytest.raises(EngineError, match=r"test: failed before, open it again.*illegal address"):
        gpu.submit(1).result(10)
    gpu.close()
    assert "begin 1" not in work.calls and work.calls[-1] == "close"


def test_errors_hold_no_variables_of_the_gpu_thread(device: LazyDevice, work: Doubling) -> None:
    class Held:
        pass

    def begin(_: object) -> Callable[[], object]:
        held = [Held()]
        try:
            raise KeyError("cause")
        except KeyError as cause:
            raise ValueError([h for h in held if h is None]) from cause

    work.begin = begin  # type: ignore[method-assign]
    gpu = started(work, device)
    error = gpu.submit(1).exception(10)
    gc.collect()
    assert isinstance(error, ValueError) and isinstance(error.__cause__, KeyError)
    assert not [o for o in gc.get_objects() if isinstance(o, Held)]
    assert "in begin" in "".join(traceback.format_exception(error)), "a bug has to be found"
    gpu.close()


def test_a_cancelled_item_is_skipped_unless_it_began(device: LazyDevice, work: Doubling) -> None:
    gpu = started(work, device)
    work.go_on.clear()
    running = gpu.submit(1)
    assert work.waiting.wait(10)
    waiting = gpu.submit(2)
    assert waiting.cancel() and not running.cancel()
    work.go_on.set()
    assert running.result(10) == 2
    gpu.close()
    assert "begin 2" not in work.calls


def test_too_many_waiting_items_are_refused(device: LazyDevice, work: Doubling) -> None:
    gpu = started(work, device, limit=3)
    work.go_on.clear()
    first = gpu.submit(0)
    assert work.waiting.wait(10)
    rest = [gpu.submit(n) for n in range(3)]
    with pytest.raises(EngineError, match="test: 3 batches are waiting"):
        gpu.submit(3)
    work.go_on.set()
    assert [f.result(10) for f in (first, *rest)] == [0, 0, 2, 4]
    gpu.close()


def test_items_submitted_before_close_are_finished(device: LazyDevice, work: Doubling) -> None:
    gpu = started(work, device)
    futures = [gpu.submit(n) for n in range(20)]
    gpu.close()
    assert all(f.done() for f in futures) and futures[19].result() == 38
    with pytest.raises(EngineError, match="test: this engine was closed; open it again"):
        gpu.submit(1)
    gpu.close()


def test_a_callback_on_the_gpu_thread_may_close_but_not_submit(
    device: LazyDevice, work: Doubling
) -> None:
    gpu = started(work, device)
    found: Future[BaseException | None] = Future()

    def callback(_: Future[object]) -> None:
        try:
            gpu.submit(1)
        except EngineError as error:
            gpu.close()
            found.set_result(error)
        else:
            found.set_result(None)

    gpu.submit(1).add_done_callback(callback)
    assert "own thread" in str(found.result(10))
    gpu.close()
    assert device.closed


@pytest.mark.parametrize("error", [DeviceError("no GPU"), SystemExit(3), KeyboardInterrupt()])
def test_errors_of_opening_the_device_are_raised(device: LazyDevice, error: Exception) -> None:
    device.fail["opened"] = error
    with pytest.raises(type(error)):
        started(Doubling(), device)


def test_errors_of_opening_the_work_are_raised_and_the_device_is_closed(
    device: LazyDevice,
) -> None:
    def open_work(_: DeviceApi) -> Doubling:
        raise EngineError("not a plan")

    with pytest.raises(EngineError, match="not a plan"):
        GpuThread("test", lambda: device.opened(0), open_work)
    assert device.thread is not None
    device.thread.join(10)
    assert device.closed and device.depth == 0


def test_a_gpu_thread_that_nobody_holds_ends(device: LazyDevice, work: Doubling) -> None:
    gpu = started(work, device)
    assert gpu.submit(4).result(10) == 8
    del gpu
    gc.collect()
    assert device.closed


def test_the_event_loop_keeps_running_while_the_gpu_computes(
    device: LazyDevice, work: Doubling
) -> None:
    gpu = started(work, device)
    work.go_on.clear()

    async def both() -> object:
        later = asyncio.wrap_future(gpu.submit(21))
        for _ in range(100):
            await asyncio.sleep(0)
        assert not later.done()
        work.go_on.set()
        return await later

    assert asyncio.run(both()) == 42
    gpu.close()
