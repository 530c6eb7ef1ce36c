"""ONNX files whose large weights are stored in fewer bits."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import NodeProto, TensorProto, numpy_helper

EXACT = ("mel.rows", "mel.bank")
"""Ends of the names of constants that stay as they are: the error of a Fourier transform in fewer bits would
cover what is quiet beside the voice."""
SMALLEST = 256
"""Tensors of fewer numbers stay as they are: biases and constants are small, and some need every digit."""

Stored = tuple[list[TensorProto], list[NodeProto]]
"""What is stored of a weight, and the nodes that make the weight of it under its old name."""


def store_weights(path: Path, store: Callable[[str, NDArray[np.float32]], Stored | None]) -> None:
    """Rewrite the ONNX file `path` with its large FP32 weights as `store` gives them by name and values; None
    keeps a weight. `EXACT` constants keep FP32."""
    model = onnx.load(str(path))
    graph = model.graph
    nodes: list[NodeProto] = []
    for tensor in list(graph.initializer):
        if tensor.data_type != TensorProto.FLOAT or tensor.name.endswith(EXACT):
            continue
        values = numpy_helper.to_array(tensor)
        stored = store(tensor.name, values) if values.size >= SMALLEST else None
        if stored is None:
            continue
        graph.initializer.extend(stored[0])
        nodes += stored[1]
        graph.initializer.remove(tensor)
    for at, node in enumerate(nodes):
        graph.node.insert(at, node)
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, str(path))
