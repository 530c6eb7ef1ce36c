"""Slots: everything that one set of shapes needs on the GPU, allocated once and used for every batch.

A slot has an execution context, pinned and device buffers, and a CUDA graph, which fixes shapes and
addresses.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np

from affectstream.engines.errors import EngineError
from affectstream.engines.runtimes.cuda.memory import (
    DeviceApi,
    Graph,
    NotCaptured,
    Stream,
)
from affectstream.engines.runtimes.cuda.padding import PaddedShapes, batched
from affectstream.engines.runtimes.nvidia import Bindings, errors_of
from affectstream.engines.spec import Array, TensorSpec


@dataclass(frozen=True, slots=True, eq=False)
class OpenPlan:
    """A deserialized plan. Only the GPU thread may use `engine`."""

    name: str
    bindings: Bindings
    engine: Any
    inputs: Mapping[str, TensorSpec]
    outputs: Mapping[str, TensorSpec]


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """One call. The GPU thread reads `feeds` later, so they must not change until then."""

    feeds: Mapping[str, Array]
    rows: int | None
    shapes: PaddedShapes


@dataclass(frozen=True, slots=True, eq=False)
class _Buffer:
    """The pinned host memory and the GPU memory of one tensor."""

    host: Array
    memory: Any


class Slot:
    """The memory and the CUDA graph of one `PaddedShapes` on one stream."""

    def __init__(
        self, plan: OpenPlan, padded: PaddedShapes, device: DeviceApi, stream: Stream, scratch: Any
    ) -> None:
        """Allocate. Raises `EngineError` when TensorRT or the GPU refuses."""
        self._plan = plan
        self._device = device
        self._stream = stream
        self._mark = plan.bindings.log.mark()
        self._sliced = batched(plan.outputs) if padded.batch is not None else frozenset()
        self._context = self._create_context(padded, scratch)
        self._inputs = {name: self._buffer(name, shape) for name, shape in padded.shapes}
        self._outputs = {
            name: self._buffer(name, self._output_shape(name, padded)) for name in plan.outputs
        }
        for name, buffer in (self._inputs | self._outputs).items():
            if not self._context.set_tensor_address(name, int(buffer.memory)):
                raise self._error(f"rejects the address of {name!r}")
        self._graph: Graph | None = None
        self.no_graph_reason = ""
        """Why there is no CUDA graph; empty when there is one."""

    def warm(self) -> None:
        """Run on zeros, capture the CUDA graph, and run the graph.

        The first run is not captured, because TensorRT's setup must not be part of the graph.
        """
        self._launch()
        self._device.synchronize(self._stream)
        try:
            self._graph = self._capture()
        except NotCaptured as reason:
            self.no_graph_reason = str(reason)
            return
        self._launch()
        self._device.synchronize(self._stream)

    def enqueue(self, feeds: Mapping[str, Array]) -> None:
        """Put copies and computation on the stream. Padding rows are zeros."""
        for name, buffer in self._inputs.items():
            array = feeds[name]
            if array.shape == buffer.host.shape:
                np.copyto(buffer.host, array)
            else:
                buffer.host[: len(array)] = array
                buffer.host[len(array) :] = 0
        self._launch()

    def read(self, rows: int | None) -> dict[str, Array]:
        """The first `rows` rows of the outputs, in new arrays. The stream must have finished."""
        return {
            name: (buffer.host[:rows] if name in self._sliced else buffer.host).copy()
            for name, buffer in self._outputs.items()
        }

    def close(self) -> None:
        """Free the graph, then the context, then the buffers. The stream must be empty."""
        if self._graph is not None:
            self._graph.close()
        del self._context
        self._inputs.clear()
        self._outputs.clear()

    def _create_context(self, padded: PaddedShapes, scratch: Any) -> Any:
        plan, trt = self._plan, self._plan.bindings.trt
        config = plan.engine.create_runtime_config()
        config.set_execution_context_allocation_strategy(
            trt.ExecutionContextAllocationStrategy.USER_MANAGED
        )
        if plan.bindings.runtime == "tensorrt-rtx":
            # Compile kernels for these shapes now: the graph would keep the generic ones for ever.
            eager = trt.DynamicShapesKernelSpecializationStrategy.EAGER
            config.dynamic_shapes_kernel_specialization_strategy = eager
        context = plan.engine.create_execution_context(config)
        if context is None:
            raise self._error("makes no execution context")
        context.set_device_memory(int(scratch), plan.engine.device_memory_size_v2)
        if plan.engine.num_optimization_profiles > 1:
            if not context.set_optimization_profile_async(padded.profile, self._stream.handle):
                raise self._error(f"does not switch to profile {padded.profile}")
            self._device.synchronize(self._stream)
        for name, shape in padded.shapes:
            if shape != plan.inputs[name].shape and not context.set_input_shape(name, shape):
                raise self._error(f"rejects the shape {shape} of {name!r}")
        try:
            missing = context.infer_shapes()
        except RuntimeError as error:
            raise self._error(f"cannot infer the shapes of its outputs ({error})") from error
        if missing:
            raise self._error(f"needs the shapes of {', '.join(missing)}")
        return context

    def _output_shape(self, name: str, padded: PaddedShapes) -> tuple[int, ...]:
        shape = tuple(self._context.get_tensor_shape(name))
        if any(axis < 0 for axis in shape):
            raise EngineError(
                f"{self._plan.name}: the shape of output {name!r} depends on the data ({shape}), which a "
                "slot of fixed size cannot hold; remove operators such as NonZero and NonMaxSuppression"
            )
        if name in self._sliced and shape[0] != padded.batch:
            raise EngineError(
                f"{self._plan.name}: output {name!r} is {shape} for {padded.batch} rows: "
                "the first axis of an output must be the batch, or fixed"
            )
        return shape

    def _buffer(self, name: str, shape: tuple[int, ...]) -> _Buffer:
        spec = self._plan.inputs.get(name) or self._plan.outputs[name]
        host = self._device.alloc_pinned(shape, spec.dtype)
        host.fill(0)
        return _Buffer(host, self._device.alloc(max(host.nbytes, 1)))

    def _capture(self) -> Graph:
        rtx = self._plan.bindings.runtime == "tensorrt-rtx"
        if rtx and not self._context.is_stream_capturable(self._stream.handle):
            raise NotCaptured("TensorRT for RTX does not let this plan be captured")
        return self._device.capture(self._stream, self._execute)

    def _launch(self) -> None:
        for buffer in self._inputs.values():
            self._device.h2d(buffer.memory, buffer.host, self._stream)
        if self._graph is not None:
            self._graph.launch(self._stream)
        else:
            self._mark = self._plan.bindings.log.mark()
            if not self._execute():
                raise self._error("does not enqueue the batch")
        for buffer in self._outputs.values():
            self._device.d2h(buffer.host, buffer.memory, self._stream)

    def _execute(self) -> bool:
        return bool(self._context.execute_async_v3(self._stream.handle))

    def _error(self, failure: str) -> EngineError:
        errors = errors_of(self._plan.bindings.log.since(self._mark))
        reason = errors[0] if errors else "no reason given"
        return EngineError(f"{self._plan.name}: {self._plan.bindings.runtime} {failure}: {reason}")
