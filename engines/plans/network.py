"""Parses an ONNX file into NVIDIA's network definition, and counts the types of its layers."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from msgspec import Struct

from affectstream.engines.errors import BuildError
from affectstream.engines.fp16.precision import Precision
from affectstream.engines.plans.failures import Rejection, parser_error
from affectstream.engines.plans.profiles import BATCH
from affectstream.engines.runtimes.nvidia import Bindings, errors_of
from affectstream.engines.spec import TensorSpec

_PRODUCTS = ("CONVOLUTION", "DECONVOLUTION", "MATRIX_MULTIPLY", "EINSUM")
"""Layers that do nearly all of the work; their types determine the precision of a graph."""


class LayerTypes(
    Struct,
    frozen=True,
    rename={
        "fp16": "half",
        "fp32": "float",
        "fp16_products": "half_multiplying",
        "fp32_products": "float_multiplying",
    },
):
    """Number of layer outputs by type. A strongly typed builder does not change them."""

    fp16: int
    fp32: int
    fp16_products: int
    """FP16 outputs of convolutions and matrix products."""
    fp32_products: int

    @property
    def precision(self) -> Precision:
        """``fp16`` if any convolution or matrix product is FP16; without such layers, if any output is.

        One is enough: `fp16.rules` keeps recurrences and spectrograms in FP32, which may be most of a
        small network.
        """
        if self.fp16_products or self.fp32_products:
            return "fp16" if self.fp16_products else "fp32"
        return "fp16" if self.fp16 else "fp32"


@dataclass(frozen=True, slots=True)
class Network:
    """A parsed graph. It holds the parser too, which owns the weights."""

    name: str
    definition: Any
    parser: Any
    inputs: dict[str, TensorSpec]
    outputs: dict[str, TensorSpec]
    types: LayerTypes


def parse(bindings: Bindings, builder: Any, path: Path, name: str) -> Network:
    """Parse the ONNX file `path`, which errors call `name`.

    Raises `BuildError`, naming the node, when the parser rejects it.
    """
    if not path.is_file():
        raise BuildError(f"{path} was not found: expected an ONNX file")
    trt, mark = bindings.trt, bindings.log.mark()
    definition = builder.create_network(0)
    parser = trt.OnnxParser(definition, bindings.logger)
    if not parser.parse_from_file(str(path)):
        errors = [parser.get_error(i) for i in range(parser.num_errors)]
        rejections = [
            Rejection(e.node(), e.node_name(), e.node_operator(), e.desc()) for e in errors
        ]
        log = errors_of(bindings.log.since(mark))
        raise parser_error(name, f"{bindings.runtime} {bindings.version}", rejections, log)
    if not definition.num_outputs:  # the file is text, or empty
        raise BuildError(f"{name}: this is not an ONNX graph, it has no output: export it again")
    inputs = (definition.get_input(i) for i in range(definition.num_inputs))
    outputs = (definition.get_output(i) for i in range(definition.num_outputs))
    return Network(
        name,
        definition,
        parser,
        {tensor.name: _spec(trt, tensor) for tensor in inputs},
        {tensor.name: _spec(trt, tensor) for tensor in outputs},
        _types(definition),
    )


def check_precision(network: Network, precision: Precision) -> None:
    """Raise `BuildError` unless the network has this precision."""
    if network.types.precision == precision:
        return
    types = network.types
    advice = {
        "fp16": "derive its FP16 form, or ask for --precision fp32",
        "fp32": "give the FP32 graph, or ask for --precision fp16",
    }
    raise BuildError(
        f"{network.name}: {precision} was requested, but the graph is {types.precision} ("
        f"{types.fp16_products} of its convolutions and matrix products are FP16, "
        f"{types.fp32_products} FP32) and building does not change types: {advice[precision]}"
    )


def _types(definition: Any) -> LayerTypes:
    outputs: Counter[str] = Counter()
    products: Counter[str] = Counter()
    for i in range(definition.num_layers):
        layer = definition.get_layer(i)
        types = [layer.get_output(j).dtype.name for j in range(layer.num_outputs)]
        outputs.update(types)
        if layer.type.name in _PRODUCTS:
            products.update(types)
    return LayerTypes(outputs["HALF"], outputs["FLOAT"], products["HALF"], products["FLOAT"])


def _spec(trt: Any, tensor: Any) -> TensorSpec:
    shape = tuple(
        size if size >= 0 else tensor.get_dimension_name(i) or (str(i) if i else BATCH)
        for i, size in enumerate(tensor.shape)
    )
    try:
        dtype = np.dtype(trt.nptype(tensor.dtype))
    except TypeError as error:
        raise BuildError(
            f"tensor {tensor.name!r} is {tensor.dtype.name}, which numpy does not have: put a Cast to FLOAT "
            "at the edge of the graph"
        ) from error
    return TensorSpec(tensor.name, shape, dtype)
