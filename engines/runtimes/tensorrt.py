"""A plan of TensorRT, or of TensorRT for RTX, as an `Engine`.

    with TensorRTEngine(Path("face.plan"), load("tensorrt")) as engine:
        scores = engine.run({"pixels": faces})["scores"]
        later = await asyncio.wrap_future(engine.submit({"pixels": faces}))

A plan is code: open only one that came from the cache of plans, which checks it.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from concurrent.futures import Future
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, Self

import numpy as np

from affectstream.engines.errors import EngineError
from affectstream.engines.runtimes.cuda.gpu_thread import Stage
from affectstream.engines.runtimes.cuda.memory import CudaDevice, DeviceApi
from affectstream.engines.runtimes.cuda.padding import Bounds, BuiltProfile, Fitter
from affectstream.engines.runtimes.cuda.slots import Batch, Lanes, OpenPlan
from affectstream.engines.runtimes.nvidia import Bindings, errors_of
from affectstream.engines.spec import Array, TensorSpec, check_feeds

_log = logging.getLogger(__name__)

KEPT_SLOTS = 16
"""Sets of shapes that stay allocated; enough for every batch size, and for a few sizes of picture."""

_REBUILD = "build it again: affectstream engines build"
_REASONS = (
    # What NVIDIA's log says, what it means, what to do.
    ("generated on an incompatible device", "it was built for another GPU", _REBUILD),
    ("Version tag does not match", "it was built by another version", _REBUILD),
    ("kSERIALIZATION_VERSION", "it was built by another version", _REBUILD),
    ("not compatible with this version", "it was built by another version", _REBUILD),
    ("Magic tag does not match", "it is cut short, or no plan at all", _REBUILD),
    ("bufferSize >= minBufferSize", "it is cut short, or no plan at all", _REBUILD),
    ("empty memory buffer", "it is empty", _REBUILD),
    ("getEngineHostCodeAllowed", "it carries host code, which is never run", _REBUILD),
    ("CUDA initialization failure", "no driver answers", "see affectstream doctor"),
    ("driver version is insufficient", "the driver is too old", "see affectstream doctor"),
)


class TensorRTEngine:
    """One plan on one GPU, with a thread of its own.

    A free first axis is the batch: it is padded up to a batch size of `SLOTS` that the plan's profiles
    admit, with zeros, and outputs are cut back. Whatever else is free has to lie within a profile. What
    `run` and `submit` bring are fresh arrays, the caller's own.
    """

    def __init__(
        self,
        plan: Path | bytes,
        bindings: Bindings,
        *,
        name: str = "",
        device: int = 0,
        warm: bool = True,
        open_device: Callable[[int], DeviceApi] = CudaDevice,
    ) -> None:
        """Open `plan` and, with `warm`, everything for each of its batch sizes, so that no call is slow.

        Raises `EngineError` when the plan does not open or cannot run in static slots, `DeviceError` when
        the GPU is not there. `name` is what errors call the plan.
        """
        data, self._name = _read(plan, name)
        facts: Future[_Facts] = Future()
        self._stage: Stage[Batch, dict[str, Array]] = Stage(
            self._name,
            partial(open_device, device),
            partial(_open, self._name, data, bindings, warm, facts),
        )
        self._facts = facts.result()

    @property
    def inputs(self) -> Mapping[str, TensorSpec]:
        """Inputs by name."""
        return self._facts.inputs

    @property
    def outputs(self) -> Mapping[str, TensorSpec]:
        """Outputs by name."""
        return self._facts.outputs

    @property
    def runtime(self) -> str:
        """Such as ``tensorrt 11.4.0.106 cuda:0, CUDA graphs``."""
        return self._facts.runtime

    def run(self, feeds: Mapping[str, Array]) -> dict[str, Array]:
        """All outputs by name, as fresh arrays. Safe to call from several threads.

        Raises `EngineError` for feeds that the plan does not admit, a closed engine or a failing GPU.
        """
        future = self.submit(feeds)
        try:
            return future.result()
        except BaseException:
            future.cancel()  # after an interrupt nobody wants it; it does nothing to one that failed
            raise

    def submit(self, feeds: Mapping[str, Array]) -> Future[dict[str, Array]]:
        """`run` without waiting, for ``asyncio.wrap_future``. `feeds` must not change until it is done.

        Cancelling the future skips a batch that the GPU has not been given yet. Raises as `run` does, and
        when too many batches wait; what fails later is the future's.
        """
        check_feeds(self._name, self.inputs, feeds)
        shapes = {name: array.shape for name, array in feeds.items()}
        fitter = self._facts.fitter
        return self._stage.submit(Batch(feeds, fitter.rows(shapes), fitter.fit(shapes)))

    def close(self) -> None:
        """Finish what was submitted and free the GPU. May be called again."""
        self._stage.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.close()


@dataclass(frozen=True, slots=True, eq=False)
class _Facts:
    """What the stage's thread tells of the plan it opened."""

    inputs: Mapping[str, TensorSpec]
    outputs: Mapping[str, TensorSpec]
    fitter: Fitter
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
    facts: Future[_Facts],
    device: DeviceApi,
) -> Lanes:
    """On the stage's thread. The device comes first: without a driver TensorRT does not raise, it crashes."""
    engine = _deserialised(name, data, bindings)
    inputs, outputs = _specs(name, engine, bindings.trt)
    fitter = Fitter(name, inputs, _profiles(engine, inputs))
    plan = OpenPlan(name, bindings, engine, inputs, outputs)
    fits = list(fitter.usual()) if warm else []
    lanes = Lanes(plan, device, keep=max(KEPT_SLOTS, len(fits)), warm=fits)
    if lanes.plain:
        _log.warning("%s: no CUDA graphs, each kernel is launched alone: %s", name, lanes.plain)
    graphs = f"no CUDA graphs: {lanes.plain}" if lanes.plain else "CUDA graphs"
    runtime = f"{bindings.runtime} {bindings.version} {device.name}, {graphs}"
    facts.set_result(_Facts(inputs, outputs, fitter, runtime))
    return lanes


def _deserialised(name: str, data: bytes, bindings: Bindings) -> Any:
    """The engine, which keeps its runtime alive. TensorRT returns None and says why in its log only."""
    mark = bindings.messages.mark()
    try:
        engine = bindings.trt.Runtime(bindings.logger).deserialize_cuda_engine(data)
    except (TypeError, RuntimeError) as error:  # how pybind11 reports that nothing was made
        raise EngineError(f"{name}: {bindings.runtime} makes no runtime: {error}") from error
    if engine is not None:
        return engine
    said = errors_of(bindings.messages.since(mark))
    # What comes first is the cause, the rest its consequences.
    line, reason, advice = next(
        (
            (line, reason, advice)
            for line in said
            for pattern, reason, advice in _REASONS
            if pattern in line
        ),
        (said[0] if said else "empty", "for no known reason", _REBUILD),
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
                f"{name}: tensor {tensor!r} is a shape that the host has to give; export the graph "
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
        # A plan forgets what its free axes were called.
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
