"""Opening an ONNX file on any device: the one place that knows which engine serves which."""

from __future__ import annotations

import logging
import threading
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from affectstream.engines.choose import Device, parse_device
from affectstream.engines.errors import DeviceError, EngineError
from affectstream.engines.spec import Engine

if TYPE_CHECKING:
    from affectstream.engines.plans.build import BuildOptions, Built, Progress
    from affectstream.engines.plans.plan import Plan
    from affectstream.engines.plans.target import Target

_log = logging.getLogger(__name__)


def open_engine(
    path: Path,
    device: str = "cpu",
    *,
    threads: int = 1,
    half: bool = True,
    options: BuildOptions | None = None,
) -> Engine:
    """Open `path` on `device`: ``cpu``, ``cuda:N``, ``tensorrt:N`` or ``tensorrt-rtx:N``.

    On a GPU its FP16 variant computes, with `half` off the graph as it is. A plan of TensorRT comes from
    the cache: any that was built for this GPU with the precision of `options` (not `half`) and at least
    its profiles. Where none is there it is built with `options`, which takes minutes and is said in the
    log. `threads` is for the CPU.
    Raises `EngineError`, naming the fault, `DeviceError` for a device that is not there, and `UsageError`
    for a name that is none.
    """
    wanted = parse_device(device)
    if wanted.kind == "cpu":
        from affectstream.engines.runtimes.onnx import OnnxEngine

        return OnnxEngine(path, threads=threads)
    if wanted.kind == "cuda":
        from affectstream.engines.runtimes.onnx_cuda import CudaEngine

        return CudaEngine(path, ordinal=wanted.number, half=half)
    return _open_plan(path, wanted, options)


def _open_plan(path: Path, device: Device, options: BuildOptions | None) -> Engine:
    from affectstream.engines.plans.build import BuildOptions
    from affectstream.engines.plans.gate import check_plan
    from affectstream.engines.plans.store import PlanStore
    from affectstream.engines.plans.target import COMMON, target_for
    from affectstream.engines.runtimes.cuda.driver import look_at
    from affectstream.engines.runtimes.cuda.memory import DeviceFault, OutOfDeviceMemory
    from affectstream.engines.runtimes.nvidia import load
    from affectstream.engines.runtimes.tensorrt import TensorRTEngine

    bindings = load(device.kind)
    capability = look_at(device.number).capability
    special = device.kind == "tensorrt-rtx" and capability not in COMMON
    target = target_for(device.kind, (capability,) if special else (), ordinal=device.number)
    store, asked = PlanStore(), options or BuildOptions()
    check = partial(check_plan, ordinal=device.number)

    def ready() -> Plan:
        there = store.serving(path, asked, target, capability)
        return there or store.plan_for(path, asked, target, build=_announced, check=check)

    def opened(plan: Plan) -> Engine:
        return TensorRTEngine(plan.read(), bindings, name=path.name, device=device.number)

    plan = ready()
    try:
        return opened(plan)
    except (DeviceError, DeviceFault, OutOfDeviceMemory):
        raise
    except EngineError as error:  # the runtime does not take it: once more, from the graph
        store.quarantine(plan, str(error))
        return opened(ready())


def _announced(
    graph: Path,
    options: BuildOptions,
    target: Target,
    *,
    name: str,
    timing: bytes,
    progress: Progress | None,
    stop: threading.Event | None,
) -> Built:
    from affectstream.engines.plans.build import build

    _log.warning(
        "%s: building a plan for %s, once; affectstream engines build does this beforehand",
        name,
        target.runtime,
    )
    return build(graph, options, target, name=name, timing=timing, progress=progress, stop=stop)
