"""The evaluator of FP16 graphs: it rounds after every node, and its own operators are those of ONNX."""

import numpy as np
import pytest

from affectstream.engines.errors import EngineError
from affectstream.engines.runtimes.onnx import OnnxEngine

torch = pytest.importorskip("torch", reason="torch computes convolutions: pip install torch")
onnx = pytest.importorskip("onnx", reason="the evaluator is that of the package onnx")

from affectstream.bench.engines.fp16_reference import Fp16Reference


def save(path, nodes, x_shape, y_shape, weights=()):
    """A graph from `x` to `y`, both FP32."""
    x, y = (
        onnx.helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, shape)
        for name, shape in (("x", x_shape), ("y", y_shape))
    )
    initializers = [onnx.numpy_helper.from_array(value, name) for name, value in weights]
    graph = onnx.helper.make_graph(nodes, "graph", [x], [y], initializers)
    opset = onnx.helper.make_opsetid("", 18)
    onnx.save(onnx.helper.make_model(graph, opset_imports=[opset], ir_version=8), str(path))
    return path


@pytest.mark.parametrize("groups", [1, 8])
def test_a_convolution_summed_in_fp32_differs_from_torchs_fp16_kernel_by_one_rounding(groups):
    """The two sum in another order; this seldom changes the last of the eleven bits of FP16."""
    draw = torch.Generator().manual_seed(0)
    x = torch.randn(2, 8, 12, 12, generator=draw).half()
    w = (torch.randn(16, 8 // groups, 3, 3, generator=draw) / 5).half()
    own = torch.nn.functional.conv2d(x, w, padding=1, groups=groups)
    wide = torch.nn.functional.conv2d(x.float(), w.float(), padding=1, groups=groups).half()
    assert (own != wide).float().mean() < 0.01
    torch.testing.assert_close(own, wide, rtol=2**-10, atol=2**-14)


def test_every_node_is_rounded_to_fp16(tmp_path):
    """2048 + 1 is 2048 in FP16, and 2049 where a runtime computes in FP32 behind its types."""
    nodes = [
        onnx.helper.make_node("Cast", ["x"], ["h"], to=onnx.TensorProto.FLOAT16),
        onnx.helper.make_node("Add", ["h", "one"], ["more"]),
        onnx.helper.make_node("Cast", ["more"], ["y"], to=onnx.TensorProto.FLOAT),
    ]
    path = save(tmp_path / "sum.onnx", nodes, ["N"], ["N"], [("one", np.array(1, np.float16))])
    with Fp16Reference(path) as engine:
        assert engine.run({"x": np.array([2048], np.float32)})["y"] == [2048]
        assert engine.largest == {"h": 2048.0, "more": 2048.0}


@pytest.mark.parametrize(
    ("kernel", "attributes"),
    [
        ("Conv", {"pads": [1, 2, 1, 2], "strides": [2, 1], "dilations": [1, 2], "group": 2}),
        ("Conv", {}),
        ("MatMul", {}),
        ("Erf", {}),
        ("AveragePool", {"kernel_shape": [3, 3], "pads": [1, 1, 1, 1], "count_include_pad": 1}),
        ("AveragePool", {"kernel_shape": [2, 2], "strides": [2, 2], "ceil_mode": 1}),
    ],
)
def test_the_operators_that_torch_computes_are_those_of_onnx(kernel, attributes, tmp_path):
    """In FP32, against ONNX Runtime. All others are those of `onnx.reference`."""
    draw = np.random.default_rng(0)
    feeds = {"x": draw.normal(size=(2, 4, 9, 9)).astype(np.float32)}
    shapes = {"Conv": (6, 4 // attributes.get("group", 1), 3, 3), "MatMul": (4, 9, 5)}
    weight = draw.normal(size=shapes.get(kernel, 1)).astype(np.float32)
    inputs = ["x", "w"] if kernel in shapes else ["x"]
    node = onnx.helper.make_node(kernel, inputs, ["y"], **attributes)
    path = save(tmp_path / "one.onnx", [node], [None] * 4, [None] * 4, [("w", weight)])
    with OnnxEngine(path) as runtime, Fp16Reference(path) as reference:
        expected, found = runtime.run(feeds)["y"], reference.run(feeds)["y"]
    assert found.shape == expected.shape
    np.testing.assert_allclose(found, expected, rtol=1e-5, atol=1e-5)


def test_uneven_padding_is_refused(tmp_path):
    node = onnx.helper.make_node(
        "AveragePool", ["x"], ["y"], kernel_shape=[2, 2], pads=[0, 0, 1, 1]
    )
    path = save(tmp_path / "pool.onnx", [node], [1, 1, 4, 4], [None] * 4)
    with (
        Fp16Reference(path) as reference,
        pytest.raises(EngineError, match="same padding on both sides"),
    ):
        reference.run({"x": np.zeros((1, 1, 4, 4), np.float32)})
