"""Weights stored as FP16: half the size of the file, while every computation stays in FP32."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from onnx import TensorProto, helper, numpy_helper

from affectstream.train.onnx.stored_weights import Stored, store_weights


def store_weights_as_half(path: Path) -> None:
    """Rewrite the ONNX file `path` with its large FP32 weights as FP16, each followed by a cast.

    ONNX Runtime and TensorRT compute the casts once, when they load the file. Weights beyond FP16's range and
    `EXACT` constants keep FP32.
    """
    store_weights(path, _half)


def _half(name: str, values: NDArray[np.float32]) -> Stored | None:
    if np.abs(values).max() > np.finfo(np.float16).max:
        return None
    stored = f"{name}_half"
    cast = helper.make_node("Cast", [stored], [name], to=TensorProto.FLOAT)
    return [numpy_helper.from_array(values.astype(np.float16), stored)], [cast]
