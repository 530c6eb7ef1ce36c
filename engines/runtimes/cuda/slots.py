"""Static slots: everything that one set of shapes needs on the GPU, made once and used for ever after.

A *slot* has an execution context, pinned and device buffers and a CUDA graph, which freezes shapes and
addresses. A *lane* is a stream with its slots; the lane runs one batch at a time, so its slots share one
scratch memory. Two lanes let the inputs of the next batch travel while this one is computed.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import numpy as np

from affectstream.engines.errors import EngineError
from affectstream.engines.runtimes.cuda.gpu_thread import DEPTH
from affectstream.engines.runtimes.cuda.memory import (
    DeviceApi,
    DeviceFault,
    Graph,
    NotCaptured,
    Stream,
)
from affectstream.engines.runtimes.cuda.padding import Fit, batched
from affectstream.engines.runtimes.nvidia import Bindings, errors_of
from affectstream.engines.spec import Array, TensorSpec


@dataclass(frozen=True, slots=True, eq=False)
class OpenPlan:
    """A plan, deserialised. `engine` belongs to the stage's thread, the rest to anyone."""

    name: str
    bindings: Bindings
    engine: Any
    inputs: Mapping[str, TensorSpec]
    outputs: Mapping[str, TensorSpec]


@dataclass(frozen=True, slots=True, eq=False)
class Batch:
    """One call: `feeds` are read when the stage comes to them and must not change until then."""

    feeds: Mapping[str, Array]
    rows: int | None
    fit: Fit


@dataclass(frozen=True, slots=True, eq=False)
class _Buffer:
    """A tensor on both sides."""

    host: Array
    memory: Any


class Slot:
    """One `Fit` on one stream."""

    def __init__(
        self, plan: OpenPlan, fit: Fit, device: DeviceApi, stream: Stream, scratch: Any
    ) -> None:
        """Allocate. Raises `EngineError` when TensorRT or the GPU refuses."""
        self._plan = plan
        self._device = device
        self._stream = stream
        self._mark = plan.bindings.messages.mark()
        self._sliced = batched(plan.outputs) if fit.batch is not None else frozenset()
        self._context = self._shaped(fit, scratch)
        self._inputs = {name: self._buffer(name, shape) for name, shape in fit.shapes}
        self._outputs = {
            name: self._buffer(name, self._output_shape(name, fit)) for name in plan.outputs
        }
        for name, buffer in (self._inputs | self._outputs).items():
            if not self._context.set_tensor_address(name, int(buffer.memory)):
                raise self._refused(f"does not take the address of {name!r}")
        self._graph: Graph | None = None
        self.plain = ""
        """Why there is no graph, empty when there is one."""

    def warm(self) -> None:
        """Run on zeros, capture, and run what was captured.

        The first run stays outside the capture: what TensorRT sets up then must not become a part of it.
        """
        self._put()
        self._device.synchronize(self._stream)
        try:
            self._graph = self._captured()
        except NotCaptured as reason:
            self.plain = str(reason)
            return
        self._put()
        self._device.synchronize(self._stream)

    def enqueue(self, feeds: Mapping[str, Array]) -> None:
        """Put copies and computation on the stream. Rows beyond those of `feeds` are zeros."""
        for name, buffer in self._inputs.items():
            array = feeds[name]
            if array.shape == buffer.host.shape:
                np.copyto(buffer.host, array)
            else:
                buffer.host[: len(array)] = array
                buffer.host[len(array) :] = 0
        self._put()

    def read(self, rows: int | None) -> dict[str, Array]:
        """Fresh arrays of the first `rows` rows, once the stream has passed."""
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

    def _shaped(self, fit: Fit, scratch: Any) -> Any:
        plan, trt = self._plan, self._plan.bindings.trt
        config = plan.engine.create_runtime_config()
        config.set_execution_context_allocation_strategy(
            trt.ExecutionContextAllocationStrategy.USER_MANAGED
        )
        if plan.bindings.runtime == "tensorrt-rtx":
            # It compiles kernels for these very shapes now, or the graph would keep those for any shape.
            eager = trt.DynamicShapesKernelSpecializationStrategy.EAGER
            config.dynamic_shapes_kernel_specialization_strategy = eager
        context = plan.engine.create_execution_context(config)
        if context is None:
            raise self._refused("makes no execution context")
        context.set_device_memory(int(scratch), plan.engine.device_memory_size_v2)
        if plan.engine.num_optimization_profiles > 1:
            if not context.set_optimization_profile_async(fit.profile, self._stream.handle):
                raise self._refused(f"does not switch to profile {fit.profile}")
            self._device.synchronize(self._stream)
        for name, shape in fit.shapes:
            if shape != plan.inputs[name].shape and not context.set_input_shape(name, shape):
                raise self._refused(f"does not take {name!r} as {shape}")
        try:
            missing = context.infer_shapes()
        except RuntimeError as error:
            raise self._refused(f"cannot infer the shapes of its outputs ({error})") from error
        if missing:
            raise self._refused(f"still wants the shapes of {', '.join(missing)}")
        return context

    def _output_shape(self, name: str, fit: Fit) -> tuple[int, ...]:
        shape = tuple(self._context.get_tensor_shape(name))
        if any(axis < 0 for axis in shape):
            raise EngineError(
                f"{self._plan.name}: the shape of output {name!r} depends on the data ({shape}), which a "
                "static slot cannot hold; leave NonZero, NonMaxSuppression and their like out of the graph"
            )
        if name in self._sliced and shape[0] != fit.batch:
            raise EngineError(
                f"{self._plan.name}: output {name!r} is {shape} for {fit.batch} rows: "
                "the first axis of an output has to be the batch, or fixed"
            )
        return shape

    def _buffer(self, name: str, shape: tuple[int, ...]) -> _Buffer:
        spec = self._plan.inputs.get(name) or self._plan.outputs[name]
        host = self._device.alloc_pinned(shape, spec.dtype)
        host.fill(0)
        return _Buffer(host, self._device.alloc(max(host.nbytes, 1)))

    def _captured(self) -> Graph:
        rtx = self._plan.bindings.runtime == "tensorrt-rtx"
        if rtx and not self._context.is_stream_capturable(self._stream.handle):
            raise NotCaptured("TensorRT for RTX does not let this plan be captured")
        return self._device.capture(self._stream, self._execute)

    def _put(self) -> None:
        for buffer in self._inputs.values():
            self._device.h2d(buffer.memory, buffer.host, self._stream)
        if self._graph is not None:
            self._graph.launch(self._stream)
        else:
            self._mark = self._plan.bindings.messages.mark()
            if not self._execute():
                raise self._refused("does not enqueue")
        for buffer in self._outputs.values():
            self._device.d2h(buffer.host, buffer.memory, self._stream)

    def _execute(self) -> bool:
        return bool(self._context.execute_async_v3(self._stream.handle))

    def _refused(self, what: str) -> EngineError:
        said = errors_of(self._plan.bindings.messages.since(self._mark))
        reason = said[0] if said else "no reason given"
        return EngineError(f"{self._plan.name}: {self._plan.bindings.runtime} {what}: {reason}")


