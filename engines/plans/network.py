"""From an ONNX file to NVIDIA's network definition, and what types its layers have."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

import numpy as np
from msgspec import Struct

from affectstream.engines.errors import BuildError
from affectstream.engines.plans.failures import Rejection, rejected
from affectstream.engines.plans.profiles import BATCH
from affectstream.engines.runtimes.nvidia import Bindings, errors_of
from affectstream.engines.spec import TensorSpec

Precision = Literal["fp16", "fp32"]

_MULTIPLYING = ("CONVOLUTION", "DECONVOLUTION", "MATRIX_MULTIPLY", "EINSUM")
"""Layers in which nearly all of the work is; their types decide what a graph is called."""


class Types(Struct, frozen=True):
    """Outputs of layers by type. A strongly typed builder takes these as they are."""

    half: int
    float: int
    half_multiplying: int
    """Of them, of convolutions and matrix products."""
    float_multiplying: int

    @property
    def precision(self) -> Precision:
        """``fp16`` where any convolution or matrix product is, or, where there is none, anything.

        How many are is for `half` to decide: it keeps recurrences and spectrograms in FP32, which may
        be most of a small network.
        """
        if self.half_multiplying or self.float_multiplying:
            return "fp16" if self.half_multiplying else "fp32"
        return "fp16" if self.half else "fp32"


@dataclass(frozen=True, slots=True)
class Network:
    """A parsed graph. The parser owns the weights, so it is kept with the network."""

    name: str
    definition: Any
    parser: Any
    inputs: dict[str, TensorSpec]
    outputs: dict[str, TensorSpec]
    types: Types


def parse(bindings: Bindings, builder: Any, path: Path, name: str) -> Network:
    """Parse the ONNX file `path`, which errors call `name`.

    Raises `BuildError`, naming the node, where it is rejected.
    """
    if not path.is_file():
        raise BuildError(f"{path} was not found: expected an ONNX file")
    trt, mark = bindings.trt, bindings.messages.mark()
    definition = builder.create_network(0)
    parser = trt.OnnxParser(definition, bindings.logger)
    if not parser.parse_from_file(str(path)):
        errors = [parser.get_error(i) for i in range(parser.num_errors)]
        rejections = [
            Rejection(e.node(), e.node_name(), e.node_operator(), e.desc()) for e in errors
        ]
        said = errors_of(bindings.messages.since(mark))
        raise rejected(name, f"{bindings.runtime} {bindings.version}", rejections, said)
    if not definition.num_outputs:  # what text or an empty file gives
        raise BuildError(f"{name}: this is not an ONNX graph, it has no output: export it again")
    inputs = (definition.get_input(i) for i in range(definition.num_inputs))
    outputs = (definition.get_output(i) for i in range(definition.num_outputs))
    return Network(
        name,
        definition,
        parser,
        {tensor.name: _spec(trt, tensor) for tensor in inputs},
        {tensor.name: _spec(trt, tensor) for tensor in outputs},
        _types(trt, definition),
    )


def demand(network: Network, precision: Precision) -> None:
    """Raise `BuildError` unless the network is of `precision`."""
    if network.types.precision == precision:
        return
    types = network.types
    advice = {
        "fp16": "derive its FP16 form, or ask for --precision fp32",
        "fp32": "give the FP32 graph, or ask for --precision fp16",
    }
    raise BuildError(
        f"{network.name}: {precision} was asked for, but the graph is {types.precision} ("
        f"{types.half_multiplying} of its convolutions and matrix products are FP16, "
        f"{types.float_multiplying} FP32), and its types are what is built: {advice[precision]}"
    )


def _types(trt: Any, definition: Any) -> Types:
    everything: Counter[str] = Counter()
    multiplying: Counter[str] = Counter()
    for i in range(definition.num_layers):
        layer = definition.get_layer(i)
        found = [layer.get_output(j).dtype.name for j in range(layer.num_outputs)]
        everything.update(found)
        if layer.type.name in _MULTIPLYING:
            multiplying.update(found)
    return Types(everything["HALF"], everything["FLOAT"], multiplying["HALF"], multiplying["FLOAT"])


def _spec(trt: Any, tensor: Any) -> TensorSpec:
    shape = tuple(
        size if size >= 0 else tensor.get_dimension_name(i) or (str(i) if i else BATCH)
        for i, size in enumerate(tensor.shape)
    )
    try:
        dtype = np.dtype(trt.nptype(tensor.dtype))
    except TypeError as error:
        raise BuildError(
            f"tensor {tensor.name!r} is {tensor.dtype.name}, which arrays cannot be: put a Cast to FLOAT "
            "at the edge of the graph"
        ) from error
    return TensorSpec(tensor.name, shape, dtype)
