"""ONNX Runtime on CUDA. What needs no GPU runs here with the same code bound to the CPU's memory."""

import re

import numpy as np
import onnxruntime
import pytest

from affectstream.engines import DeviceError, EngineError, OnnxEngine
from affectstream.engines.bundle.folder import POCKET
from affectstream.engines.devices.probe import probe
from affectstream.engines.runtimes.bound_session import MAX_SHAPE_SETS, BoundSession
from affectstream.engines.runtimes.cuda_session import check_placement, misplaced
from affectstream.engines.runtimes.onnx import session_options
from affectstream.engines.runtimes.onnx_cuda import CudaEngine

HAS_CUDA = "CUDAExecutionProvider" in onnxruntime.get_available_providers()
ENGINES = (
    *("face_detector", "face_geometry", "face_encoder"),
    *("voice_encoder", "text_encoder", "fusion"),
)


def feeds(engine, rows, seed=0):
    """Random inputs of a pocket engine; a detector's picture is 64 x 96."""
    rng = np.random.default_rng(seed)
    sizes = {"N": rows, "H": 64, "W": 96}
    made = {}
    for spec in engine.inputs.values():
        shape = [axis if isinstance(axis, int) else sizes[axis] for axis in spec.shape]
        if spec.dtype == np.bool_:
            made[spec.name] = np.ones(shape, np.bool_)
        elif spec.dtype == np.float32:
            made[spec.name] = rng.uniform(-1, 1, shape).astype(np.float32)
        else:
            made[spec.name] = rng.integers(0, 200, shape).astype(spec.dtype)
    return made


def cpu_session(name):
    path = POCKET / f"{name}.onnx"
    options = session_options(path)
    options.add_session_config_entry("session.record_ep_graph_assignment_info", "1")
    return onnxruntime.InferenceSession(str(path), options, providers=["CPUExecutionProvider"])


@pytest.mark.parametrize("name", ENGINES)
def test_bound_memory_gives_what_plain_runs_give(name):
    bound = BoundSession(cpu_session(name), "cpu")
    with OnnxEngine(POCKET / f"{name}.onnx") as engine:
        for seed, rows in enumerate((1, 2, 1, 4, 2, 1)):  # the second of each size is a replay
            fed = feeds(engine, rows, seed)
            found, expected = bound.run(fed), engine.run(fed)
            assert found.keys() == expected.keys()
            for output, array in expected.items():
                np.testing.assert_allclose(found[output], array, rtol=1e-5, atol=1e-6)


def test_results_belong_to_the_caller():
    bound = BoundSession(cpu_session("face_encoder"), "cpu")
    with OnnxEngine(POCKET / "face_encoder.onnx") as engine:
        first, second = feeds(engine, 1, 1), feeds(engine, 1, 2)
    for _ in range(2):
        kept = bound.run(first)["embedding"]
        copy = kept.copy()
        assert not np.array_equal(bound.run(second)["embedding"], copy)
        assert np.array_equal(kept, copy)


def test_feeds_in_another_order_and_not_contiguous():
    bound = BoundSession(cpu_session("fusion"), "cpu")
    with OnnxEngine(POCKET / "fusion.onnx") as engine:
        fed = feeds(engine, 2)
        expected = engine.run(fed)["logits"]
    turned = {name: np.asfortranarray(fed[name]) for name in reversed(fed)}
    for _ in range(2):
        np.testing.assert_allclose(bound.run(turned)["logits"], expected, rtol=1e-5, atol=1e-6)


def test_more_shape_sets_than_the_limit_still_compute():
    bound = BoundSession(cpu_session("fusion"), "cpu")
    with OnnxEngine(POCKET / "fusion.onnx") as engine:
        for rows in (*range(1, MAX_SHAPE_SETS + 4), MAX_SHAPE_SETS + 3, 1):
            fed = feeds(engine, rows, rows)
            np.testing.assert_allclose(
                bound.run(fed)["logits"], engine.run(fed)["logits"], rtol=1e-5, atol=1e-6
            )


def test_a_session_that_fell_back_to_the_cpu_is_refused():
    with pytest.raises(DeviceError, match="would compute with CPUExecutionProvider: its CUDA part"):
        check_placement("fusion", cpu_session("fusion"))
    if not HAS_CUDA:
        with pytest.raises(DeviceError, match=r"\(.*libonnxruntime_providers_\w+\.so: cannot open"):
            check_placement("fusion", cpu_session("fusion"))


