"""What every engine promises, checked for each installed runtime on the graphs of `pocket`."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import numpy as np
import pytest

from affectstream.engines.bundle.folder import POCKET
from affectstream.engines.devices.choose import choose
from affectstream.engines.devices.open import open_engine
from affectstream.engines.errors import DeviceError, EngineError
from affectstream.engines.graphs.batching import pad_rows
from affectstream.engines.runtimes.onnx import OnnxEngine
from affectstream.engines.runtimes.tensorrt import TensorRTEngine
from affectstream.engines.spec import Array, Engine, TensorSpec
from tests.support.fake_cuda.device import LazyDevice
from tests.support.fake_cuda.tensorrt import DataType, FakeTensorRT, Network, Shape

GRAPHS = ("face_encoder", "text_encoder", "fusion")
RUNTIMES = (
    "cpu",
    "stand-in for tensorrt",
    *(pytest.param(d, marks=pytest.mark.gpu) for d in ("cuda:0", "tensorrt:0", "tensorrt-rtx:0")),
)
# The stand-in computes with ONNX Runtime in FP32; GPUs compute in FP16.
TOLERANCE = {"cpu": 1e-4, "stand-in for tensorrt": 1e-4}


@pytest.fixture(scope="module", params=RUNTIMES)
def runtime(request: pytest.FixtureRequest) -> str:
    device: str = request.param
    if ":" in device:
        try:
            choose(device)
        except DeviceError as error:
            pytest.skip(str(error))
    return device


@pytest.fixture(scope="module", params=GRAPHS)
def graph(request: pytest.FixtureRequest) -> Path:
    return POCKET / f"{request.param}.onnx"


@pytest.fixture(scope="module")
def engine(runtime: str, graph: Path) -> Iterator[Engine]:
    with opened(runtime, graph) as engine:
        yield engine


@pytest.fixture(scope="module")
def tolerance(runtime: str) -> float:
    return TOLERANCE.get(runtime, 2e-2)


def opened(runtime: str, graph: Path) -> Engine:
    return stand_in(graph) if runtime.startswith("stand-in") else open_engine(graph, runtime)


def stand_in(graph: Path) -> TensorRTEngine:
    """The TensorRT engine with ONNX Runtime in the place of the GPU."""
    truth = OnnxEngine(graph)

    def sized(spec: TensorSpec, rows: int) -> Shape:
        return tuple(axis if isinstance(axis, int) else rows for axis in spec.shape)

    def tensors(specs: dict[str, TensorSpec]) -> dict[str, tuple[Shape, DataType]]:
        return {name: (sized(s, -1), DataType(s.dtype.name)) for name, s in specs.items()}

    inputs = dict(truth.inputs)
    bounds = {name: (sized(s, 1), sized(s, 4), sized(s, 8)) for name, s in inputs.items()}
    network = Network(tensors(inputs), tensors(dict(truth.outputs)), truth.run, [bounds])
    device = LazyDevice()
    trt = FakeTensorRT({b"plan": network}, lambda handle, run: device.streams[handle].put(run))
    return TensorRTEngine(
        b"plan", trt.bindings(), name=graph.name, warm=False, open_device=device.opened
    )


def feeds(engine: Engine, rows: int, seed: int = 0) -> dict[str, Array]:
    rng = np.random.default_rng(seed)
    made: dict[str, Array] = {}
    for name, spec in engine.inputs.items():
        shape = tuple(axis if isinstance(axis, int) else rows for axis in spec.shape)
        if spec.dtype == np.bool_:
            made[name] = np.ones(shape, np.bool_)
        elif spec.dtype.kind == "f":
            made[name] = rng.normal(size=shape).astype(spec.dtype)
        else:
            made[name] = rng.integers(0, 200, shape).astype(spec.dtype)
    return made


def test_specs_match_the_graph_and_the_outputs(engine: Engine, graph: Path) -> None:
    with OnnxEngine(graph) as truth:
        assert list(engine.inputs) == list(truth.inputs)
        assert list(engine.outputs) == list(truth.outputs)
        for name, spec in engine.inputs.items():
            assert spec.name == name and spec.dtype == truth.inputs[name].dtype
            assert spec.shape[1:] == truth.inputs[name].shape[1:]
    for rows in (1, 3, 8):
        found = engine.run(feeds(engine, rows))
        assert list(found) == list(engine.outputs)
        for name, array in found.items():
            assert engine.outputs[name].admits(array) and len(array) == rows
    assert engine.runtime.strip()


def test_it_computes_what_the_cpu_does(engine: Engine, graph: Path, tolerance: float) -> None:
    feed = feeds(engine, 5)
    with OnnxEngine(graph) as truth:
        for name, expected in truth.run(feed).items():
            np.testing.assert_allclose(
                engine.run(feed)[name], expected, rtol=tolerance, atol=tolerance
            )


def test_a_row_does_not_depend_on_what_it_is_batched_with(engine: Engine) -> None:
    feed, other = feeds(engine, 4, seed=1), feeds(engine, 4, seed=2)
    mixed = {name: np.concatenate([feed[name][:3], other[name][3:]]) for name in feed}
    alone = {name: pad_rows(array[:3], 4) for name, array in feed.items()}
    expected = engine.run(feed)
    for batch in (mixed, alone):
        for name, found in engine.run(batch).items():
            np.testing.assert_array_equal(found[:3], expected[name][:3])


def test_a_padded_batch_gives_what_its_rows_give_one_by_one(
    engine: Engine, tolerance: float
) -> None:
    feed = feeds(engine, 3)
    together = engine.run(feed)
    for row in range(3):
        alone = engine.run({name: array[row : row + 1] for name, array in feed.items()})
        for name, found in alone.items():
            np.testing.assert_allclose(
                found[0], together[name][row], rtol=tolerance, atol=tolerance
            )


def test_many_threads_get_their_own_results(engine: Engine) -> None:
    batches = [feeds(engine, n % 8 + 1, seed=n) for n in range(24)]
    expected = [engine.run(feed) for feed in batches]
    with ThreadPoolExecutor(8) as pool:
        for found, one in zip(pool.map(engine.run, batches), expected, strict=True):
            for name in one:
                np.testing.assert_array_equal(found[name], one[name])


def test_inputs_do_not_change_and_outputs_belong_to_the_caller(engine: Engine) -> None:
    feed = feeds(engine, 2)
    kept = {name: array.copy() for name, array in feed.items()}
    found = engine.run(feed)
    copies = {name: array.copy() for name, array in found.items()}
    for _ in range(4):
        engine.run(feeds(engine, 2, seed=9))
    for name in feed:
        np.testing.assert_array_equal(feed[name], kept[name])
    for name in found:
        np.testing.assert_array_equal(found[name], copies[name])
        found[name][...] = 0


def test_feeds_that_the_specs_do_not_admit_are_refused_by_name(engine: Engine, graph: Path) -> None:
    feed = feeds(engine, 2)
    name, array = next(iter(feed.items()))
    missing = {n: a for n, a in feed.items() if n != name}
    with pytest.raises(EngineError, match=f"{graph.name}: the inputs are .*{name}"):
        engine.run(missing)
    with pytest.raises(EngineError, match=f"{graph.name}: the inputs are .*surplus"):
        engine.run({**feed, "surplus": array})
    for wrong in (array.astype(np.float64), array[0], array[:, :-1]):
        with pytest.raises(
            EngineError, match=f"{graph.name}: input '{name}' is .*, expected {name}"
        ):
            engine.run({**feed, name: wrong})


def test_a_closed_engine_says_so(runtime: str) -> None:
    with opened(runtime, POCKET / "face_encoder.onnx") as engine:
        feed = feeds(engine, 1)
        engine.run(feed)
    with pytest.raises(
        EngineError, match=r"face_encoder\.onnx: this engine was closed; open it again"
    ):
        engine.run(feed)
    engine.__exit__(None, None, None)
