"""Small ONNX graphs, each with one thing to try."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import NodeProto, TensorProto, helper, numpy_helper

FLOAT, HALF, INT64 = TensorProto.FLOAT, TensorProto.FLOAT16, TensorProto.INT64


def save(
    path: Path,
    nodes: Sequence[NodeProto],
    inputs: dict[str, tuple[int, Sequence[int | str]]],
    output: int = FLOAT,
    **weights: NDArray[Any],
) -> Path:
    """Write a graph with the output ``y`` of the element type `output`."""
    graph = helper.make_graph(
        nodes,
        "graph",
        [helper.make_tensor_value_info(name, *of) for name, of in inputs.items()],
        [helper.make_tensor_value_info("y", output, None)],
        [numpy_helper.from_array(value, name) for name, value in weights.items()],
    )
    opsets = [helper.make_opsetid("", 18), helper.make_opsetid("nowhere", 1)]
    model = helper.make_model(graph, opset_imports=opsets, ir_version=9)
    onnx.save(onnx.shape_inference.infer_shapes(model), str(path))
    return path


def linear(path: Path, *, seed: int = 0, axes: Sequence[int | str] = ("N", 4)) -> Path:
    """``y = x w`` with x (N, 4) and w (4, 3), FP32."""
    weights = np.random.default_rng(seed).normal(size=(4, 3)).astype(np.float32)
    node = helper.make_node("MatMul", ["x", "w"], ["y"], name="product")
    return save(path, [node], {"x": (FLOAT, axes)}, w=weights)


def linear_outside(path: Path, *, seed: int = 0) -> Path:
    """`linear`, its weights in a file ``weights.bin`` beside it."""
    model = onnx.load(str(linear(path, seed=seed)))
    path.with_name("weights.bin").unlink(missing_ok=True)
    onnx.save(
        model, str(path), save_as_external_data=True, location="weights.bin", size_threshold=0
    )
    return path


def one_node(path: Path, operator: str, *, output: int = FLOAT, **attributes: Any) -> Path:
    """A graph of one node of one input x (N, 4, 4) FP32."""
    node = helper.make_node(operator, ["x"], ["y"], name="the-node", **attributes)
    return save(path, [node], {"x": (FLOAT, ("N", 4, 4))}, output)


def mixed(path: Path) -> Path:
    """An FP32 and an FP16 tensor are added."""
    nodes = [
        helper.make_node("Cast", ["x"], ["half"], name="to-half", to=HALF),
        helper.make_node("Add", ["x", "half"], ["y"], name="sum"),
    ]
    return save(path, nodes, {"x": (FLOAT, ("N", 4))})
