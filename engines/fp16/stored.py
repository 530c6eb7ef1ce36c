"""Weights that a file stores as FP16 to be small, while the graph computes in FP32."""

from __future__ import annotations

import numpy as np
from onnx import ModelProto, TensorProto, numpy_helper


def read_stored_weights(model: ModelProto) -> None:
    """Replace each FP16 weight that only a cast to FP32 reads by the FP32 weight that the cast makes.

    The graph computes what it computed before. After it, `is_fp16` tells a graph whose author chose FP16 from
    one whose weights are only stored so.
    """
    graph = model.graph
    readers: dict[str, int] = {}
    for node in graph.node:
        for name in node.input:
            readers[name] = readers.get(name, 0) + 1
    stored = {w.name: w for w in graph.initializer if w.data_type == TensorProto.FLOAT16}
    for node in list(graph.node):
        if node.op_type != "Cast" or node.input[0] not in stored or readers[node.input[0]] > 1:
            continue
        if node.attribute[0].i != TensorProto.FLOAT:
            continue
        weight = stored[node.input[0]]
        values = numpy_helper.to_array(weight).astype(np.float32)
        graph.initializer.append(numpy_helper.from_array(values, node.output[0]))
        graph.initializer.remove(weight)
        graph.node.remove(node)
