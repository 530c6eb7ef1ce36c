"""Opens an ONNX file on any device."""

from __future__ import annotations

import logging
import threading
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from affectstream.engines.cache.digest import sha256
from affectstream.engines.devices.choose import parse_device
from affectstream.engines.errors import DeviceError, EngineError
from affectstream.engines.spec import Engine

if TYPE_CHECKING:
    from affectstream.engines.plans.build import BuildOptions, BuiltPlan, Progress
    from affectstream.engines.plans.plan import Plan
    from affectstream.engines.plans.target import Target
    from affectstream.engines.runtimes.nvidia import NvidiaRuntime

_log = logging.getLogger(__name__)


def open_engine(
    path: Path,
    device: str = "cpu",
    *,
    threads: int = 1,
    fp16: bool = True,
    options: BuildOptions | None = None,
) -> Engine:
    """Open `path` on `device`: ``cpu``, ``cuda:N``, ``tensorrt:N`` or ``tensorrt-rtx:N``.

    The CPU runs the graph as it is, with `threads` threads. CUDA runs its FP16 variant, or the graph as it
    is without `fp16`. TensorRT takes a plan from the cache: any that was built for this GPU, with the
    precision of `options` (not `fp16`) and at least its profiles. If there is none, the plan is built with
    `options`, which takes minutes and is logged.
    Raises `EngineError` for a graph that does not open, `DeviceError` for a device that is not there, and
    `UsageError` for an unknown device name.
    """
    try:
        return _open(path, device, threads, fp16, options)
    except UnicodeDecodeError as error:  # no runtime reports it as an error of its own
        raise EngineError(f"{path}: a name in the graph is not UTF-8: export it again") from error


def open_packaged(path: Path, digest: str, what: str, otherwise: str) -> Engine:
    """Open a network that comes with this package, on the CPU, if its SHA-256 is `digest`.

    Raises `EngineError` for a missing or changed file: `what` was expected, and what to do `otherwise`.
    """
    found = sha256(path) if path.is_file() else "no file"
    if found != digest:
        raise EngineError(
            f"{path}: found {found}, expected {what} with SHA-256 {digest}: "
            f"install affectstream again, or {otherwise}"
        )
    return open_engine(path)


def _open(
    path: Path, device: str, threads: int, fp16: bool, options: BuildOptions | None
) -> Engine:
    parsed = parse_device(device)
    if parsed.kind == "cpu":
        from affectstream.engines.runtimes.onnx import OnnxEngine

        return OnnxEngine(path, threads=threads)
    if parsed.kind == "cuda":
        from affectstream.engines.runtimes.onnx_cuda import CudaEngine

        return CudaEngine(path, ordinal=parsed.ordinal, fp16=fp16)
    return _open_plan(path, parsed.kind, parsed.ordinal, options)


def _open_plan(
    path: Path, runtime: NvidiaRuntime, ordinal: int, options: BuildOptions | None
) -> Engine:
    from affectstream.engines.plans.accuracy import check_plan
    from affectstream.engines.plans.build import BuildOptions
    from affectstream.engines.plans.store import PlanStore
    from affectstream.engines.plans.target import DEFAULT_CAPABILITIES, target_for
    from affectstream.engines.runtimes.cuda.driver import query_gpu
    from affectstream.engines.runtimes.cuda.memory import DeviceFault, OutOfDeviceMemory
    from affectstream.engines.runtimes.nvidia import load
    from affectstream.engines.runtimes.tensorrt import TensorRTEngine

    bindings = load(runtime)
    capability = query_gpu(ordinal).capability
    unusual = runtime == "tensorrt-rtx" and capability not in DEFAULT_CAPABILITIES
    target = target_for(runtime, (capability,) if unusual else (), ordinal=ordinal)
    store, options = PlanStore(), options or BuildOptions()
    check = partial(check_plan, ordinal=ordinal)

    def find_or_build() -> Plan:
        usable = store.find_usable(path, options, target, capability)
        return usable or store.plan_for(
            path, options, target, build=_build_with_notice, check=check
        )

    def open_plan(plan: Plan) -> Engine:
        return TensorRTEngine(plan.read(), bindings, name=path.name, ordinal=ordinal)

    plan = find_or_build()
    try:
        return open_plan(plan)
    except (DeviceError, DeviceFault, OutOfDeviceMemory):
        raise
    except EngineError as error:  # the runtime refuses the plan: build it again, once
        store.quarantine(plan, str(error))
        return open_plan(find_or_build())


def _build_with_notice(
    graph: Path,
    options: BuildOptions,
    target: Target,
    *,
    name: str,
    timing: bytes,
    progress: Progress | None,
    stop: threading.Event | None,
) -> BuiltPlan:
    from affectstream.engines.plans.build import build

    _log.warning(
        "%s: building a plan for %s, once; 'affectstream engines build' does this beforehand",
        name,
        target.runtime,
    )
    return build(graph, options, target, name=name, timing=timing, progress=progress, stop=stop)
