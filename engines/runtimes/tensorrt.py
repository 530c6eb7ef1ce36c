"""Runs a plan of TensorRT, or of TensorRT for RTX, as an `Engine`.

    with TensorRTEngine(Path("face.plan"), load("tensorrt")) as engine:
        scores = engine.run({"pixels": faces})["scores"]
        later = await asyncio.wrap_future(engine.submit({"pixels": faces}))

A plan is code: open only plans of the plan cache, which checks them.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any, Self

import numpy as np

from affectstream.engines.errors import EngineError
from affectstream.engines.runtimes.cuda.executor import PlanExecutor
from affectstream.engines.runtimes.cuda.gpu_thread import GpuThread
from affectstream.engines.runtimes.cuda.memory import CudaDevice, DeviceApi
from affectstream.engines.runtimes.cuda.padding import BatchPadder, Bounds, BuiltProfile
from affectstream.engines.runtimes.cuda.slots import Batch, OpenPlan
from affectstream.engines.runtimes.nvidia import Bindings, errors_of
from affectstream.engines.spec import Array, TensorSpec, check_feeds

_log = logging.getLogger(__name__)

MAX_SLOTS = 16
"""Sets of shapes that stay allocated: enough for every batch size and a few picture sizes."""

_REBUILD = "build it again: affectstream engines build"
_REASONS = (
    # Part of NVIDIA's message, what it means, what to do.
    ("generated on an incompatible device", "it was built for another GPU", _REBUILD),
    ("Version tag does not match", "it was built by another version", _REBUILD),
    ("kSERIALIZATION_VERSION", "it was built by another version", _REBUILD),
    ("not compatible with this version", "it was built by another version", _REBUILD),
    ("Magic tag does not match", "it is cut short, or not a plan", _REBUILD),
    ("bufferSize >= minBufferSize", "it is cut short, or not a plan", _REBUILD),
    ("empty memory buffer", "it is empty", _REBUILD),
    ("getEngineHostCodeAllowed", "it carries host code, which is never run", _REBUILD),
    ("CUDA initialization failure", "no driver answers", "see affectstream doctor"),
    ("driver version is insufficient", "the driver is too old", "see affectstream doctor"),
)


class TensorRTEngine:
    """One plan on one GPU, on its own thread.

    A free first axis is the batch: it is padded with zeros to one of `BATCH_SIZES` that a profile of the plan
    admits, and the padding is removed from the outputs. Every other free axis must lie within a profile. The
    arrays that `run` and `submit` return belong to the caller.
    """

    def __init__(
        self,
        plan: Path | bytes,
        bindings: Bindings,
        *,
        name: str = "",
        ordinal: int = 0,
        warm: bool = True,
        open_device: Callable[[int], DeviceApi] = CudaDevice,
    ) -> None:
        """Open `plan` on GPU number `ordinal`; errors call it `name`.

        With `warm` the slots of every batch size are created now, so that no later call is slow. Raises
        `EngineError` when the plan does not open or does not fit slots, `DeviceError` when the GPU is
        missing.
        """
        data, self._name = _read(plan, name)
        opened: Future[_OpenedPlan] = Future()
        self._thread: GpuThread[Batch, dict[str, Array]] = GpuThread(
            self._name,
            partial(open_device, ordinal),
            partial(_open, self._name, data, bindings, warm, opened),
        )
        plan_properties = opened.result()
        self.inputs, self.outputs = plan_properties.inputs, plan_properties.outputs
        self.runtime = plan_properties.runtime
        self._padder = plan_properties.padder

    def run(self, feeds: Mapping[str, Array]) -> dict[str, Array]:
        """All outputs by name, in new arrays. Several threads may call this at once.

        Raises `EngineError` for feeds that the plan does not admit, a closed engine or a failing GPU.
        """
        future = self.submit(feeds)
        try:
            return future.result()
        except BaseException:
            future.cancel()  # after Ctrl-C the result is not needed
            raise

    def submit(self, feeds: Mapping[str, Array]) -> Future[dict[str, Array]]:
        """`run` without waiting, for ``asyncio.wrap_future``. `feeds` must not change meanwhile.

        Cancelling the future skips the batch if it is not on the GPU yet. Raises as `run` does, and when too
        many batches wait. Later errors are set on the future.
        """
        check_feeds(self._name, self.inputs, feeds)
        shapes = {name: array.shape for name, array in feeds.items()}
        batch = Batch(feeds, self._padder.rows(shapes), self._padder.pad(shapes))
        return self._thread.submit(batch)

    def close(self) -> None:
        """Finish the submitted batches and free the GPU. It may be called again."""
        self._thread.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


@dataclass(frozen=True, slots=True, eq=False)
class _OpenedPlan:
    """The properties of the plan that the GPU thread opened."""

    inputs: Mapping[str, TensorSpec]
    outputs: Mapping[str, TensorSpec]
    padder: BatchPadder
    runtime: str


def _read(plan: Path | bytes, name: str) -> tuple[bytes, str]:
    if isinstance(plan, bytes):
        return plan, name or "plan"
    try:
        return plan.read_bytes(), name or plan.name
    except OSError as error:
        raise EngineError(
            f"{plan}: the plan cannot be read: {error.strerror}; {_REBUILD}"
        ) from error


def _open(
    name: str,
    data: bytes,
    bindings: Bindings,
    warm: bool,
    opened: Future[_OpenedPlan],
    device: DeviceApi,
) -> PlanExecutor:
    """Runs on the GPU thread, after the device has opened: without a driver TensorRT crashes."""
    engine = _deserialize(name, data, bindings)
    inputs, outputs = _specs(name, engine, bindings.trt)
    padder = BatchPadder(name, inputs, _profiles(engine, inputs))
    plan = OpenPlan(name, bindings, engine, inputs, outputs)
    shapes = list(padder.usual()) if warm else []
    executor = PlanExecutor(plan, device, max_slots=max(MAX_SLOTS, len(shapes)), warm=shapes)
    if reason := executor.no_graph_reason:
        _log.warning("%s: no CUDA graphs, each kernel is launched alone: %s", name, reason)
    graphs = f"no CUDA graphs: {reason}" if reason else "CUDA graphs"
    runtime = f"{bindings.runtime} {bindings.version} {device.name}, {graphs}"
    opened.set_result(_OpenedPlan(inputs, outputs, padder, runtime))
    return executor


def _deserialize(name: str, data: bytes, bindings: Bindings) -> Any:
    """The engine, which keeps its runtime alive. TensorRT reports failures only in its log."""
    mark = bindings.log.mark()
    try:
        engine = bindings.trt.Runtime(bindings.logger).deserialize_cuda_engine(data)
    except (
        TypeError,
        RuntimeError,
    ) as error:  # pybind11 raises them when the library returns no runtime
        raise EngineError(f"{name}: {bindings.runtime} makes no runtime: {error}") from error
    if engine is not None:
        return engine
    errors = errors_of(bindings.log.since(mark))
    # The first error is the cause, the others are its consequences.
    line, reason, advice = next(
        (
            (line, reason, advice)
            for line in errors
            for pattern, reason, advice in _REASONS
            if pattern in line
        ),
        (errors[0] if errors else "empty", "for no known reason", _REBUILD),
    )
    raise EngineError(
        f"{name}: {bindings.runtime} {bindings.version} does not open the plan: {reason}; {advice} "
        f"(its log: {line})"
    )


def _specs(name: str, engine: Any, trt: Any) -> tuple[dict[str, TensorSpec], dict[str, TensorSpec]]:
    inputs: dict[str, TensorSpec] = {}
    outputs: dict[str, TensorSpec] = {}
    for index in range(engine.num_io_tensors):
        tensor = engine.get_tensor_name(index)
        if engine.get_tensor_location(tensor) != trt.TensorLocation.DEVICE:
            raise EngineError(
                f"{name}: tensor {tensor!r} is a shape that the host must provide; export the graph "
                "with shapes that follow from its inputs"
            )
        kind = engine.get_tensor_dtype(tensor)
        try:
            dtype = np.dtype(trt.nptype(kind))
        except TypeError as error:
            raise EngineError(
                f"{name}: tensor {tensor!r} is {kind.name}, which numpy does not have; "
                "cast inputs and outputs to FP32 or FP16 in the graph"
            ) from error
        axes = tuple(engine.get_tensor_shape(tensor))
        # A plan does not keep the names of free axes.
        shape = tuple(
            int(n) if n >= 0 else "N" if i == 0 else f"{tensor}_{i}" for i, n in enumerate(axes)
        )
        side = inputs if engine.get_tensor_mode(tensor) == trt.TensorIOMode.INPUT else outputs
        side[tensor] = TensorSpec(tensor, shape, dtype)
    return inputs, outputs


def _profiles(engine: Any, inputs: Mapping[str, TensorSpec]) -> list[BuiltProfile]:
    return [
        {name: _bounds(engine, spec, index) for name, spec in inputs.items()}
        for index in range(engine.num_optimization_profiles)
    ]


def _bounds(engine: Any, spec: TensorSpec, profile: int) -> Bounds:
    fixed = tuple(axis for axis in spec.shape if isinstance(axis, int))
    if len(fixed) == len(spec.shape):
        return Bounds(fixed, fixed, fixed)
    low, usual, high = (
        tuple(int(axis) for axis in shape)
        for shape in engine.get_tensor_profile_shape(spec.name, profile)
    )
    return Bounds(low, usual, high)
