"""8 bits in a graph: a way to store weights, or a way to compute."""

from pathlib import Path

import numpy as np
import onnxruntime
import pytest

pytest.importorskip("onnx")

import onnx
from onnx import TensorProto, helper, numpy_helper

from affectstream.engines.runtimes.onnx import OnnxEngine

ROWS, INSIDE, COLUMNS = 150, 384, 512


def graph(path: Path, *, rounds: bool) -> np.ndarray:
    """Write ``y = x @ w`` with `w` stored in 8 bits, where `rounds` says so of a rounded `x`; return `w`."""
    random = np.random.default_rng(0)
    codes = random.integers(-127, 128, (INSIDE, COLUMNS)).astype(np.int8)
    scales = random.uniform(0.001, 0.002, COLUMNS).astype(np.float32)
    constants = [
        numpy_helper.from_array(codes, "codes"),
        numpy_helper.from_array(scales, "scales"),
        numpy_helper.from_array(np.float32(0.03), "step"),
        numpy_helper.from_array(np.uint8(128), "zero"),
    ]
    nodes = [helper.make_node("DequantizeLinear", ["codes", "scales"], ["w"], axis=1)]
    if rounds:
        nodes += [
            helper.make_node("QuantizeLinear", ["x", "step", "zero"], ["rounded"]),
            helper.make_node("DequantizeLinear", ["rounded", "step", "zero"], ["read"]),
        ]
    nodes.append(helper.make_node("MatMul", ["read" if rounds else "x", "w"], ["y"]))
    shapes = {"x": (1, ROWS, INSIDE), "y": (1, ROWS, COLUMNS)}
    ends = [helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in shapes.items()]
    model = helper.make_model(
        helper.make_graph(nodes, "product", ends[:1], ends[1:], constants),
        opset_imports=[helper.make_opsetid("", 18)],
        ir_version=9,
    )
    onnx.save(model, path)
    return codes * scales


X = np.random.default_rng(1).normal(size=(1, ROWS, INSIDE)).astype(np.float32)


def test_stored_weights_are_as_exact_as_they_are_stored(tmp_path: Path) -> None:
    weights = graph(tmp_path / "product.onnx", rounds=False)
    with OnnxEngine(tmp_path / "product.onnx") as engine:
        found = engine.run({"x": X})["y"]
    np.testing.assert_allclose(found, X @ weights, atol=1e-4)


def test_a_graph_that_rounds_is_computed_as_its_author_wanted(tmp_path: Path) -> None:
    path = tmp_path / "product.onnx"
    graph(path, rounds=True)
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    with OnnxEngine(path) as engine:
        found = engine.run({"x": X})["y"]
    np.testing.assert_array_equal(found, session.run(None, {"x": X})[0])
