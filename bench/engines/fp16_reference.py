"""An ONNX graph evaluated node by node on the CPU, every result rounded to the type that the graph gives it.

ONNX Runtime computes most FP16 nodes of a CPU in FP32 and does not round between them. `onnx.reference`
computes each node in its own type with NumPy. In a convolution, a pooling, an error function and an FP16
product of matrices it loops over single numbers, which would take hours here. So torch computes these: in
FP32, then rounded once, as torch's own FP16 kernels do (`test_fp16_reference` compares the convolution).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
import torch.nn.functional as F  # noqa: N812
from onnx.reference import ReferenceEvaluator
from onnx.reference.op_run import OpRun

from affectstream.engines.errors import EngineError
from affectstream.engines.fp16.stored import read_stored_weights
from affectstream.engines.runtimes.onnx import OnnxEngine
from affectstream.engines.spec import Array, check_feeds


class Fp16Reference(AbstractContextManager["Fp16Reference"]):
    """An engine. `largest` has the largest absolute value so far of each FP16 node output, by name."""

    def __init__(self, path: Path) -> None:
        """Raises `EngineError` for a graph that ONNX Runtime does not open."""
        with OnnxEngine(path) as engine:
            self.inputs, self.outputs = engine.inputs, engine.outputs
        self.runtime = f"onnx.reference {onnx.__version__}"
        self.largest: dict[str, float] = {}
        self._name = path.name
        model = onnx.load(str(path))
        # `onnx.reference` dequantizes in some versions of the operators only.
        read_stored_weights(model)
        self._computed = [
            name for node in model.graph.node if node.op_type != "Constant" for name in node.output
        ]
        self._evaluator = ReferenceEvaluator(
            model, new_ops=[Conv, MatMul, Erf, AveragePool, GridSample]
        )

    def __exit__(self, *_: object) -> None:
        return

    def run(self, feeds: Mapping[str, Array]) -> dict[str, Array]:
        """All outputs by name."""
        check_feeds(self._name, self.inputs, feeds)
        with np.errstate(over="ignore"):  # a sigmoid of a large number goes through infinity
            values: Any = self._evaluator.run(None, dict(feeds), intermediate=True)
        for name in self._computed:
            value = values.get(name)
            if value is not None and value.dtype == np.float16:
                peak = float(np.abs(value).max())
                self.largest[name] = max(self.largest.get(name, 0.0), peak)
        return {name: np.asarray(values[name]) for name in self.outputs}


class Conv(OpRun):
    """Convolution over one or two axes, padded alike on both sides."""

    op_domain = ""

    def _run(
        self,
        x: Array,
        weight: Array,
        bias: Array | None = None,
        *,
        dilations: Sequence[int] | None = None,
        group: int = 1,
        pads: Sequence[int] | None = None,
        strides: Sequence[int] | None = None,
        **_: Any,
    ) -> tuple[Array]:
        function: Callable[..., torch.Tensor] = {3: F.conv1d, 4: F.conv2d}[x.ndim]
        padding = _padding(pads, x.ndim - 2)
        data, *weights = (None if a is None else _float32(a) for a in (x, weight, bias))
        found = function(data, *weights, strides or 1, padding, dilations or 1, group)
        return (found.numpy().astype(x.dtype),)


class MatMul(OpRun):
    """The product of matrices, of any number of leading axes."""

    op_domain = ""

    def _run(self, left: Array, right: Array) -> tuple[Array]:
        found = torch.matmul(_float32(left), _float32(right))
        return (found.numpy().astype(left.dtype),)


class Erf(OpRun):
    """The error function, of GELU."""

    op_domain = ""

    def _run(self, x: Array) -> tuple[Array]:
        return (torch.erf(_float32(x)).numpy().astype(x.dtype),)


class AveragePool(OpRun):
    """Average pooling over two axes, padded alike on both sides."""

    op_domain = ""

    def _run(
        self,
        x: Array,
        *,
        ceil_mode: int = 0,
        count_include_pad: int = 0,
        kernel_shape: Sequence[int],
        pads: Sequence[int] | None = None,
        strides: Sequence[int] | None = None,
        **_: Any,
    ) -> tuple[Array]:
        found = F.avg_pool2d(
            _float32(x),
            list(kernel_shape),
            list(strides or (1, 1)),
            _padding(pads, x.ndim - 2),
            bool(ceil_mode),
            bool(count_include_pad),
        )
        return (found.numpy().astype(x.dtype),)


class GridSample(OpRun):
    """Sampling of pictures (N, C, H, W) at points; `onnx.reference` does not know the modes of opset 18."""

    op_domain = ""

    def _run(
        self,
        x: Array,
        grid: Array,
        *,
        align_corners: int = 0,
        mode: str = "bilinear",
        padding_mode: str = "zeros",
    ) -> tuple[Array]:
        found = F.grid_sample(
            _float32(x), _float32(grid), mode, padding_mode, align_corners=bool(align_corners)
        )
        return (found.numpy().astype(x.dtype),)


def _float32(array: Array) -> torch.Tensor:
    return torch.from_numpy(np.array(array, np.float32))  # a copy: weights are read-only


def _padding(pads: Sequence[int] | None, axes: int) -> list[int]:
    """ONNX's padding before and after each axis as torch's one number an axis."""
    before, after = (list(pads[:axes]), list(pads[axes:])) if pads else ([0] * axes, [0] * axes)
    if before != after:
        raise EngineError(f"expected the same padding on both sides, found {before} and {after}")
    return before
