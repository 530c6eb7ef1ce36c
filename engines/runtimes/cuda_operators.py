"""Replaces what ONNX Runtime 1.31 has no CUDA kernel for by operators that it has one for.

Found on an NVIDIA H200: arctangents, and `Pad` of integers. Without this, graphs with them would not open,
since no part of a graph may be computed on the CPU (`onnx_cuda`).
"""

from __future__ import annotations

from math import pi
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import onnx

_FAR = 2.0**0.5 - 1.0
"""tan(pi / 8): above it the argument is turned by 45 degrees."""
_SERIES = (8.05374449538e-2, -1.38776856032e-1, 1.99777106478e-1, -3.33329491539e-1)
"""Of arctan(z) / z - 1 in z squared, up to `_FAR`, from Cephes' `atanf`; the error is 2e-8 of the angle."""


def graph_for_cuda(path: Path) -> bytes | None:
    """The graph at `path` with replacements; None if it needs none, or the package onnx is missing."""
    try:
        import onnx
    except ModuleNotFoundError:
        return None
    model = onnx.load(str(path))
    return model.SerializeToString() if replace_operators(model) else None


def replace_operators(model: onnx.ModelProto) -> int:
    """Replace in place; the number of nodes that were replaced. Subgraphs stay as they are."""
    from onnx import TensorProto

    kinds = _kinds(model)
    nodes: list[onnx.NodeProto] = []
    replaced = 0
    for node in model.graph.node:
        kind = kinds.get(node.input[0]) if node.input else None
        if node.op_type == "Atan" and kind in (None, TensorProto.FLOAT, TensorProto.FLOAT16):
            nodes += _arctangent(node, kind or TensorProto.FLOAT)
        elif node.op_type == "Pad" and kind in (TensorProto.INT32, TensorProto.INT64):
            nodes += _padding(node, kind)
        else:
            nodes.append(node)
            continue
        replaced += 1
    if replaced:
        del model.graph.node[:]
        model.graph.node.extend(nodes)
    return replaced


def _kinds(model: onnx.ModelProto) -> dict[str, int]:
    """The type of each tensor that is known."""
    import onnx

    graph = onnx.shape_inference.infer_shapes(model).graph
    values = (*graph.value_info, *graph.input, *graph.output)
    kinds = {value.name: value.type.tensor_type.elem_type for value in values}
    return kinds | {tensor.name: tensor.data_type for tensor in graph.initializer}


def _padding(node: onnx.NodeProto, kind: int) -> list[onnx.NodeProto]:
    """Integers as doubles, which hold those of up to 2^53 exactly."""
    from onnx import TensorProto, helper

    name, (data, pads, *rest) = node.output[0], node.input
    nodes = [helper.make_node("Cast", [data], [f"{name}/double"], to=TensorProto.DOUBLE)]
    if rest and rest[0]:
        value = f"{name}/value"
        nodes.append(helper.make_node("Cast", [rest[0]], [value], to=TensorProto.DOUBLE))
        rest[0] = value
    padded = helper.make_node("Pad", [f"{name}/double", pads, *rest], [f"{name}/padded"], node.name)
    padded.attribute.extend(node.attribute)
    return [*nodes, padded, helper.make_node("Cast", [padded.output[0]], [name], to=kind)]


def _arctangent(node: onnx.NodeProto, kind: int) -> list[onnx.NodeProto]:
    """The angle of |x|, reduced to at most 22.5 degrees, as a series in FP32."""
    from onnx import TensorProto, helper

    name = node.output[0]
    nodes: list[onnx.NodeProto] = []

    def add(operator: str, *inputs: str, **attributes: Any) -> str:
        out = f"{name}/{len(nodes)}"
        nodes.append(helper.make_node(operator, list(inputs), [out], **attributes))
        return out

    def number(value: float) -> str:
        tensor = helper.make_tensor(f"{name}/c{len(nodes)}", TensorProto.FLOAT, (), [value])
        return add("Constant", value=tensor)

    half = kind == TensorProto.FLOAT16
    x = add("Cast", node.input[0], to=TensorProto.FLOAT) if half else node.input[0]
    one, zero = number(1.0), number(0.0)
    size = add("Abs", x)
    steep = add("Greater", size, one)
    slope = add("Where", steep, add("Div", one, size), size)  # 0 to 1
    far = add("Greater", slope, number(_FAR))
    turned = add("Div", add("Sub", slope, one), add("Add", slope, one))
    z = add("Where", far, turned, slope)
    square = add("Mul", z, z)
    series = number(_SERIES[0])
    for coefficient in _SERIES[1:]:
        series = add("Add", add("Mul", series, square), number(coefficient))
    angle = add("Add", add("Mul", add("Mul", series, square), z), z)
    angle = add("Where", far, add("Add", angle, number(pi / 4)), angle)
    angle = add("Where", steep, add("Sub", number(pi / 2), angle), angle)
    signed = add("Where", add("Less", x, zero), add("Neg", angle), angle)
    nodes.append(
        helper.make_node("Cast", [signed], [name], to=TensorProto.FLOAT16)
        if half
        else helper.make_node("Identity", [signed], [name])
    )
    return nodes
