"""Weights that a file stores in 16 or 8 bits to be small, while the graph computes in FP32."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from onnx import ModelProto, NodeProto, TensorProto, numpy_helper


def read_stored_weights(model: ModelProto) -> None:
    """Replace each weight that is stored as FP16 or INT8, and that one node makes FP32, by the FP32 weight.

    The graph computes what it computed before. After it, `is_fp16` tells a graph whose author chose FP16 from
    one whose weights are only stored so.
    """
    graph = model.graph
    readers: dict[str, int] = {}
    for node in graph.node:
        for name in node.input:
            readers[name] = readers.get(name, 0) + 1
    weights = {weight.name: weight for weight in graph.initializer}
    for node in list(graph.node):
        if not all(name in weights and readers[name] == 1 for name in node.input):
            continue
        values = _single(node, [weights[name] for name in node.input])
        if values is None:
            continue
        graph.initializer.append(numpy_helper.from_array(values, node.output[0]))
        for name in node.input:
            graph.initializer.remove(weights[name])
        graph.node.remove(node)


def _single(node: NodeProto, stored: list[TensorProto]) -> NDArray[np.float32] | None:
    """What `node` makes of the weight that is `stored`; None if it is another node."""
    types = [weight.data_type for weight in stored]
    settings = {attribute.name: attribute.i for attribute in node.attribute}
    if (
        node.op_type == "Cast"
        and types == [TensorProto.FLOAT16]
        and settings["to"] == TensorProto.FLOAT
    ):
        return numpy_helper.to_array(stored[0]).astype(np.float32)
    if node.op_type == "DequantizeLinear" and types == [TensorProto.INT8, TensorProto.FLOAT]:
        codes, scales = (numpy_helper.to_array(weight) for weight in stored)
        shape = [1] * codes.ndim
        shape[settings.get("axis", 1)] = scales.size
        return np.asarray(codes * scales.reshape(shape), np.float32)
    return None
