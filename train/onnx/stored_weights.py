"""ONNX files whose large weights are stored in fewer bits, while the other computations stay in FP32."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import onnx
from numpy.typing import NDArray
from onnx import NodeProto, TensorProto, helper, numpy_helper

EXACT = ("mel.rows", "mel.bank")
"""Ends of the names of constants that stay as they are: the error of a Fourier transform in fewer bits would
cover what is quiet beside the voice."""
SMALLEST = 256
"""Tensors of fewer numbers stay as they are: biases and constants are small, and some need every digit."""
STEPS = 127
"""Largest code in 8 bits."""

Stored = tuple[list[TensorProto], NodeProto]
"""What is stored of a weight, and the node that makes the weight of it under its old name."""


def store_weights_as_half(path: Path) -> None:
    """Rewrite the ONNX file `path` with its large FP32 weights as FP16, each followed by a cast.

    ONNX Runtime and TensorRT compute the casts once, when they load the file. Weights beyond FP16's range and
    `EXACT` constants keep FP32.
    """
    _store(path, _half)


def store_weights_as_int8(path: Path) -> None:
    """Rewrite the ONNX file `path` with its large FP32 weights as INT8, each followed by `DequantizeLinear`.

    Matrices and kernels have a scale for each row or column, whichever loses less. ONNX Runtime may multiply
    matrices in 8 bits too; TensorRT computes the weights once, when it builds. `EXACT` constants keep FP32.
    """
    _store(path, _int8)


def _store(path: Path, store: Callable[[str, NDArray[np.float32]], Stored | None]) -> None:
    """Rewrite `path` with its large FP32 weights as `store` gives them by name and values; None keeps one."""
    model = onnx.load(str(path))
    graph = model.graph
    nodes: list[NodeProto] = []
    for tensor in list(graph.initializer):
        if tensor.data_type != TensorProto.FLOAT or tensor.name.endswith(EXACT):
            continue
        values = numpy_helper.to_array(tensor)
        if values.size >= SMALLEST and (stored := store(tensor.name, values)) is not None:
            weights, node = stored
            graph.initializer.extend(weights)
            graph.initializer.remove(tensor)
            nodes.append(node)
    for at, node in enumerate(nodes):
        graph.node.insert(at, node)
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, str(path))


def _half(name: str, values: NDArray[np.float32]) -> Stored | None:
    if np.abs(values).max() > np.finfo(np.float16).max:
        return None
    stored = f"{name}_half"
    cast = helper.make_node("Cast", [stored], [name], to=TensorProto.FLOAT)
    return [numpy_helper.from_array(values.astype(np.float16), stored)], cast


def _int8(name: str, values: NDArray[np.float32]) -> Stored | None:
    if values.ndim < 2:
        return None
    codes, scales, axis = quantize(values)
    stored, factors = f"{name}_int8", f"{name}_scales"
    node = helper.make_node("DequantizeLinear", [stored, factors], [name], axis=axis)
    return [numpy_helper.from_array(codes, stored), numpy_helper.from_array(scales, factors)], node


def quantize(values: NDArray[np.float32]) -> tuple[NDArray[np.int8], NDArray[np.float32], int]:
    """Codes in [-127, 127], the scales (n,) by which they are multiplied, and along which axis: the first or
    the last."""

    def along(axis: int) -> tuple[float, NDArray[np.int8], NDArray[np.float32], int]:
        others = tuple(other for other in range(values.ndim) if other != axis)
        peaks = np.abs(values).max(others, keepdims=True)
        scales = (np.maximum(peaks, np.finfo(np.float32).tiny * STEPS) / STEPS).astype(np.float32)
        codes = np.rint(values / scales).astype(np.int8)
        lost = float(np.square(codes * scales - values).sum())
        return lost, codes, scales.reshape(-1), axis

    return min(along(0), along(values.ndim - 1), key=lambda found: found[0])[1:]
