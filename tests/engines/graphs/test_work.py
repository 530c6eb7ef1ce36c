"""Arithmetic and bytes of a graph."""

import numpy as np
import pytest

onnx = pytest.importorskip("onnx", reason="graphs are counted with the package onnx")

from onnx import TensorProto, helper, numpy_helper

from affectstream.engines.graphs.work import Work, count


def saved(path, nodes, inputs, weights):
    values = [helper.make_tensor_value_info(n, TensorProto.FLOAT, s) for n, s in inputs.items()]
    output = helper.make_tensor_value_info("y", TensorProto.FLOAT, None)
    tensors = [numpy_helper.from_array(a.astype(np.float32), n) for n, a in weights.items()]
    graph = helper.make_graph(nodes, "g", values, [output], tensors)
    onnx.save(
        helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=9),
        str(path),
    )
    return path


def test_a_convolution_and_a_product(tmp_path):
    nodes = [
        helper.make_node("Conv", ["x", "w"], ["c"]),
        helper.make_node("ReduceMean", ["c"], ["m"], axes=[2, 3], keepdims=0),
        helper.make_node("Gemm", ["m", "v"], ["y"], transB=1),
    ]
    path = saved(
        tmp_path / "g.onnx",
        nodes,
        {"x": ("N", 3, 8, 8)},
        {"w": np.ones((4, 3, 3, 3)), "v": np.ones((5, 4))},
    )
    found = count(path, {"x": np.ones((2, 3, 8, 8), np.float32)})
    convolution, product = 2 * (2 * 4 * 6 * 6) * (3 * 3 * 3), 2 * (2 * 5) * 4
    assert found == Work(2, convolution + product, 4 * 27 + 20, 2 * 3 * 64 + 2 * 5)


def test_weights_count_once_a_batch(tmp_path):
    work = Work(rows=1, flops=100.0, weights=10, numbers=4)
    assert work.for_rows(8) == Work(8, 800.0, 10, 32)
    assert (work.bytes("fp16"), work.bytes("fp32")) == (28, 56)
