"""ONNX Runtime with fixed memory for inputs and outputs, as CUDA graphs need it."""

from __future__ import annotations

import time
from collections.abc import Mapping

import numpy as np
import onnxruntime

from affectstream.engines.errors import EngineError
from affectstream.engines.spec import Array, Steps

MAX_SHAPE_SETS = 16
"""Sets of shapes that keep their memory and graph: enough for all batch sizes and two picture sizes."""


class BoundSession:
    """A session with fixed device memory for the inputs and outputs of each set of shapes.

    For use by one thread. `device` is ``cuda`` or ``cpu``; `graphs` says whether the session was opened
    with ``enable_cuda_graph``.
    """

    def __init__(
        self,
        session: onnxruntime.InferenceSession,
        device: str,
        ordinal: int = 0,
        *,
        graphs: bool = False,
    ) -> None:
        self.session = session
        self.graphs = graphs
        self._device, self._ordinal = device, ordinal
        self._inputs = [i.name for i in session.get_inputs()]
        self._outputs = [o.name for o in session.get_outputs()]
        self._bindings: dict[tuple[tuple[int, ...], ...], _Binding] = {}

    def run(self, feeds: Mapping[str, Array]) -> dict[str, Array]:
        """All outputs by name, in new arrays.

        The first run of a set of shapes finds the shapes of the outputs and captures the graph. Beyond
        `MAX_SHAPE_SETS` sets, a run binds its own memory and nothing is captured.
        """
        key = self._key(feeds)
        bound = self._bindings.get(key)
        if bound is None:
            bound = self._run_unbound(feeds)
            if len(self._bindings) == MAX_SHAPE_SETS:
                return self._read(bound)
            self._bindings[key] = bound = self._bind_outputs(bound, len(self._bindings) + 1)
        for name, array in feeds.items():
            bound.inputs[name].update_inplace(array)
        self.session.run_with_iobinding(bound.binding, bound.options)
        return self._read(bound)

    def run_timed(self, feeds: Mapping[str, Array]) -> tuple[dict[str, Array], Steps]:
        """As `run`, with the times of its steps.

        Raises `EngineError` beyond `MAX_SHAPE_SETS` sets of shapes, which have no memory of their own.
        """
        if self._key(feeds) not in self._bindings:
            self.run(feeds)
        bound = self._bindings.get(self._key(feeds))
        if bound is None:
            raise EngineError(
                f"{MAX_SHAPE_SETS} sets of shapes are bound already: open the engine again to time more"
            )
        began = time.perf_counter()
        for name, array in feeds.items():
            bound.inputs[name].update_inplace(array)
        copied = time.perf_counter()
        self.session.run_with_iobinding(bound.binding, bound.unsynchronized)
        launched = time.perf_counter()
        bound.binding.synchronize_outputs()
        computed = time.perf_counter()
        outputs = self._read(bound)
        read = time.perf_counter()
        steps = Steps(copied - began, launched - copied, computed - copied, read - computed)
        return outputs, steps

    def _key(self, feeds: Mapping[str, Array]) -> tuple[tuple[int, ...], ...]:
        return tuple(feeds[name].shape for name in self._inputs)

    def close(self) -> None:
        """Free the buffers and the session with its graphs."""
        self._bindings.clear()
        del self.session

    def _run_unbound(self, feeds: Mapping[str, Array]) -> _Binding:
        """Run once with outputs where ONNX Runtime allocates them."""
        bound = _Binding(self.session.io_binding(), graph=-1)
        for name, array in feeds.items():
            bound.inputs[name] = onnxruntime.OrtValue.ortvalue_from_shape_and_type(
                array.shape, array.dtype, self._device, self._ordinal
            )
            bound.inputs[name].update_inplace(array)
            bound.binding.bind_ortvalue_input(name, bound.inputs[name])
        for name in self._outputs:
            bound.binding.bind_output(name, self._device, self._ordinal)
        self.session.run_with_iobinding(bound.binding, bound.options)
        return bound

    def _bind_outputs(self, first: _Binding, graph: int) -> _Binding:
        """The inputs of `first`, with fixed memory for outputs of the shapes that it found."""
        bound = _Binding(self.session.io_binding(), graph if self.graphs else -1, first.inputs)
        for name, value in bound.inputs.items():
            bound.binding.bind_ortvalue_input(name, value)
        for name, value in zip(self._outputs, first.binding.get_outputs(), strict=True):
            out = onnxruntime.OrtValue.ortvalue_from_shape_and_type(
                value.shape(), value.element_type(), self._device, self._ordinal
            )
            bound.binding.bind_ortvalue_output(name, out)
        return bound

    def _read(self, bound: _Binding) -> dict[str, Array]:
        # On the CPU the arrays are the bound memory itself, which the next run overwrites.
        arrays = bound.binding.copy_outputs_to_cpu()
        copy = self._device == "cpu"
        return {
            name: np.array(array, copy=copy or None)
            for name, array in zip(self._outputs, arrays, strict=True)
        }


class _Binding:
    """Memory of the inputs and bound tensors of one set of shapes."""

    def __init__(
        self,
        binding: onnxruntime.IOBinding,
        graph: int,
        inputs: dict[str, onnxruntime.OrtValue] | None = None,
    ) -> None:
        self.binding, self.graph = binding, graph
        self.inputs = {} if inputs is None else inputs
        self.options, self.unsynchronized = onnxruntime.RunOptions(), onnxruntime.RunOptions()
        self.unsynchronized.add_run_config_entry("disable_synchronize_execution_providers", "1")
        for options in (self.options, self.unsynchronized):
            # -1 runs without capture; 0 is ONNX Runtime's default and not for callers.
            options.add_run_config_entry("gpu_graph_id", str(graph))
