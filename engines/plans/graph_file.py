"""What an ONNX file says about itself, its weights unread."""

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
    """The inputs of a graph, and the other files that its weights lie in."""

    inputs: dict[str, tuple[int | str, ...]]
    """Shapes by name: free axes are their names, empty where the graph gives them none."""
    weights: tuple[Path, ...]
    """Files beside it, sorted; most graphs have none."""


def read_graph_file(path: Path) -> GraphFile:
    """Read the graph in `path` without its weights.

    Raises `EngineError` where it is absent, no ONNX graph, or names weights that are not there,
    `DeviceError` where the package ``onnx`` is missing.
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
    except Exception as error:  # protobuf's own kinds differ between its versions
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
    return GraphFile(inputs, _external(path, graph))


def _external(path: Path, graph: GraphProto) -> tuple[Path, ...]:
    names = {
        entry.value
        for tensor in _tensors(graph)
        for entry in tensor.external_data
        if entry.key == "location"
    }
    files = sorted(path.parent / name for name in names)
    for file in files:
        if not file.is_file():
            raise EngineError(
                f"{path}: its weights are in {file.name}, which was not found: put it beside the graph"
            )
    return tuple(files)


def _tensors(graph: GraphProto) -> Iterator[TensorProto]:
    """Every constant: weights, and those that nodes and their branches hold."""
    yield from graph.initializer
    for attribute in (attribute for node in graph.node for attribute in node.attribute):
        yield attribute.t
        yield from attribute.tensors
        for branch in (attribute.g, *attribute.graphs):
            yield from _tensors(branch)
