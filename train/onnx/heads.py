"""Heads of bundles as graphs: several joined into one, and one cut down to a single modality."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, compose, helper, version_converter
from onnx.helper import make_node
from onnx.numpy_helper import from_array

from affectstream.train.onnx.onnx_export import OPSET


def joined(heads: Mapping[str, Path], fusion: Path, output: Path) -> None:
    """Write one head that does what `heads` and `fusion` do one after the other.

    `heads` has the head of each member by a name, in the order of the members; their inputs keep their names,
    which must differ. `fusion` takes ``members (N, M, C)`` and ``mask (N, M)``.
    """
    nodes: list[onnx.NodeProto] = []
    inputs: list[onnx.ValueInfoProto] = []
    initializers = [
        from_array(np.array([1], np.int64), "one"),
        from_array(np.array(0, np.float32), "nothing"),
    ]
    for name, path in heads.items():
        graph = compose.add_prefix(_load(path), f"{name}/", rename_inputs=False).graph
        nodes += graph.node
        initializers += graph.initializer
        inputs += graph.input
        masks = [value.name for value in graph.input if value.name.endswith("_mask")]
        nodes += _any_of([mask for mask in masks if mask != "metadata_mask"], f"{name}/present")
        nodes += [  # nothing of a member without input
            make_node("Cast", [f"{name}/present"], [f"{name}/weight"], to=TensorProto.FLOAT),
            make_node("Mul", [f"{name}/logits", f"{name}/weight"], [f"{name}/evidence"]),
            make_node("Unsqueeze", [f"{name}/evidence", "one"], [f"{name}/row"]),
        ]
    nodes += [
        make_node("Concat", [f"{name}/row" for name in heads], ["members"], axis=1),
        make_node("Concat", [f"{name}/present" for name in heads], ["mask"], axis=1),
    ]
    kept = {"rename_inputs": False, "rename_outputs": False}
    last = compose.add_prefix(_load(fusion), "fusion/", **kept).graph
    nodes += last.node
    initializers += last.initializer
    _save(nodes, inputs, last.output, initializers, output)


def _any_of(masks: Sequence[str], output: str) -> list[onnx.NodeProto]:
    """Nodes from masks (N, T) bool to (N, 1) bool: whether any step of any mask is true."""
    numbers = {mask: f"{output}/{mask}" for mask in masks}
    steps, count = f"{output}/steps", f"{output}/count"
    return [
        *(make_node("Cast", [m], [number], to=TensorProto.FLOAT) for m, number in numbers.items()),
        make_node("Concat", list(numbers.values()), [steps], axis=1),
        make_node("ReduceSum", [steps, "one"], [count], keepdims=1),
        make_node("Greater", [count, "nothing"], [output]),
    ]


def cut_down(head: Path, modality: str, output: Path) -> None:
    """Write the head that gives what `head` gives if only `modality` is present."""
    model = _load(head)
    kept = [value for value in model.graph.input if value.name in (modality, f"{modality}_mask")]
    initializers = [
        *model.graph.initializer,
        from_array(np.array([0], np.int64), "first"),
        from_array(np.array([1], np.int64), "second"),
    ]
    nodes = [
        make_node("Shape", [modality], ["absent/shape"]),
        make_node("Slice", ["absent/shape", "first", "second"], ["absent/rows"]),
    ]
    for value in model.graph.input:
        if value in kept:
            continue
        name, kind = value.name, value.type.tensor_type
        sizes = [dimension.dim_value for dimension in kind.shape.dim][1:]
        initializers.append(from_array(np.array(sizes, np.int64), f"{name}/sizes"))
        zeros = name if kind.elem_type == TensorProto.FLOAT else f"{name}/zeros"
        nodes += [
            make_node("Concat", ["absent/rows", f"{name}/sizes"], [f"{name}/all"], axis=0),
            make_node("ConstantOfShape", [f"{name}/all"], [zeros]),
        ]
        if zeros != name:
            nodes.append(make_node("Cast", [zeros], [name], to=kind.elem_type))
    _save([*nodes, *model.graph.node], kept, model.graph.output, initializers, output)


def _load(path: Path) -> onnx.ModelProto:
    model = onnx.load(str(path))
    versions = {each.domain: each.version for each in model.opset_import}
    return model if versions.get("") == OPSET else version_converter.convert_version(model, OPSET)


def _save(
    nodes: Sequence[onnx.NodeProto],
    inputs: Sequence[onnx.ValueInfoProto],
    outputs: Sequence[onnx.ValueInfoProto],
    initializers: Sequence[onnx.TensorProto],
    path: Path,
) -> None:
    graph = helper.make_graph(nodes, "head", inputs, outputs, initializers)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSET)])
    model.ir_version = 8
    onnx.checker.check_model(model, full_check=True)
    onnx.save(model, str(path))
