"""An ONNX graph evaluated node by node by torch, every tensor in the type that the graph gives it.

ONNX Runtime on a CPU computes most FP16 nodes in FP32 and only looks as if it rounded; this rounds
after every node, with torch's own FP16 kernels, as a GPU does. Convolutions are the exception on a
CPU: they are summed in FP32 and then rounded, which is what torch's FP16 kernel does too, only 25
times slower on a processor without FP16 arithmetic (`test_parity` holds the two against each other).
Covers the operators of our graphs, not all of ONNX.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from contextlib import AbstractContextManager
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import torch
import torch.nn.functional as F  # noqa: N812
from onnx import helper, numpy_helper
from torch import Tensor

from affectstream.engines.errors import EngineError
from affectstream.engines.runtimes.onnx import OnnxEngine
from affectstream.engines.spec import Array, check_feeds

Inputs = list[Any]
"""Tensors, None for an input that is left out."""
Attributes = dict[str, Any]


class TorchGraph(AbstractContextManager["TorchGraph"]):
    """An engine. `largest` has the largest absolute value seen in each FP16 tensor, by name."""

    def __init__(self, path: Path, *, device: str = "cpu") -> None:
        """Raises `EngineError` for an operator that is not covered."""
        graph = onnx.load(str(path)).graph
        with OnnxEngine(path) as engine:
            self.inputs, self.outputs = engine.inputs, engine.outputs
        self.runtime = f"torch {torch.__version__} {device}"
        self.largest: dict[str, float] = {}
        self._name, self._device = path.name, device
        self._weights = {w.name: self._tensor(numpy_helper.to_array(w)) for w in graph.initializer}
        self._nodes = []
        for node in graph.node:
            attributes = {a.name: helper.get_attribute_value(a) for a in node.attribute}
            if node.op_type == "Constant":
                value = self._tensor(numpy_helper.to_array(attributes["value"]))
                self._weights[node.output[0]] = value
            elif node.op_type not in _KERNELS:
                raise EngineError(f"{path.name}: torch_graph has no kernel for {node.op_type}")
            else:
                self._nodes.append((node, attributes, _KERNELS[node.op_type]))

    def __exit__(self, *_: object) -> None:
        return

    def run(self, feeds: Mapping[str, Array]) -> dict[str, Array]:
        """All outputs by name."""
        check_feeds(self._name, self.inputs, feeds)
        values: dict[str, Tensor | None] = {**self._weights, "": None}
        values.update({name: self._tensor(array) for name, array in feeds.items()})
        with torch.inference_mode():
            for node, attributes, kernel in self._nodes:
                found = kernel(attributes, [values[name] for name in node.input])
                several = found if isinstance(found, tuple) else (found,)
                for name, value in zip(node.output, several, strict=True):
                    values[name] = value
                    if value.dtype == torch.float16:
                        peak = float(value.abs().max())
                        self.largest[name] = max(self.largest.get(name, 0.0), peak)
        return {name: _known(values[name]).cpu().numpy() for name in self.outputs}

    def _tensor(self, array: Array) -> Tensor:
        return torch.from_numpy(np.array(array)).to(self._device)


Kernel = Callable[[Attributes, Inputs], Tensor | tuple[Tensor, ...]]

_TYPES = {
    onnx.TensorProto.FLOAT: torch.float32,
    onnx.TensorProto.FLOAT16: torch.float16,
    onnx.TensorProto.INT64: torch.int64,
    onnx.TensorProto.INT32: torch.int32,
    onnx.TensorProto.BOOL: torch.bool,
}


def _known(value: Tensor | None) -> Tensor:
    assert value is not None
    return value


def _ints(value: Tensor) -> list[int]:
    return [int(v) for v in value.reshape(-1)]


def _both_sides(pads: list[int], what: str) -> list[int]:
    """ONNX's padding before and after each axis as torch's one number an axis."""
    half = len(pads) // 2
    if pads[:half] != pads[half:]:
        raise EngineError(f"torch_graph: {what} with uneven padding {pads}")
    return pads[:half]


def _conv(a: Attributes, x: Inputs) -> Tensor:
    function = {3: F.conv1d, 4: F.conv2d}[x[0].ndim]
    data, *weights = (value.float() for value in x) if x[0].is_cpu else x
    pads = _both_sides(a["pads"], "Conv")
    bias = weights[1] if len(weights) > 1 else None
    args = (a["strides"], pads, a["dilations"], a["group"])
    found: Tensor = function(data, weights[0], bias, *args).to(x[0].dtype)
    return found


def _pool(a: Attributes, x: Inputs) -> Tensor:
    pads = _both_sides(a["pads"], "AveragePool")
    ceil, count = bool(a.get("ceil_mode", 0)), bool(a.get("count_include_pad", 0))
    return F.avg_pool2d(x[0], a["kernel_shape"], a["strides"], pads, ceil, count)


def _gemm(a: Attributes, x: Inputs) -> Tensor:
    left = x[0].mT if a.get("transA", 0) else x[0]
    right = x[1].mT if a.get("transB", 0) else x[1]
    product: Tensor = a.get("alpha", 1.0) * (left @ right)
    return product if len(x) < 3 else product + a.get("beta", 1.0) * x[2]


def _slice(_: Attributes, x: Inputs) -> Tensor:
    data: Tensor = x[0]
    starts, ends = _ints(x[1]), _ints(x[2])
    axes = _ints(x[3]) if len(x) > 3 else range(len(starts))
    steps = _ints(x[4]) if len(x) > 4 else [1] * len(starts)
    for start, end, axis, step in zip(starts, ends, axes, steps, strict=True):
        kept = list(range(data.shape[axis])[start:end:step])
        data = data.index_select(axis, torch.tensor(kept, device=data.device))
    return data


def _pad(_: Attributes, x: Inputs) -> Tensor:
    pads = _ints(x[1])
    pairs = zip(pads[: x[0].ndim], pads[x[0].ndim :], strict=True)
    return F.pad(x[0], [side for pair in reversed(list(pairs)) for side in pair])


def _resize(a: Attributes, x: Inputs) -> Tensor:
    wanted = {
        "mode": b"nearest",
        "nearest_mode": b"floor",
        "coordinate_transformation_mode": b"asymmetric",
    }
    if any(a[key] != value for key, value in wanted.items()):
        raise EngineError("torch_graph: Resize only to the nearest below")
    return F.interpolate(x[0], scale_factor=x[2].tolist()[2:], mode="nearest")


def _clip(_: Attributes, x: Inputs) -> Tensor:
    low, high = [*x[1:], None, None][:2]
    return torch.clamp(x[0], low, high)


def _reduce(function: Callable[..., Tensor]) -> Kernel:
    def kernel(a: Attributes, x: Inputs) -> Tensor:
        return function(x[0], dim=_ints(x[1]), keepdim=bool(a.get("keepdims", 1)))

    return kernel


def _gather(a: Attributes, x: Inputs) -> Tensor:
    axis = a.get("axis", 0)
    picked: Tensor = x[0].index_select(axis, x[1].reshape(-1))
    return picked.reshape([*x[0].shape[:axis], *x[1].shape, *x[0].shape[axis + 1 :]])


def _split(a: Attributes, x: Inputs) -> tuple[Tensor, ...]:
    return torch.split(x[0], _ints(x[1]), dim=a.get("axis", 0))


def _unsqueeze(_: Attributes, x: Inputs) -> Tensor:
    data: Tensor = x[0]
    for axis in sorted(_ints(x[1])):
        data = data.unsqueeze(axis)
    return data


def _layer_norm(a: Attributes, x: Inputs) -> Tensor:
    shape = x[0].shape[a.get("axis", -1) :]
    return F.layer_norm(x[0], shape, x[1], x[2], a.get("epsilon", 1e-5))


def _filled(a: Attributes, x: Inputs) -> Tensor:
    value = torch.from_numpy(np.array(numpy_helper.to_array(a["value"]))).to(x[0].device)
    return value.expand(_ints(x[0])).clone()


def _reshape(_: Attributes, x: Inputs) -> Tensor:
    data: Tensor = x[0]
    return data.reshape([n or data.shape[i] for i, n in enumerate(_ints(x[1]))])


def _plain(function: Callable[..., Any]) -> Kernel:
    return lambda _, x: function(*x)


_KERNELS: dict[str, Kernel] = {
    **{"Add": _plain(torch.add), "Sub": _plain(torch.sub), "Mul": _plain(torch.mul)},
    **{"Div": _plain(torch.div), "Max": _plain(torch.maximum), "MatMul": _plain(torch.matmul)},
    **{"Log": _plain(torch.log), "Sqrt": _plain(torch.sqrt), "Relu": _plain(torch.relu)},
    **{"Sigmoid": _plain(torch.sigmoid), "Tanh": _plain(torch.tanh), "Where": _plain(torch.where)},
    **{"Greater": _plain(torch.gt), "GreaterOrEqual": _plain(torch.ge), "Clip": _clip},
    **{"ReduceMean": _reduce(torch.mean), "ReduceSum": _reduce(torch.sum)},
    **{"ReduceMax": _reduce(torch.amax), "Gather": _gather, "Split": _split, "Slice": _slice},
    **{"Conv": _conv, "Gemm": _gemm, "AveragePool": _pool, "Pad": _pad, "Resize": _resize},
    **{"LayerNormalization": _layer_norm, "ConstantOfShape": _filled, "Reshape": _reshape},
    "Cast": lambda a, x: x[0].to(_TYPES[a["to"]]),
    "Concat": lambda a, x: torch.cat(x, dim=a["axis"]),
    "Flatten": lambda a, x: x[0].flatten(a.get("axis", 1)),
    "Shape": lambda a, x: torch.tensor(x[0].shape, device=x[0].device),
    "Softmax": lambda a, x: torch.softmax(x[0], a.get("axis", -1)),
    "Squeeze": lambda a, x: x[0].squeeze(tuple(_ints(x[1]))),
    "Transpose": lambda a, x: x[0].permute(a["perm"]),
    "Unsqueeze": _unsqueeze,
}
