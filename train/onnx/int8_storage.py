"""Weights stored in 8 bits: a quarter of the size of the file. What else is computed stays in FP32."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from onnx import helper, numpy_helper

from affectstream.train.onnx.stored_weights import Stored, store_weights

STEPS = 127


def store_weights_as_int8(path: Path) -> None:
    """Rewrite the ONNX file `path` with its large FP32 weights as INT8, each followed by `DequantizeLinear`.

    Matrices and kernels have a scale for each row or column, whichever loses less. ONNX Runtime may multiply
    matrices in 8 bits too; TensorRT computes the weights once, when it builds. `EXACT` constants keep FP32.
    """
    store_weights(path, _int8)


def _int8(name: str, values: NDArray[np.float32]) -> Stored | None:
    if values.ndim < 2:
        return None
    codes, scales, axis = quantize(values)
    stored, factors = f"{name}_int8", f"{name}_scales"
    node = helper.make_node("DequantizeLinear", [stored, factors], [name], axis=axis)
    weights = [numpy_helper.from_array(codes, stored), numpy_helper.from_array(scales, factors)]
    return weights, [node]


def quantize(values: NDArray[np.float32]) -> tuple[NDArray[np.int8], NDArray[np.float32], int]:
    """Codes in [-127, 127], the scales (n,) by which they are multiplied, and along which axis: the first or
    the last."""
    best: tuple[float, NDArray[np.int8], NDArray[np.float32], int] | None = None
    for axis in (0, values.ndim - 1):
        others = tuple(other for other in range(values.ndim) if other != axis)
        peaks = np.abs(values).max(others, keepdims=True)
        scales = (np.maximum(peaks, np.finfo(np.float32).tiny * STEPS) / STEPS).astype(np.float32)
        codes = np.rint(values / scales).astype(np.int8)
        lost = float(np.square(codes * scales - values).sum())
        if best is None or lost < best[0]:
            best = lost, codes, scales.reshape(-1), axis
    assert best is not None
    return best[1:]