class Lane:
    """A stream and its slots, of which the least used go when there are more than `keep`."""

    def __init__(self, plan: OpenPlan, device: DeviceApi, keep: int) -> None:
        self._plan = plan
        self._device = device
        self._keep = keep
        self._stream = device.stream()
        self._done = device.event()
        self._scratch = device.alloc(max(int(plan.engine.device_memory_size_v2), 1))
        self._slots: OrderedDict[Fit, Slot] = OrderedDict()

    def slot(self, fit: Fit) -> Slot:
        """The slot of `fit`, made when there is none. The lane must be idle."""
        if fit in self._slots:
            self._slots.move_to_end(fit)
            return self._slots[fit]
        while len(self._slots) >= self._keep:
            self._slots.popitem(last=False)[1].close()
        slot = Slot(self._plan, fit, self._device, self._stream, self._scratch)
        try:
            slot.warm()
        except BaseException:
            with suppress(DeviceFault):
                self._device.synchronize(self._stream)
            slot.close()
            raise
        self._slots[fit] = slot
        return slot

    def begin(self, batch: Batch) -> Slot:
        """Enqueue `batch`. When this fails the stream is empty again."""
        try:
            slot = self.slot(batch.fit)
            slot.enqueue(batch.feeds)
            self._device.record(self._done, self._stream)
        except BaseException:
            self._device.synchronize(self._stream)
            raise
        return slot

    def wait(self) -> None:
        """Until what `begin` enqueued is done."""
        self._device.wait(self._done)

    def close(self) -> None:
        """Free the slots and let go of the plan; stream, event and scratch go with the lane."""
        while self._slots:
            self._slots.popitem()[1].close()
        del self._plan


class Lanes:
    """`Work` of a stage: batches in, outputs by name."""

    def __init__(
        self, plan: OpenPlan, device: DeviceApi, *, keep: int, warm: Sequence[Fit]
    ) -> None:
        """Open the lanes and the slots of `warm`."""
        self._lanes = [Lane(plan, device, keep) for _ in range(DEPTH)]
        self._free = deque(self._lanes)
        self.plain = ""
        """Why slots that were warmed run without a CUDA graph, empty when they have one."""
        try:
            for fit in warm:
                for lane in self._lanes:
                    self.plain = lane.slot(fit).plain or self.plain
        except BaseException:
            self.close()
            raise

    def begin(self, item: Batch) -> Callable[[], dict[str, Array]]:
        """See `Work`."""
        lane = self._free.popleft()
        try:
            slot = lane.begin(item)
        except BaseException:
            self._free.append(lane)
            raise

        def finish() -> dict[str, Array]:
            try:
                lane.wait()
                return slot.read(item.rows)
            finally:
                self._free.append(lane)

        return finish

    def close(self) -> None:
        """Slots, then the engine, then the runtime that it holds, then memory and streams."""
        for lane in self._lanes:
            lane.close()
        self._lanes.clear()
        self._free.clear()
