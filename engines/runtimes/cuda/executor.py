"""Runs batches of a plan on two CUDA streams.

While one stream computes a batch, the inputs of the next batch travel on the other.
"""

from __future__ import annotations

from collections import OrderedDict, deque
from collections.abc import Callable, Sequence
from contextlib import suppress

from affectstream.engines.runtimes.cuda.gpu_thread import DEPTH
from affectstream.engines.runtimes.cuda.memory import DeviceApi, DeviceFault
from affectstream.engines.runtimes.cuda.padding import PaddedShapes
from affectstream.engines.runtimes.cuda.slots import Batch, OpenPlan, Slot
from affectstream.engines.spec import Array


class ExecutionStream:
    """A CUDA stream with at most `max_slots` slots; the least recently used is freed for a new one.

    It runs one batch at a time, so its slots share one scratch memory.
    """

    def __init__(self, plan: OpenPlan, device: DeviceApi, max_slots: int) -> None:
        self._plan = plan
        self._device = device
        self._max_slots = max_slots
        self._stream = device.stream()
        self._done = device.event()
        self._scratch = device.alloc(max(int(plan.engine.device_memory_size_v2), 1))
        self._slots: OrderedDict[PaddedShapes, Slot] = OrderedDict()

    def slot(self, shapes: PaddedShapes) -> Slot:
        """The slot of `shapes`, created if there is none. The stream must be idle."""
        if shapes in self._slots:
            self._slots.move_to_end(shapes)
            return self._slots[shapes]
        while len(self._slots) >= self._max_slots:
            self._slots.popitem(last=False)[1].close()
        slot = Slot(self._plan, shapes, self._device, self._stream, self._scratch)
        try:
            slot.warm()
        except BaseException:
            with suppress(DeviceFault):
                self._device.synchronize(self._stream)
            slot.close()
            raise
        self._slots[shapes] = slot
        return slot

    def begin(self, batch: Batch) -> Slot:
        """Enqueue `batch`. After a failure the stream is empty again."""
        try:
            slot = self.slot(batch.shapes)
            slot.enqueue(batch.feeds)
            self._device.record(self._done, self._stream)
        except BaseException:
            self._device.synchronize(self._stream)
            raise
        return slot

    def wait(self) -> None:
        """Wait until the enqueued batch is done."""
        self._device.wait(self._done)

    def close(self) -> None:
        """Free the slots and release the plan. Stream, event and scratch are freed with this object."""
        while self._slots:
            self._slots.popitem()[1].close()
        del self._plan


class PlanExecutor:
    """The `Work` of a GPU thread: takes batches, returns outputs by name."""

    def __init__(
        self, plan: OpenPlan, device: DeviceApi, *, max_slots: int, warm: Sequence[PaddedShapes]
    ) -> None:
        """Open the streams, and the slots of the shapes in `warm`."""
        self._streams = [ExecutionStream(plan, device, max_slots) for _ in range(DEPTH)]
        self._idle = deque(self._streams)
        self.no_graph_reason = ""
        """Why the slots of `warm` have no CUDA graph; empty when they have one."""
        try:
            for shapes in warm:
                for stream in self._streams:
                    reason = stream.slot(shapes).no_graph_reason
                    self.no_graph_reason = reason or self.no_graph_reason
        except BaseException:
            self.close()
            raise

    def begin(self, item: Batch) -> Callable[[], dict[str, Array]]:
        """Enqueue a batch; see `Work.begin`."""
        stream = self._idle.popleft()
        try:
            slot = stream.begin(item)
        except BaseException:
            self._idle.append(stream)
            raise

        def finish() -> dict[str, Array]:
            try:
                stream.wait()
                return slot.read(item.rows)
            finally:
                self._idle.append(stream)

        return finish

    def close(self) -> None:
        """Free the slots, then the engine, then the runtime that it holds, then memory and streams."""
        for stream in self._streams:
            stream.close()
        self._streams.clear()
        self._idle.clear()
