"""The TensorRT engine on objects that stand in for TensorRT and for a GPU."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from affectstream.engines.errors import DeviceError, EngineError
from affectstream.engines.runtimes.cuda.memory import DeviceFault, Graph, OutOfDeviceMemory
from affectstream.engines.runtimes.nvidia import NvidiaRuntime
from affectstream.engines.runtimes.tensorrt import MAX_SLOTS, TensorRTEngine
from affectstream.engines.spec import Array
from tests.support.fake_cuda.device import LazyDevice
from tests.support.fake_cuda.tensorrt import DataType, FakeTensorRT, Network, affine


class World:
    """A plan, TensorRT and a GPU, none of them real."""

    def __init__(self, network: Network | None = None, runtime: NvidiaRuntime = "tensorrt") -> None:
        self.network = network or affine()
        self.device = LazyDevice()
        streams = self.device.streams
        self.trt = FakeTensorRT(
            {b"plan": self.network}, lambda handle, kernels: streams[handle].put(kernels), runtime
        )
        self.device.ends = self.trt.ends

    def open(self, plan: Path | bytes = b"plan", *, warm: bool = True) -> TensorRTEngine:
        return TensorRTEngine(
            plan, self.trt.bindings(), name="net", warm=warm, open_device=self.device.opened
        )


@pytest.fixture
def world() -> World:
    return World()


def rows(count: int, value: float = 1.0) -> dict[str, Array]:
    return {"x": np.full((count, 3), value, np.float32)}


def test_inputs_outputs_and_runtime_are_described(world: World) -> None:
    with world.open() as engine:
        assert [spec.describe() for spec in engine.inputs.values()] == ["x (N, 3) float32"]
        assert [spec.describe() for spec in engine.outputs.values()] == [
            "y (N, 3) float32",
            "total (N) float32",
        ]
        assert engine.runtime == "tensorrt 11.4.0.106 cuda:0, CUDA graphs"


@given(st.lists(st.integers(1, 64), min_size=1, max_size=12), st.booleans())
def test_any_sequence_of_batches_is_right(counts: list[int], graphs: bool) -> None:
    world = World(affine(profiles=[(1, 1, 1), (1, 8, 64)]))
    world.device.no_graphs = "" if graphs else "not today"
    with world.open(warm=False) as engine:
        feeds = [
            {"x": np.random.default_rng(i).random((n, 3), np.float32)} for i, n in enumerate(counts)
        ]
        for future, feed in zip([engine.submit(f) for f in feeds], feeds, strict=True):
            expected = 2 * feed["x"] + 1
            np.testing.assert_array_equal(future.result()["y"], expected)
            np.testing.assert_array_equal(future.result()["total"], expected.sum(1))
    assert not world.device.leaks()


def test_rows_that_are_padded_are_zeros_whatever_was_there_before(world: World) -> None:
    seen: list[Array] = []
    plain = world.network.compute
    world.network.compute = lambda feeds: (seen.append(feeds["x"]), plain(feeds))[1]
    with world.open() as engine:
        for _ in range(3):  # both streams
            engine.run(rows(8))
        seen.clear()
        for _ in range(3):
            engine.run(rows(5))
    assert len(seen) == 3
    for x in seen:
        assert x.shape == (8, 3) and np.all(x[:5] == 1) and not np.any(x[5:])


def test_results_belong_to_the_caller(world: World) -> None:
    with world.open() as engine:
        first = engine.run(rows(2))
        kept = {name: array.copy() for name, array in first.items()}
        for _ in range(4):
            engine.run(rows(2, 7))
        for name, array in first.items():
            assert array.flags.owndata and array.flags.writeable
            np.testing.assert_array_equal(array, kept[name])


def test_inputs_may_have_any_memory_layout(world: World) -> None:
    x = np.arange(12, dtype=np.float32).reshape(3, 4).T
    with world.open() as engine:
        np.testing.assert_array_equal(engine.run({"x": x})["y"], 2 * x + 1)
        np.testing.assert_array_equal(engine.run({"x": x[::2]})["y"], 2 * x[::2] + 1)


def test_with_graphs_tensorrt_enqueues_twice_for_each_slot_and_never_again(world: World) -> None:
    with world.open() as engine:
        assert world.device.live["graph"] == 2 * 7 and world.network.enqueued == 2 * 2 * 7
        before = world.network.executions
        for count in range(1, 65):
            engine.run(rows(count))
        assert world.network.enqueued == 2 * 2 * 7 and world.network.executions == before + 64


def test_without_graphs_it_enqueues_and_says_why(
    world: World, caplog: pytest.LogCaptureFixture
) -> None:
    world.device.no_graphs = "cuda-python does not load"
    with world.open() as engine:
        assert engine.runtime.endswith("cuda:0, no CUDA graphs: cuda-python does not load")
        assert "net: no CUDA graphs" in caplog.text
        enqueued = world.network.enqueued
        assert np.all(engine.run(rows(3))["y"] == 3)
        assert world.network.enqueued == enqueued + 1


def test_a_plan_that_refuses_to_be_captured_is_enqueued(world: World) -> None:
    captured = world.device.capture

    def capture(stream: Any, enqueue: Callable[[], bool]) -> Graph:
        world.network.refuse.add("execute_async_v3")
        try:
            return captured(stream, enqueue)
        finally:
            world.network.refuse.clear()

    world.device.capture = capture  # type: ignore[method-assign]
    with world.open() as engine:
        assert "no CUDA graphs: the capture failed" in engine.runtime
        assert np.all(engine.run(rows(3))["y"] == 3)
    assert not world.device.leaks()


@pytest.mark.parametrize("capturable", [True, False])
def test_tensorrt_for_rtx_may_refuse_the_capture(capturable: bool) -> None:
    world = World(runtime="tensorrt-rtx")
    if not capturable:
        world.network.refuse.add("is_stream_capturable")
    with world.open() as engine:
        assert engine.runtime.startswith("tensorrt-rtx ")
        assert ("no CUDA graphs" in engine.runtime) is not capturable
        assert np.all(engine.run(rows(3))["y"] == 3)


def test_the_next_inputs_travel_before_the_last_results_are_waited_for(world: World) -> None:
    waiting, go_on = threading.Event(), threading.Event()

    def before_wait() -> None:
        waiting.set()
        assert go_on.wait(10)

    with world.open() as engine:
        world.device.before_wait = before_wait
        futures = [engine.submit(rows(1))]
        assert waiting.wait(10)
        futures += [engine.submit(rows(1, n)) for n in (2, 3, 4)]
        world.device.calls.clear()
        go_on.set()
        found = [f.result(10)["y"][0, 0] for f in futures]
        calls = [c for c in world.device.calls if c in ("h2d", "launch", "wait")]
    assert found == [3, 5, 7, 9]
    one = ["h2d", "launch"]
    assert calls == [*one, *one, "wait", *one, "wait", "wait"]


def test_everything_is_freed_in_order_on_its_own_thread(world: World) -> None:
    with world.open() as engine:
        engine.run(rows(3))
        assert not world.trt.ends
    kinds = [kind for kind, _ in world.trt.ends]
    runtime = kinds.index("Runtime")
    assert kinds[runtime - 1] == "Engine"
    assert sorted(kinds[: runtime - 1]) == sorted(["Context"] * 14 + ["pinned", "memory"] * 42)
    assert sorted(kinds[runtime + 1 :]) == [
        "event",
        "event",
        "memory",
        "memory",
        "stream",
        "stream",
    ]
    assert {thread for _, thread in world.trt.ends} == {"GPU thread net"}
    assert not world.device.leaks() and world.device.closed and world.device.depth == 0


def test_a_picture_of_any_size_within_the_profile_and_few_of_them_kept() -> None:
    def compute(feeds: Mapping[str, Array]) -> Mapping[str, Array]:
        return {"mean": feeds["image"].mean((1, 2), dtype=np.float32)}

    network = Network(
        inputs={"image": ((1, -1, -1), DataType.UINT8)},
        outputs={"mean": ((1,), DataType.FLOAT)},
        compute=compute,
        profiles=[{"image": ((1, 4, 4), (1, 8, 8), (1, 64, 64))}],
    )
    world = World(network)
    with world.open() as engine:
        assert engine.inputs["image"].shape == (1, "image_1", "image_2")
        for size in (*range(4, 64), 4, 63, 30):
            assert engine.run({"image": np.full((1, size, 9), size, np.uint8)})["mean"] == [size]
        assert world.device.live["graph"] <= 2 * MAX_SLOTS
        assert world.device.live["pinned"] <= 2 * 2 * MAX_SLOTS
        for size in range(4, 64):  # a size that is used often stays
            engine.run({"image": np.zeros((1, 50, 50), np.uint8)})
            engine.run({"image": np.zeros((1, 50, 50), np.uint8)})
            enqueued = network.enqueued
            engine.run({"image": np.zeros((1, size, 9), np.uint8)})
            engine.run({"image": np.zeros((1, 50, 50), np.uint8)})
            engine.run({"image": np.zeros((1, 50, 50), np.uint8)})
            assert network.enqueued <= enqueued + 2
        with pytest.raises(EngineError, match=r"built for image \(1, 4, 4\) to \(1, 64, 64\)"):
            engine.run({"image": np.zeros((1, 65, 9), np.uint8)})
    assert not world.device.leaks()


def test_fixed_shapes_and_scalars() -> None:
    network = Network(
        inputs={"x": ((2, 3), DataType.HALF), "scale": ((), DataType.FLOAT)},
        outputs={"y": ((2, 3), DataType.HALF), "sum": ((), DataType.FLOAT)},
        compute=lambda feeds: {
            "y": feeds["x"] * feeds["scale"].astype(np.float16),
            "sum": np.asarray(feeds["x"].sum(dtype=np.float32)),
        },
        profiles=[{}],
    )
    with World(network).open() as engine:
        found = engine.run({"x": np.ones((2, 3), np.float16), "scale": np.array(3, np.float32)})
        assert found["y"].dtype == np.float16 and np.all(found["y"] == 3)
        assert found["sum"].shape == () and found["sum"] == 6


def test_many_threads_and_tasks_at_once(world: World) -> None:
    def ask(n: int) -> bool:
        return bool(np.all(engine.run(rows(n % 64 + 1, n))["y"] == 2 * n + 1))

    async def gather() -> list[dict[str, Array]]:
        futures = [asyncio.wrap_future(engine.submit(rows(2, n))) for n in range(60)]
        for future in futures[::3]:
            future.cancel()
        return [
            found["y"]
            for i, found in enumerate(await asyncio.gather(*futures, return_exceptions=True))
            if i % 3
        ]

    with world.open() as engine:
        with ThreadPoolExecutor(16) as pool:
            assert all(pool.map(ask, range(300)))
        found = asyncio.run(gather())
        assert [int(y[0, 0]) for y in found] == [2 * n + 1 for n in range(60) if n % 3]
    assert not world.device.leaks()


# ---- what is refused, and in which words ----


@pytest.mark.parametrize(
    ("log_line", "message"),
    [
        (
            "The engine plan file is generated on an incompatible device, expecting compute 9.0 got "
            "compute 8.9, please rebuild.",
            "it was built for another GPU; build it again: affectstream engines build",
        ),
        ("Version tag does not match", "it was built by another version"),
        ("stdVersionRead == kSERIALIZATION_VERSION failed", "it was built by another version"),
        (
            "The engine plan file is not compatible with this version of TensorRT, expecting library "
            "version 11.4 got 11.3, please rebuild.",
            "it was built by another version",
        ),
        ("Magic tag does not match", "it is cut short, or not a plan"),
        ("Cannot deserialize with an empty memory buffer", "it is empty"),
        (
            "Cannot deserialize engine with lean runtime since IRuntime::getEngineHostCodeAllowed() "
            "is false",
            "it carries host code, which is never run",
        ),
        ("something that nobody has seen", "for no known reason; build it again"),
    ],
)
def test_a_plan_that_does_not_open_says_why(world: World, log_line: str, message: str) -> None:
    world.trt.complaint = log_line
    with pytest.raises(EngineError) as error:
        world.open(b"no plan")
    assert message in str(error.value) and log_line in str(error.value)
    assert str(error.value).startswith("net: tensorrt 11.4.0.106 does not open the plan: ")
    assert world.device.closed


def test_a_plan_file_is_read_and_a_missing_one_named(world: World, tmp_path: Path) -> None:
    (tmp_path / "a.plan").write_bytes(b"plan")
    with world.open(tmp_path / "a.plan") as engine:
        assert np.all(engine.run(rows(1))["y"] == 3)
    with pytest.raises(EngineError, match=r"b\.plan: the plan cannot be read: No such file"):
        world.open(tmp_path / "b.plan")


def _dynamic() -> Network:
    network = affine()
    network.data_dependent = frozenset({"y"})
    return network


def _host() -> Network:
    network = affine()
    network.host_tensors = frozenset({"x"})
    return network


def _flattened() -> Network:
    network = affine()
    network.compute = lambda feeds: {"y": feeds["x"], "total": feeds["x"].reshape(-1)}
    return network


def _refusing(call: str) -> Network:
    network = affine(profiles=[(1, 1, 1), (1, 8, 64)])
    network.refuse.add(call)
    return network


@pytest.mark.parametrize(
    ("network", "message"),
    [
        (affine(kind=DataType.BF16), "tensor 'x' is BF16, which numpy does not have; cast"),
        (affine(kind=DataType.FP8), "tensor 'x' is FP8, which numpy does not have; cast"),
        (_dynamic(), r"output 'y' depends on the data \(\(-1, 3\)\)"),
        (_host(), "tensor 'x' is a shape that the host must provide"),
        (_flattened(), r"output 'total' is \(3,\) for 1 rows: the first axis of an output"),
        (_refusing("create_execution_context"), "makes no execution context: out of memory"),
        (_refusing("set_optimization_profile_async"), "does not switch to profile 0"),
        (_refusing("infer_shapes"), r"cannot infer the shapes .*\(shapes do not match\)"),
        (_refusing("execute_async_v3"), "does not enqueue the batch: enqueue failed"),
    ],
)
def test_a_plan_that_cannot_run_in_static_slots_is_refused(network: Network, message: str) -> None:
    world = World(network)
    with pytest.raises(EngineError, match=f"^net: .*{message}"):
        world.open()
    assert not world.device.leaks() and world.device.closed


def test_a_device_that_does_not_open_is_an_error(world: World) -> None:
    world.device.fail["opened"] = DeviceError("cuda:0: pycuda does not load")
    with pytest.raises(DeviceError, match="pycuda does not load"):
        world.open()
    assert not world.trt.ends, "TensorRT was touched without a driver, where it may crash"


def test_whichever_call_fails_while_opening_nothing_is_left() -> None:
    normal = World(affine(profiles=[(1, 1, 2)]))
    with normal.open():
        calls = len(normal.device.calls)
    for number in range(1, calls + 1):
        world = World(affine(profiles=[(1, 1, 2)]))
        world.device.fail_at = number
        with pytest.raises(DeviceFault, match="broken"):
            world.open()
        assert not world.device.leaks(), world.device.calls
        assert world.device.closed and world.device.depth == 0


def test_full_memory_fails_one_call_and_a_device_fault_all_later_ones(world: World) -> None:
    with world.open(warm=False) as engine:
        world.device.fail["alloc_pinned"] = OutOfDeviceMemory("full")
        with pytest.raises(OutOfDeviceMemory):
            engine.run(rows(4))
        for call in ("h2d", "d2h", "record"):
            assert np.all(engine.run(rows(4))["y"] == 3)
            world.device.fail[call] = OutOfDeviceMemory("full")
            with pytest.raises(OutOfDeviceMemory):
                engine.run(rows(4, 5))
            assert not any(stream.pending for stream in world.device.streams.values())
        assert np.all(engine.run(rows(4))["y"] == 3)
        world.device.fail["wait"] = DeviceFault("illegal address")
        with pytest.raises(DeviceFault, match="illegal address"):
            engine.run(rows(4))
        with pytest.raises(EngineError, match="net: failed before, open it again; illegal address"):
            engine.run(rows(4))
    assert not world.device.leaks()
