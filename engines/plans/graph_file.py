"""Reads the inputs of an ONNX file and the names of its weight files, but not the weights."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from affectstream.engines.errors import DeviceError, EngineError
from affectstream.engines.extras import module_hint

if TYPE_CHECKING:
    from onnx import GraphProto, TensorProto


@dataclass(frozen=True, slots=True)
class GraphFile:
    """The inputs of a graph, and the files that hold its weights."""

    inputs: dict[str, tuple[int | str, ...]]
    """Shapes by name. A free axis is its name, or empty if the graph does not name it."""
    weights: tuple[Path, ...]
    """Files beside the graph, sorted; empty when the weights are in the graph itself."""


def read_graph_file(path: Path) -> GraphFile:
    """Read the graph in `path` without its weights.

    Raises `EngineError` when it is missing, is not an ONNX graph, or has a weight file that is missing, and
    `DeviceError` when the package ``onnx`` is missing.
    """
    try:
        import onnx
    except ModuleNotFoundError as error:
        raise DeviceError(
            f"{path.name}: building needs the package onnx: {module_hint('onnx')}"
        ) from error
    if not path.is_file():
        raise EngineError(f"{path} was not found: expected an ONNX file")
    try:
        model = onnx.load(str(path), load_external_data=False)
    except Exception as error:  # protobuf's error classes differ between its versions
        raise EngineError(f"{path} is not an ONNX graph, or is cut short: {error}") from error
    graph = model.graph
    if not graph.output:
        raise EngineError(f"{path} is not an ONNX graph: it has no output; export it again")
    names = {weight.name for weight in graph.initializer}
    inputs = {
        value.name: tuple(
            dim.dim_value if dim.HasField("dim_value") else str(dim.dim_param)
            for dim in value.type.tensor_type.shape.dim
        )
        for value in graph.input
        if value.name not in names
    }
    locations = {
        entry.value
        for tensor in _tensors(graph)
        for entry in tensor.external_data
        if entry.key == "location"
    }
    texts: list[object] = [*inputs, *locations]
    if not all(isinstance(text, str) for text in texts):  # protobuf returns other text as bytes
        raise EngineError(f"{path}: a name in the graph is not UTF-8: export it again")
    return GraphFile(inputs, _weight_files(path, locations))


def _weight_files(path: Path, names: set[str]) -> tuple[Path, ...]:
    files = sorted(path.parent / name for name in names)
    for file in files:
        parts = file.relative_to(path.parent).parts if file.is_relative_to(path.parent) else ()
        if not parts or ".." in parts:
            raise EngineError(
                f"{path}: its weights are in {file}, outside its folder: put them beside the graph"
            )
        if not file.is_file():
            raise EngineError(
                f"{path}: its weights are in {file.name}, which was not found: put it beside the graph"
            )
    return tuple(files)


def _tensors(graph: GraphProto) -> Iterator[TensorProto]:
    """Every constant: weights, and the constants in nodes and their subgraphs."""
    yield from graph.initializer
    for attribute in (attribute for node in graph.node for attribute in node.attribute):
        yield attribute.t
        yield from attribute.tensors
        for branch in (attribute.g, *attribute.graphs):
            yield from _tensors(branch)
