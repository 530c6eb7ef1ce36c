"""Operators without a CUDA kernel are replaced by others that give the same."""

import numpy as np
import onnxruntime
import pytest

onnx = pytest.importorskip("onnx", reason="graphs are rewritten with the package onnx")

from onnx import TensorProto, helper, numpy_helper

from affectstream.engines.bundle.folder import POCKET
from affectstream.engines.graphs.feeds import random_feeds
from affectstream.engines.runtimes.cuda_operators import graph_for_cuda, replace_operators
from affectstream.engines.runtimes.onnx import OnnxEngine


def model_of(nodes, inputs, output, weights=()):
    values = [helper.make_tensor_value_info(n, kind, ["N"]) for n, kind in inputs.items()]
    out = helper.make_tensor_value_info("y", output, ["M"])
    graph = helper.make_graph(nodes, "g", values, [out], list(weights))
    return helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)


def run(model, **feeds):
    onnx.checker.check_model(model, full_check=True)
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), providers=["CPUExecutionProvider"]
    )
    return session.run(None, feeds)[0]


@pytest.mark.parametrize(
    ("kind", "dtype", "error"),
    [(TensorProto.FLOAT, np.float32, 3e-7), (TensorProto.FLOAT16, np.float16, 1e-3)],
)
def test_arctangents_over_all_numbers(kind, dtype, error):
    model = model_of([helper.make_node("Atan", ["x"], ["y"], "a")], {"x": kind}, kind)
    assert replace_operators(model) == 1
    assert "Atan" not in {node.op_type for node in model.graph.node}
    limits = [0.0, 1.0, -1.0, 2**0.5 - 1, 2**0.5 + 1, 6e4, -6e4, np.inf, -np.inf, 1e-4]
    x = np.array([*limits, *np.linspace(-30, 30, 20_001), *np.linspace(-1.2, 1.2, 4001)], dtype)
    found = run(model, x=x)
    assert found.dtype == dtype
    np.testing.assert_allclose(found, np.arctan(x.astype(np.float64)), atol=error)
    assert np.isnan(run(model, x=np.array([np.nan], dtype)))


@pytest.mark.parametrize("given", [True, False], ids=["value", "zeros"])
@pytest.mark.parametrize(
    ("kind", "dtype"), [(TensorProto.INT32, np.int32), (TensorProto.INT64, np.int64)]
)
def test_padding_of_integers(kind, dtype, given):
    pads = numpy_helper.from_array(np.array([2, 1]), "pads")
    value = numpy_helper.from_array(np.array(-7, dtype), "value")
    names = ["x", "pads", "value"] if given else ["x", "pads"]
    node = helper.make_node("Pad", names, ["y"], "p", mode="constant")
    model = model_of([node], {"x": kind}, kind, [pads, value] if given else [pads])
    assert replace_operators(model) == 1
    largest = min(2**53 - 1, np.iinfo(dtype).max)
    x = np.array([5, -largest, largest], dtype)
    filled = -7 if given else 0
    found = run(model, x=x)
    assert found.dtype == dtype and found.tolist() == [filled, filled, *x.tolist(), filled]


def test_padding_of_other_numbers_stays():
    pads = numpy_helper.from_array(np.array([1, 1]), "pads")
    node = helper.make_node("Pad", ["x", "pads"], ["y"], "p")
    model = model_of([node], {"x": TensorProto.FLOAT}, TensorProto.FLOAT, [pads])
    assert replace_operators(model) == 0 and len(model.graph.node) == 1


@pytest.mark.parametrize(
    ("name", "changes"), [("face_geometry", True), ("text_encoder", True), ("fusion", False)]
)
def test_the_bundle_gives_the_same_without_them(name, changes, tmp_path):
    graph = graph_for_cuda(POCKET / f"{name}.onnx")
    assert (graph is not None) == changes
    if graph is None:
        return
    (tmp_path / "g.onnx").write_bytes(graph)
    with OnnxEngine(POCKET / f"{name}.onnx") as before, OnnxEngine(tmp_path / "g.onnx") as after:
        for feeds in random_feeds(before.inputs, 2, 0):
            expected, found = before.run(feeds), after.run(feeds)
            for output, array in expected.items():
                np.testing.assert_allclose(found[output], array, atol=1e-4, rtol=1e-4)
