"""Counts the arithmetic of a graph, and the bytes that it has to move at least.

Arithmetic is that of convolutions, matrix products and recurrent layers, two operations for a multiplication
with its addition; the rest is small beside it. Bytes are inputs and outputs once, and weights once a batch.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime

from affectstream.engines.spec import Array

_COUNTED = ("Conv", "ConvTranspose", "Gemm", "MatMul", "LSTM", "GRU")
_GATES = {"LSTM": 4, "GRU": 3}


@dataclass(frozen=True, slots=True)
class Work:
    """Of one batch of `rows` rows."""

    rows: int
    flops: float
    weights: int
    """Numbers, not bytes."""
    numbers: int
    """Inputs and outputs of the graph."""

    def for_rows(self, rows: int) -> Work:
        """The same graph with another batch."""
        scale = rows / self.rows
        return Work(rows, self.flops * scale, self.weights, round(self.numbers * scale))

    def bytes(self, precision: str) -> int:
        """At least so many, with weights, inputs and outputs of `precision`, ``fp16`` or ``fp32``."""
        return (self.weights + self.numbers) * (2 if precision == "fp16" else 4)


def count(path: Path, feeds: Mapping[str, Array]) -> Work:
    """The work of the graph at `path` on `feeds`, whose first axes are the rows.

    ONNX Runtime runs it once on the CPU, with the operands of the counted nodes as outputs: their shapes
    depend on more than the graph. Raises `ImportError` without the package onnx.
    """
    import onnx

    model = onnx.load(str(path))
    graph = model.graph
    weights = {tensor.name: tuple(tensor.dims) for tensor in graph.initializer}
    nodes = [node for node in graph.node if node.op_type in _COUNTED]
    shown = {name for node in nodes for name in (*node.input, *node.output) if name}
    produced = {name for node in graph.node for name in node.output}
    present = {output.name for output in graph.output}
    # FP16 weights of a file are cast before use, so a weight may be the output of a node too.
    graph.output.extend(onnx.ValueInfoProto(name=n) for n in sorted(shown & produced - present))
    options = onnxruntime.SessionOptions()
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_DISABLE_ALL
    options.log_severity_level = 3
    session = onnxruntime.InferenceSession(
        model.SerializeToString(), options, providers=["CPUExecutionProvider"]
    )
    outputs = [output.name for output in session.get_outputs()]
    arrays = dict(zip(outputs, session.run(outputs, dict(feeds)), strict=True))
    shapes = weights | {n: np.shape(a) for n, a in (*feeds.items(), *arrays.items())}
    moved = sum(np.size(a) for n, a in arrays.items() if n in present)
    return Work(
        rows=len(next(iter(feeds.values()))),
        flops=float(sum(_flops(node, shapes) for node in nodes)),
        weights=sum(prod(dims) for dims in weights.values()),
        numbers=moved + sum(np.size(a) for a in feeds.values()),
    )


def _flops(node: Any, shapes: Mapping[str, tuple[int, ...]]) -> int:
    first, second = (shapes[name] for name in list(node.input)[:2])
    out = shapes.get(node.output[0], ())
    if node.op_type == "Conv":
        return 2 * prod(out) * prod(second[1:])
    if node.op_type == "ConvTranspose":
        return 2 * prod(first) * prod(second[1:])
    if node.op_type in _GATES:
        steps, batch, width = first
        directions, rows, _ = second
        hidden = rows // _GATES[node.op_type]
        return 2 * steps * batch * directions * rows * (width + hidden)
    inner = first[-1]
    if node.op_type == "Gemm" and any(a.name == "transA" and a.i for a in node.attribute):
        inner = first[0]
    return 2 * prod(out) * inner
