"""Which nodes of an ONNX graph stay in FP32 when the rest goes to FP16: by rule, never by name.

FP16 enters a graph at its *layers* (convolutions, matrix products, look-up tables); what is neither
a layer nor sensitive follows its inputs. So everything before the first layer, such as the conversion
of pixels, stays in FP32. These stay whatever they are fed:

1. operators whose result or sum leaves FP16's range or loses its digits (`SENSITIVE`);
2. a spectrogram: all that leads from the samples to a logarithm through linear steps and powers (a
   full-scale tone has a power of thousands, silence one of 1e-10);
3. a square root with the sums that lead to it from the layer before, and the division by it: a norm,
   a standard deviation (the difference of two mean squares cancels);
4. what meets a constant that FP16 cannot hold: beyond 65504 (a mask's -1e9), and on from there up to
   what bounds it, a softmax; or a lone number under 2^-14 (the epsilon of a division);
5. a last convolution, whose sums are outputs of the graph: a detector's landmarks come out as precise
   as they were summed, and would otherwise move by a tenth of a pixel, and with them the crop. (Not a
   last matrix product: logits need no more, and Turing has no FP32 matrix products.)
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
from onnx import NodeProto, TensorProto, numpy_helper

from affectstream.engines.spec import Array

POLICY = "3"
"""Part of every derived file's key: raise it with any change of what is derived."""

LAYERS = frozenset({"Conv", "ConvTranspose", "Gemm", "MatMul", "Einsum", "Attention"})
SENSITIVE = frozenset(
    {
        *("Softmax", "LogSoftmax", "Softplus", "Exp", "Log", "Pow", "Sqrt", "CumSum"),
        *("ReduceSum", "ReduceMean", "ReduceProd", "ReduceL1", "ReduceL2", "ReduceSumSquare"),
        *("ReduceLogSum", "ReduceLogSumExp", "GlobalAveragePool", "LpNormalization"),
        *("LayerNormalization", "BatchNormalization", "GroupNormalization", "LRN"),
        *("InstanceNormalization", "RMSNormalization", "MeanVarianceNormalization"),
        *("Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual", "Range"),
        *("DequantizeLinear", "QuantizeLinear", "DynamicQuantizeLinear"),
        # A recurrence feeds its own rounding back at every step, and gains little speed in FP16. (ONNX
        # Runtime 1.31 crashes where it has to open one in FP16 on a CPU.)
        *("LSTM", "GRU", "RNN"),
    }
)
MOVERS = frozenset(
    {
        *("Concat", "Expand", "Flatten", "Gather", "GatherElements", "GatherND", "Identity", "Pad"),
        *("Reshape", "Slice", "Split", "Squeeze", "Tile", "Transpose", "Unsqueeze", "Where"),
    }
)
"""Move values and compute nothing: as precise as the most precise thing that they move."""

_LINEAR = MOVERS | LAYERS | {"Add", "Sub", "Mul", "Div", "Neg", "Abs", "Clip", "Max", "Min", "Pow"}
_LINEAR |= {"Cast", "Sqrt", "ReduceSum", "ReduceMean", "ReduceSumSquare", "ReduceL2", "STFT", "DFT"}
_LINEAR = (_LINEAR | {"Shape", "ConstantOfShape"}) - {"Attention"}
_STATISTIC = frozenset(
    {
        *("ReduceMean", "ReduceSum", "ReduceSumSquare", "Pow", "Mul", "Sub", "Div", "Neg", "Abs"),
        *("Clip", "Max", "Add", "MatMul", "Transpose", "Reshape", "Squeeze", "Unsqueeze"),
    }
)
_BETWEEN = frozenset({"Add", "Clip", "Max", "Expand", "Unsqueeze", "Reshape", "Cast"})
_SQUASH = frozenset({"Sigmoid", "Tanh", "Softmax"})
_BOUNDED = LAYERS | {"Softmax", "Sigmoid", "Tanh", "HardSigmoid", "ArgMax", "ArgMin", "Shape"}
_BOUNDED |= {"Equal", "Greater", "GreaterOrEqual", "Less", "LessOrEqual"}
_LARGEST = float(np.finfo(np.float16).max)
_SMALLEST = float(np.finfo(np.float16).tiny)


