"""Heads of bundles as graphs: several joined into one, and one cut down to a single modality."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import onnx
from onnx import TensorProto, compose, helper, numpy_helper, version_converter

from affectstream.train.onnx.onnx_export import OPSET


def joined(heads: Mapping[str, Path], fusion: Path, output: Path) -> None:
    """Write one head that does what `heads` and `fusion` do one after the other.

    `heads` has the head of each member by a name, in the order of the members; their inputs keep their names,
    which must differ. `fusion` takes ``members (N, M, C)`` and ``mask (N, M)``.
    """
    nodes: list[onnx.NodeProto] = []
    inputs: list[onnx.ValueInfoProto] = []
    initializers = [
        _constant("one", np.array([1], np.int64)),
        _constant("nothing", np.array(0, np.float32)),
    ]
    for name, path in heads.items():
        graph = compose.add_prefix(_load(path), f"{name}/", rename_inputs=False).graph
        nodes += graph.node
        initializers += graph.initializer
        inputs += graph.input
        masks = [value.name for value in graph.input if value.name.endswith("_mask")]
        nodes += _any_of([mask for mask in masks if mask != "metadata_mask"], f"{name}/present")
        nodes += [
            helper.make_node("Cast", [f"{name}/present"], [f"{name}/weight"], to=TensorProto.FLOAT),
            helper.make_node(
                "Mul", [f"{name}/logits", f"{name}/weight"], [f"{name}/evidence"]
            ),  # nothing of a member without input
            helper.make_node("Unsqueeze", [f"{name}/evidence", "one"], [f"{name}/row"]),
        ]
    parts = {"members": "row", "mask": "present"}
    nodes += [
        helper.make_node("Concat", [f"{name}/{part}" for name in heads], [whole], axis=1)
        for whole, part in parts.items()
    ]
    last = compose.add_prefix(
        _load(fusion), "fusion/", rename_inputs=False, rename_outputs=False
    ).graph
    nodes += last.node
    initializers += last.initializer
    _save(nodes, inputs, last.output, initializers, output)


def _any_of(masks: Sequence[str], output: str) -> list[onnx.NodeProto]:
    """Nodes from masks (N, T) bool to (N, 1) bool: whether any step of any mask is true."""
    numbers = [f"{output}/{mask}" for mask in masks]
    return [
        *(
            helper.make_node("Cast", [mask], [number], to=TensorProto.FLOAT)
            for mask, number in zip(masks, numbers, strict=True)
        ),
        helper.make_node("Concat", numbers, [f"{output}/steps"], axis=1),
        helper.make_node("ReduceSum", [f"{output}/steps", "one"], [f"{output}/count"], keepdims=1),
        helper.make_node("Greater", [f"{output}/count", "nothing"], [output]),
    ]


def cut_down(head: Path, modality: str, output: Path) -> None:
    """Write the head that gives what `head` gives if only `modality` is present."""
    model = _load(head)
    kept = [value for value in model.graph.input if value.name in (modality, f"{modality}_mask")]
    initializers = [
        *model.graph.initializer,
        _constant("first", np.array([0], np.int64)),
        _constant("second", np.array([1], np.int64)),
    ]
    nodes = [
        helper.make_node("Shape", [modality], ["absent/shape"]),
        helper.make_node("Slice", ["absent/shape", "first", "second"], ["absent/rows"]),
    ]
    for value in model.graph.input:
        if value in kept:
            continue
        name, kind = value.name, value.type.tensor_type
        sizes = [dimension.dim_value for dimension in kind.shape.dim][1:]
        initializers.append(_constant(f"{name}/sizes", np.array(sizes, np.int64)))
        zeros = name if kind.elem_type == TensorProto.FLOAT else f"{name}/zeros"
        nodes += [
            helper.make_node("Concat", ["absent/rows", f"{name}/sizes"], [f"{name}/all"], axis=0),
            helper.make_node("ConstantOfShape", [f"{name}/all"], [zeros]),
        ]
        if zeros != name:
            nodes.append(helper.make_node("Cast", [zeros], [name], to=kind.elem_type))
    _save([*nodes, *model.graph.node], kept, model.graph.output, initializers, output)


def _load(path: Path) -> onnx.ModelProto:
    model = onnx.load(str(path))
    versions = {each.domain: each.version for each in model.opset_import}
    return model if versions.get("") == OPSET else version_converter.convert_version(model, OPSET)


def _constant(name: str, value: np.ndarray) -> onnx.TensorProto:  # type: ignore[type-arg]
    return numpy_helper.from_array(value, name)


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
