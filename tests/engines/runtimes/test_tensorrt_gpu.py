"""The seam and the engine on a real GPU. Without one, each test says what is missing."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from affectstream.engines.bundle.folder import POCKET
from affectstream.engines.errors import DeviceError, EngineError
from affectstream.engines.plans.build import BuildOptions, build, graph_for
from affectstream.engines.plans.target import target_for
from affectstream.engines.runtimes.cuda.driver import query_gpu
from affectstream.engines.runtimes.cuda.memory import CudaDevice, NotCaptured
from affectstream.engines.runtimes.nvidia import load
from affectstream.engines.runtimes.onnx import OnnxEngine
from affectstream.engines.runtimes.tensorrt import TensorRTEngine
from tests.support.fake_cuda.tensorrt import DataType, FakeTensorRT, Kernels, Network

pytestmark = pytest.mark.gpu


@pytest.fixture
def device() -> Iterator[CudaDevice]:
    """GPU 0, current on this thread for the length of a test."""
    try:
        device = CudaDevice(0)
    except DeviceError as error:
        pytest.skip(str(error))
    with device:
        yield device
    device.close()


def test_bytes_travel_to_the_gpu_and_back_on_two_streams(device: CudaDevice) -> None:
    sent = [device.alloc_pinned((1 << 20,), np.dtype(np.uint8)) for _ in range(2)]
    found = [device.alloc_pinned((1 << 20,), np.dtype(np.uint8)) for _ in range(2)]
    streams = [device.stream() for _ in range(2)]
    events = [device.event() for _ in range(2)]
    memory = [device.alloc(1 << 20) for _ in range(2)]
    assert all(int(m) % 256 == 0 for m in memory)
    for i in range(2):
        sent[i][:] = i + 1
        found[i][:] = 0
        device.h2d(memory[i], sent[i], streams[i])
        device.d2h(found[i], memory[i], streams[i])
        device.record(events[i], streams[i])
    for i in range(2):
        device.wait(events[i])
        assert np.all(found[i] == i + 1)


def test_copies_are_captured_and_launched_again(device: CudaDevice) -> None:
    pytest.importorskip("cuda.bindings", reason="cuda-python (cuda-bindings) is not installed")
    host = device.alloc_pinned((4096,), np.dtype(np.float32))
    back = device.alloc_pinned((4096,), np.dtype(np.float32))
    memory, stream = device.alloc(host.nbytes), device.stream()

    def enqueue() -> bool:
        device.h2d(memory, host, stream)
        device.d2h(back, memory, stream)
        return True

    graph = device.capture(stream, enqueue)
    for value in range(3):
        host[:] = value
        back[:] = -1
        graph.launch(stream)
        device.synchronize(stream)
        assert np.all(back == value)
    graph.close()


def test_a_refused_capture_leaves_the_stream_usable(device: CudaDevice) -> None:
    pytest.importorskip("cuda.bindings", reason="cuda-python (cuda-bindings) is not installed")
    stream = device.stream()
    with pytest.raises(NotCaptured):
        device.capture(stream, lambda: False)
    device.synchronize(stream)


def test_slots_streams_and_graphs_run_without_tensorrt(device: CudaDevice) -> None:
    """A stand-in for TensorRT whose kernel is a copy on the GPU; all else is what a plan runs with."""
    driver = pytest.importorskip("cuda.bindings.driver", reason="cuda-bindings is not installed")

    def enqueue(stream: int, kernels: Kernels) -> None:
        size = 4 * int(np.prod(kernels.shapes["x"]))
        target, source = kernels.addresses["y"], kernels.addresses["x"]
        (status,) = driver.cuMemcpyDtoDAsync(target, source, size, driver.CUstream(stream))
        assert status == driver.CUresult.CUDA_SUCCESS, status

    network = Network(
        inputs={"x": ((-1, 300), DataType.FLOAT)},
        outputs={"y": ((-1, 300), DataType.FLOAT)},
        compute=lambda feeds: {"y": feeds["x"]},
        profiles=[{"x": ((1, 300), (8, 300), (64, 300))}],
    )
    trt = FakeTensorRT({b"plan": network}, enqueue)
    batches = [
        np.random.default_rng(n).standard_normal((1 + n % 64, 300)).astype(np.float32)
        for n in range(300)
    ]
    with (
        TensorRTEngine(b"plan", trt.bindings(), name="copies") as engine,
        ThreadPoolExecutor(8) as pool,
    ):
        assert engine.runtime.endswith("cuda:0, CUDA graphs")
        found = list(pool.map(lambda x: engine.run({"x": x})["y"], batches))
        enqueued = network.enqueued
    for batch, copied in zip(batches, found, strict=True):
        np.testing.assert_array_equal(copied, batch)
    assert enqueued == 2 * 2 * 7  # each batch size on each stream, once alone and once captured


@pytest.fixture(params=["tensorrt", "tensorrt-rtx"])
def engine(request: pytest.FixtureRequest) -> Iterator[TensorRTEngine]:
    """Pocket's face encoder, built for this very GPU."""
    runtime: str = request.param
    try:
        capability = query_gpu(0).capability
        CudaDevice(0).close()
        bindings = load(runtime)
        target = target_for(runtime, (capability,) if runtime == "tensorrt-rtx" else (), ordinal=0)
    except EngineError as error:
        pytest.skip(str(error))
    graph = graph_for(POCKET / "face_encoder.onnx", "fp16")
    plan = build(graph, BuildOptions(), target).plan
    with TensorRTEngine(plan, bindings, name="face_encoder") as engine:
        yield engine


def test_a_plan_is_captured_and_agrees_with_the_cpu(engine: TensorRTEngine) -> None:
    assert engine.runtime.endswith(", CUDA graphs")
    pixels = np.random.default_rng(0).integers(0, 256, (64, 48, 48, 3)).astype(np.uint8)
    with OnnxEngine(Path(POCKET, "face_encoder.onnx")) as truth:
        for rows in (1, 3, 8, 33, 64):
            expected = truth.run({"pixels": pixels[:rows]})["logits"]
            found = engine.run({"pixels": pixels[:rows]})["logits"]
            np.testing.assert_allclose(found, expected, atol=0.05, rtol=0.02)


def test_batches_in_flight_do_not_mix(engine: TensorRTEngine) -> None:
    pixels = np.random.default_rng(1).integers(0, 256, (200, 48, 48, 3)).astype(np.uint8)
    alone = [engine.run({"pixels": p[None]})["logits"] for p in pixels]

    async def together() -> list[dict[str, np.ndarray]]:
        slices = (pixels[i : i + 1] for i in range(len(pixels)))
        window: list[dict[str, np.ndarray]] = []
        for group in zip(*[slices] * 50, strict=True):
            futures = [asyncio.wrap_future(engine.submit({"pixels": p})) for p in group]
            window += await asyncio.gather(*futures)
        return window

    for one, found in zip(alone, asyncio.run(together()), strict=True):
        np.testing.assert_array_equal(found["logits"], one)