class Rules:
    """The nodes of one graph that must stay in FP32; `kept` has their numbers."""

    def __init__(
        self,
        nodes: Iterable[NodeProto],
        constants: Mapping[str, Array],
        outputs: Iterable[str],
    ) -> None:
        """`nodes` in topological order; `constants` are the FP32 weights and constants by name;
        `outputs` are the names of the graph's outputs."""
        self._nodes = list(nodes)
        self._constants = constants
        self._maker = {name: i for i, node in enumerate(self._nodes) for name in node.output}
        self._users: dict[str, list[int]] = {}
        for i, node in enumerate(self._nodes):
            for name in node.input:
                self._users.setdefault(name, []).append(i)
        self.kept = {i for i, node in enumerate(self._nodes) if node.op_type in SENSITIVE}
        for i, node in enumerate(self._nodes):
            if node.op_type == "Log":
                self.kept |= self._spectrogram(i)
            elif node.op_type in ("Sqrt", "ReduceL2"):
                self.kept |= self._statistics(i) | self._division(i)
        self.kept |= self._out_of_range()
        last = self._last_convolutions(outputs)
        layers = {i for i, node in enumerate(self._nodes) if self.is_layer(node)}
        if layers - self.kept - last:  # else nothing would be left to be FP16
            self.kept |= last

    def is_layer(self, node: NodeProto) -> bool:
        """Whether FP16 begins here: weights meet activations."""
        return node.op_type in LAYERS or (
            node.op_type == "Gather" and node.input[0] in self._constants
        )

    def _spectrogram(self, log: int) -> set[int]:
        """All ancestors of a logarithm, unless a nonlinear layer is among them (a log-softmax)."""
        found, open_ = {log}, [log]
        while open_:
            for name in self._nodes[open_.pop()].input:
                maker = self._maker.get(name)
                if maker is None or maker in found:
                    continue
                kind = self._nodes[maker].op_type
                if kind != "Constant" and kind not in _LINEAR:
                    return {log}
                found.add(maker)
                open_.append(maker)
        return found

    def _statistics(self, root: int) -> set[int]:
        """The root and what is summed up to it since the layer before."""
        found, open_ = {root}, [root]
        while open_:
            for name in self._nodes[open_.pop()].input:
                maker = self._maker.get(name)
                if maker is not None and maker not in found and self._is_statistic(maker):
                    found.add(maker)
                    open_.append(maker)
        return found

    def _is_statistic(self, index: int) -> bool:
        node = self._nodes[index]
        has_weights = any(name in self._constants for name in node.input)
        if node.op_type == "Add":  # an epsilon, but not the sum of two branches of a network
            return has_weights
        if node.op_type == "MatMul":  # a weighted mean, but not a layer
            return not has_weights
        return node.op_type in _STATISTIC

    def _division(self, root: int) -> set[int]:
        """From a root down to the division by it, or to the product with its reciprocal."""
        found: set[int] = set()
        open_ = [(name, False) for name in self._nodes[root].output]
        while open_:
            name, inverse = open_.pop()
            for user in self._users.get(name, []):
                node = self._nodes[user]
                if (node.op_type == "Div" and node.input[1] == name and not inverse) or (
                    node.op_type == "Mul" and inverse
                ):
                    found.add(user)
                elif node.op_type in _BETWEEN or node.op_type == "Reciprocal":
                    found.add(user)
                    turned = inverse or node.op_type == "Reciprocal"
                    open_ += [(output, turned) for output in node.output]
        return found

    def _last_convolutions(self, outputs: Iterable[str]) -> set[int]:
        """Convolutions whose sums leave the graph, moved or squashed but not computed with."""
        found: set[int] = set()
        seen: set[int] = set()
        open_ = list(outputs)
        while open_:
            maker = self._maker.get(open_.pop())
            if maker is None or maker in seen:
                continue
            seen.add(maker)
            node = self._nodes[maker]
            if node.op_type == "Conv":
                found.add(maker)
            elif node.op_type in MOVERS or node.op_type in _SQUASH:
                open_ += node.input
        return found

    def _out_of_range(self) -> set[int]:
        """Users of constants that FP16 cannot hold, and what a huge one runs through from there."""
        huge, tiny = set(), set()
        for name, value in self._constants.items():
            size = np.abs(value[np.isfinite(value)])
            if size.size and size.max() > _LARGEST:
                huge.add(name)
            elif value.size == 1 and size.size and 0 < size.max() < _SMALLEST:
                tiny.add(name)
        found = set()
        for i, node in enumerate(self._nodes):
            if node.op_type == "ConstantOfShape":
                fill = fill_of(node)
                if fill is not None and np.isfinite(fill) and abs(fill) > _LARGEST:
                    huge.update(node.output)
            elif huge.intersection(node.input):
                found.add(i)
                if node.op_type not in _BOUNDED:
                    huge.update(node.output)
            elif tiny.intersection(node.input):
                found.add(i)
        return found


def fill_of(node: NodeProto) -> float | None:
    """What a ConstantOfShape fills with, None where that is no FP32 number."""
    for attribute in node.attribute:
        if attribute.name == "value":
            if attribute.t.data_type != TensorProto.FLOAT:
                return None
            return float(numpy_helper.to_array(attribute.t).reshape(-1)[0])
    return 0.0