def test_nodes_on_the_cpu_are_named_unless_they_only_do_shapes():
    nodes = [
        (part.ep_name, node.op_type, node.name)
        for part in cpu_session("face_detector").get_provider_graph_assignment_info()
        for node in part.get_nodes()
    ]
    wrong = misplaced(nodes)
    assert any(node.startswith("Conv ") for node in wrong)
    assert not any(node.startswith(("Shape ", "Gather ", "Concat ")) for node in wrong)
    assert misplaced(("CUDAExecutionProvider", kind, name) for _, kind, name in nodes) == []


@pytest.mark.parametrize(
    ("message", "text"),
    [
        (
            "Error in execution: Non-zero status code returned while running Conv node. Name:'node_Conv_723' "
            "Status Message: Failed: CUDNN_FE failure 8: HEURISTIC_QUERY_FAILED ; GPU=0 ; hostname=vm ;",
            "running Conv node. Name:'node_Conv_723': CUDNN_FE failure 8: HEURISTIC_QUERY_FAILED;",
        ),
        (
            "Error in execution: CUDA failure 715: an illegal instruction was encountered ; GPU=0 ;",
            "on CUDA: CUDA failure 715: an illegal instruction was encountered;",
        ),
    ],
)
def test_faults_of_cuda_itself_are_engine_errors(monkeypatch, message, text):
    """ONNX Runtime raises plain RuntimeErrors for them. Both messages were seen on an H200."""

    def fails(*_):
        raise RuntimeError(message)

    on_cpu(monkeypatch, [])
    monkeypatch.setattr(BoundSession, "_run_unbound", fails)
    with (
        OnnxEngine(POCKET / "fusion.onnx") as truth,
        CudaEngine(POCKET / "fusion.onnx", fp16=False) as engine,
        pytest.raises(EngineError, match=re.escape(text)),
    ):
        engine.run(feeds(truth, 1))


def on_cpu(monkeypatch, searches):
    """Let `CudaEngine` compute on the CPU, and note how it lets cuDNN search in `searches`."""

    def opened(*_, search="HEURISTIC", **__):
        searches.append(search)
        return BoundSession(cpu_session("fusion"), "cpu")

    monkeypatch.setattr("affectstream.engines.runtimes.onnx_cuda.check_build", lambda: None)
    monkeypatch.setattr("affectstream.engines.runtimes.onnx_cuda._open", opened)


def test_where_cudnn_has_no_usual_plan_its_fallback_is_used(monkeypatch, caplog):
    searches = []
    on_cpu(monkeypatch, searches)
    run_unbound = BoundSession._run_unbound

    def fails_at_first(self, fed):
        if searches == ["HEURISTIC"]:
            raise RuntimeError("Name:'c' CUDNN_FE failure 8: HEURISTIC_QUERY_FAILED ; GPU=0")
        return run_unbound(self, fed)

    monkeypatch.setattr(BoundSession, "_run_unbound", fails_at_first)
    with (
        OnnxEngine(POCKET / "fusion.onnx") as truth,
        CudaEngine(POCKET / "fusion.onnx", fp16=False) as engine,
    ):
        for seed in range(2):
            fed = feeds(truth, 2, seed)
            expected = truth.run(fed)["logits"]
            np.testing.assert_allclose(engine.run(fed)["logits"], expected, rtol=1e-5, atol=1e-6)
    assert searches == ["HEURISTIC", "DEFAULT"]
    assert "fusion.onnx: cuDNN's slower plans are used" in caplog.text


@pytest.mark.skipif(HAS_CUDA, reason="this onnxruntime has CUDA")
def test_without_cuda_the_error_has_the_install_command():
    with pytest.raises(DeviceError, match=r"has no CUDA, only .*CPUExec.*pip uninstall -y onnxrun"):
        CudaEngine(POCKET / "fusion.onnx")


@pytest.fixture
def cuda():
    found = probe("cuda")
    if not found.works:
        pytest.skip(found.text)


@pytest.mark.usefixtures("cuda")
@pytest.mark.parametrize("fp16", [False, True])
@pytest.mark.parametrize("name", ENGINES)
def test_cuda_computes_what_the_cpu_computes(name, fp16):
    if fp16:
        pytest.importorskip("onnx", reason="FP16 graphs are derived with the package onnx")
    path = POCKET / f"{name}.onnx"
    with OnnxEngine(path) as engine, CudaEngine(path, fp16=fp16) as cuda:
        assert "cuda:0" in cuda.runtime
        assert cuda.runtime.endswith(", CUDA graphs" if fp16 else ", no CUDA graphs")
        for seed, rows in enumerate((1, 4, 1, 4)):
            fed = feeds(engine, rows, seed)
            found, expected = cuda.run(fed), engine.run(fed)
            for output, array in expected.items():
                np.testing.assert_allclose(
                    found[output], array, rtol=0.05 if fp16 else 1e-3, atol=0.05 if fp16 else 1e-3
                )
