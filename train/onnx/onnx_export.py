"""From a torch module to an ONNX file, checked to give the same outputs."""

from __future__ import annotations

import inspect
import logging
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import torch
from torch import Tensor, nn
from torch.export import Dim

from affectstream.train.errors import ParityError

OPSET = 18
PARITY = 1e-3
"""Largest allowed difference, relative to an output's largest value if that is above 1."""

# It warns of constants that it could not fold, which is no loss.
logging.getLogger("onnxscript").setLevel(logging.ERROR)


@contextmanager
def _plain_attention() -> Iterator[None]:
    """Turn off torch's fused attention, for which ONNX has no operator."""
    before = torch.backends.mha.get_fastpath_enabled()
    torch.backends.mha.set_fastpath_enabled(False)
    try:
        yield
    finally:
        torch.backends.mha.set_fastpath_enabled(before)


def to_onnx(
    module: nn.Module,
    example: tuple[Tensor, ...],
    path: Path,
    *,
    inputs: Sequence[str],
    outputs: Sequence[str],
    dynamic: Mapping[str, Mapping[int, str]] | None = None,
) -> None:
    """Export `module` with a free first axis ``N``, then compare both on `example`. `dynamic` names further
    free axes of an input or output. Raises `ParityError`, and leaves no file, if ONNX Runtime on the CPU
    differs from torch by more than `PARITY` anywhere."""
    axes = {name: {0: "N", **(dynamic or {}).get(name, {})} for name in [*inputs, *outputs]}
    sizes = {size: Dim(size) for name in inputs for size in axes[name].values()}
    shapes = [{axis: sizes[size] for axis, size in axes[name].items()} for name in inputs]
    module.eval()
    with torch.no_grad(), _plain_attention(), warnings.catch_warnings():
        warnings.simplefilter("ignore")  # about torch's own code; the outputs are compared below
        program = torch.onnx.export(
            module,
            example,
            input_names=list(inputs),
            output_names=list(outputs),
            dynamic_shapes=_as_arguments(module, shapes),
            opset_version=OPSET,
            dynamo=True,
            verbose=False,
        )
        expected = module(*example)
    assert program is not None  # it is for the other exporter
    _tidy(program, axes)
    onnx.save(program.model_proto, path)
    expected = expected if isinstance(expected, tuple) else (expected,)
    onnx.checker.check_model(str(path), full_check=True)
    session = onnxruntime.InferenceSession(str(path), providers=["CPUExecutionProvider"])
    found = session.run(list(outputs), {n: t.numpy() for n, t in zip(inputs, example, strict=True)})
    for name, want, got in zip(outputs, expected, found, strict=True):
        error = float(np.abs(want.numpy() - np.asarray(got)).max())
        limit = PARITY * max(1.0, float(want.abs().max()))
        if not error <= limit:
            path.unlink()
            raise ParityError(
                f"{path.name}: output {name!r} of the exported graph differs from the network's by up to "
                f"{error:.2g}, limit {limit:.2g}: no bundle was written; export it with other versions "
                f"(here torch {torch.__version__}, onnxruntime {onnxruntime.__version__}), or train it anew"
            )


def _as_arguments(module: nn.Module, shapes: Sequence[dict[int, Dim]]) -> tuple[Any, ...]:
    """The free axes of each argument of `module`, nested as its `forward` takes them."""
    kinds = [p.kind for p in inspect.signature(module.forward).parameters.values()]
    return (tuple(shapes),) if inspect.Parameter.VAR_POSITIONAL in kinds else tuple(shapes)


def _tidy(program: torch.onnx.ONNXProgram, axes: Mapping[str, Mapping[int, str]]) -> None:
    """Name the free axes of outputs, keep the names of inputs and outputs for these alone, and remove the
    exporter's notes: lines of code, with the paths of this machine."""
    model, graph = program.model, program.model.graph
    nodes = list(graph.all_nodes())
    ends: set[Any] = {*graph.inputs, *graph.outputs}
    inside: list[Any] = [*graph.initializers.values(), *(v for node in nodes for v in node.outputs)]
    for value in inside:
        if value in graph.outputs:
            for axis, size in axes[value.name].items():
                value.shape[axis] = size
        elif value.name in axes and value not in ends:  # torch names values after operators
            value.name = f"{value.name}_inside"
    noted: list[Any] = [model, graph, *ends, *inside, *nodes]
    for each in noted:
        each.metadata_props.clear()
        each.doc_string = None
