"""Weights stored as FP16: half the size of the file, while every computation stays in FP32."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

SMALLEST = 256
"""Tensors of fewer numbers stay as they are: biases and constants are small, and some need every digit."""


EXACT = ("mel.rows", "mel.bank")
"""Ends of the names of constants that stay as they are: the error of a Fourier transform in FP16 would cover
what is quiet beside the voice."""


def store_weights_as_half(path: Path) -> None:
    """Rewrite the ONNX file `path` with its large FP32 weights as FP16, each followed by a cast.

    ONNX Runtime and TensorRT compute the casts once, when they load the file. Weights beyond FP16's range and
    `EXACT` constants keep FP32.
    """
    model = onnx.load(str(path))
    graph = model.graph
    casts = []
    for tensor in list(graph.initializer):
        if tensor.data_type != TensorProto.FLOAT or tensor.name.endswith(EXACT):
            continue
        values = numpy_helper.to_array(tensor)
        if values.size < SMALLEST or np.abs(values).max() > np.finfo(np.float16).max:
            continue
        stored = f"{tensor.name}_half"
        graph.initializer.append(numpy_helper.from_array(values.astype(np.float16), stored))
        casts.append(helper.make_node("Cast", [stored], [tensor.name], to=TensorProto.FLOAT))
        graph.initializer.remove(tensor)
    for at, cast in enumerate(casts):
        graph.node.insert(at, cast)
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, str(path))
