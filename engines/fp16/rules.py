"""Which nodes of an ONNX graph stay in FP32 when the rest becomes FP16: by rule, never by name.

FP16 begins at the *layers* of a graph: convolutions, matrix products and look-up tables. A node that is
neither a layer nor sensitive follows its inputs. So everything before the first layer, such as the conversion
of pixels, stays in FP32. These stay in FP32 whatever their inputs are:

1. operators whose result or sum leaves FP16's range or loses precision (`SENSITIVE`);
2. a spectrogram: all linear steps and powers between the samples and a logarithm (a full-scale tone has a
   power of thousands, silence one of 1e-10);
3. a square root, the sums between it and the layer before, and the division by it: a norm or a standard
   deviation (the difference of two mean squares cancels);
4. a node with a constant that FP16 cannot hold. That is one beyond 65504, such as a mask's -1e9; then the
   nodes after it stay too, up to one that bounds the value, such as a softmax. Or it is a single number
   under 2^-14, such as the epsilon of a division;
5. a last convolution, whose sums are outputs of the graph. In FP16 a detector's landmarks would move by a
   tenth of a pixel, and the crop with them. (Not a last matrix product: logits need no more precision, and
   Turing has no FP32 matrix products.)
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping

import numpy as np
from onnx import NodeProto, TensorProto, numpy_helper

from affectstream.engines.spec import Array

RULES_VERSION = "3"
"""Part of the key of every FP16 file: raise it with any change of the graphs that result."""

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
        # A recurrence feeds its rounding errors back at every step, and FP16 hardly speeds it up. (ONNX
        # Runtime 1.31 crashes when it opens one in FP16 on a CPU.)
        *("LSTM", "GRU", "RNN"),
    }
)
MOVERS = frozenset(
    {
        *("Concat", "Expand", "Flatten", "Gather", "GatherElements", "GatherND", "Identity", "Pad"),
        *("Reshape", "Slice", "Split", "Squeeze", "Tile", "Transpose", "Unsqueeze", "Where"),
    }
)
"""Operators that move values and compute nothing: FP16 only if all of their inputs are."""

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


class Fp32Rules:
    """Applies the rules to one graph."""

    def __init__(
        self,
        nodes: Iterable[NodeProto],
        constants: Mapping[str, Array],
        outputs: Iterable[str],
    ) -> None:
        """`nodes` are in topological order, `constants` the FP32 weights and constants by name, `outputs`
        the names of the graph's outputs."""
        self._nodes = list(nodes)
        self._constants = constants
        self._producer = {name: i for i, node in enumerate(self._nodes) for name in node.output}
        self._consumers: dict[str, list[int]] = {}
        for i, node in enumerate(self._nodes):
            for name in node.input:
                self._consumers.setdefault(name, []).append(i)
        self.fp32_nodes = {i for i, node in enumerate(self._nodes) if node.op_type in SENSITIVE}
        """Indices of the nodes that stay in FP32."""
        for i, node in enumerate(self._nodes):
            if node.op_type == "Log":
                self.fp32_nodes |= self._spectrogram(i)
            elif node.op_type in ("Sqrt", "ReduceL2"):
                self.fp32_nodes |= self._statistics(i) | self._division(i)
        self.fp32_nodes |= self._out_of_range()
        last = self._last_convolutions(outputs)
        layers = {i for i, node in enumerate(self._nodes) if self.is_layer(node)}
        if layers - self.fp32_nodes - last:  # otherwise no layer would be FP16
            self.fp32_nodes |= last

    def is_layer(self, node: NodeProto) -> bool:
        """Whether FP16 begins at `node`: it combines weights with activations."""
        return node.op_type in LAYERS or (
            node.op_type == "Gather" and node.input[0] in self._constants
        )

    def _spectrogram(self, log: int) -> set[int]:
        """The logarithm and its ancestors, or it alone if one of those is nonlinear (a log-softmax)."""
        result, stack = {log}, [log]
        while stack:
            for name in self._nodes[stack.pop()].input:
                producer = self._producer.get(name)
                if producer is None or producer in result:
                    continue
                kind = self._nodes[producer].op_type
                if kind != "Constant" and kind not in _LINEAR:
                    return {log}
                result.add(producer)
                stack.append(producer)
        return result

    def _statistics(self, root: int) -> set[int]:
        """The root, and the sums between it and the layer before."""
        result, stack = {root}, [root]
        while stack:
            for name in self._nodes[stack.pop()].input:
                producer = self._producer.get(name)
                if producer is not None and producer not in result and self._is_statistic(producer):
                    result.add(producer)
                    stack.append(producer)
        return result

    def _is_statistic(self, index: int) -> bool:
        node = self._nodes[index]
        has_weights = any(name in self._constants for name in node.input)
        if node.op_type == "Add":  # adds an epsilon; the sum of two branches is not a statistic
            return has_weights
        if node.op_type == "MatMul":  # a weighted mean; with weights it is a layer
            return not has_weights
        return node.op_type in _STATISTIC

    def _division(self, root: int) -> set[int]:
        """The nodes from a root to the division by it, or to the product with its reciprocal."""
        result: set[int] = set()
        stack = [(name, False) for name in self._nodes[root].output]
        while stack:
            name, inverse = stack.pop()
            for consumer in self._consumers.get(name, []):
                node = self._nodes[consumer]
                if (node.op_type == "Div" and node.input[1] == name and not inverse) or (
                    node.op_type == "Mul" and inverse
                ):
                    result.add(consumer)
                elif node.op_type in _BETWEEN or node.op_type == "Reciprocal":
                    result.add(consumer)
                    inverted = inverse or node.op_type == "Reciprocal"
                    stack += [(output, inverted) for output in node.output]
        return result

    def _last_convolutions(self, outputs: Iterable[str]) -> set[int]:
        """Convolutions whose sums become outputs, through nothing but moves and squashing functions."""
        result: set[int] = set()
        visited: set[int] = set()
        stack = list(outputs)
        while stack:
            producer = self._producer.get(stack.pop())
            if producer is None or producer in visited:
                continue
            visited.add(producer)
            node = self._nodes[producer]
            if node.op_type == "Conv":
                result.add(producer)
            elif node.op_type in MOVERS or node.op_type in _SQUASH:
                stack += node.input
        return result

    def _out_of_range(self) -> set[int]:
        """Nodes with a constant that FP16 cannot hold, and the nodes that a huge one passes through."""
        huge, tiny = set(), set()
        for name, value in self._constants.items():
            size = np.abs(value[np.isfinite(value)])
            if size.size and size.max() > _LARGEST:
                huge.add(name)
            elif value.size == 1 and size.size and 0 < size.max() < _SMALLEST:
                tiny.add(name)
        result = set()
        for i, node in enumerate(self._nodes):
            if node.op_type == "ConstantOfShape":
                fill = _fill_value(node)
                if fill is not None and np.isfinite(fill) and abs(fill) > _LARGEST:
                    huge.update(node.output)
            elif huge.intersection(node.input):
                result.add(i)
                if node.op_type not in _BOUNDED:
                    huge.update(node.output)
            elif tiny.intersection(node.input):
                result.add(i)
        return result


def _fill_value(node: NodeProto) -> float | None:
    """The value of a ConstantOfShape; None when it is not FP32."""
    for attribute in node.attribute:
        if attribute.name == "value":
            if attribute.t.data_type != TensorProto.FLOAT:
                return None
            return float(numpy_helper.to_array(attribute.t).reshape(-1)[0])
    return 0.0
