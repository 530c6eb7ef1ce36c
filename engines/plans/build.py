"""Builds a plan of an ONNX graph with TensorRT or TensorRT for RTX.

A build occupies one core for seconds to minutes. It runs on its own thread, because native code calls back
into Python for progress and log messages, and Ctrl-C must not raise inside such a call.
"""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from concurrent.futures import Future, wait
from dataclasses import dataclass, field
from pathlib import Path
from typing import Annotated, Any

from msgspec import Meta, Struct

from affectstream.engines.errors import BuildError, DeviceError
from affectstream.engines.fp16.precision import Precision
from affectstream.engines.plans.failures import BuildCancelled, build_error, clean_message
from affectstream.engines.plans.network import LayerTypes, Network, check_precision, parse
from affectstream.engines.plans.profiles import AxisRange, Profile, free_axes, shapes_for
from affectstream.engines.plans.progress import Phases
from affectstream.engines.plans.target import Target
from affectstream.engines.runtimes.nvidia import Bindings, LogLine, errors_of, load
from affectstream.engines.spec import TensorSpec

ONE_ROW = Profile((AxisRange("N", 1, 1, 1),))
MANY_ROWS = Profile((AxisRange("N", 1, 8, 64),))
LOG_LINES = 40
"""Lines of the builder's log, the last ones, that are stored with a plan."""
Progress = Callable[[float], None]
"""Called with the fraction that is done, 0 to 1. It is called often, and from other threads."""


class BuildOptions(Struct, frozen=True):
    """How a plan is built; part of its key. Everything else is the same for all plans."""

    precision: Precision = "fp16"
    profiles: tuple[Profile, ...] = (ONE_ROW, MANY_ROWS)
    """A fixed shape is the fastest; a range takes all other shapes. They keep this order in the plan."""
    workspace_bytes: Annotated[int, Meta(gt=0)] = 2 << 30
    """GPU memory that one layer may use besides its inputs and outputs."""
    level: Annotated[int, Meta(ge=0, le=5)] = 3
    """How long the builder searches for the fastest kernels, 0 to 5."""


@dataclass(frozen=True, slots=True)
class BuiltPlan:
    """A plan in memory, with what its build reported."""

    plan: bytes
    timing: bytes
    """The timing cache for the next build on the same GPU; empty for TensorRT for RTX."""
    seconds: float
    types: LayerTypes
    inputs: dict[str, TensorSpec]
    outputs: dict[str, TensorSpec]
    log: tuple[str, ...]


def graph_for(source: Path, precision: Precision) -> Path:
    """The graph to build for `precision`: `source`, or its FP16 variant from the cache.

    The types are in the graph itself: no option of the builder turns FP32 into FP16.
    """
    if precision == "fp32":
        return source
    from affectstream.engines.fp16.derive import fp16_file

    return fp16_file(source)


def build(
    graph: Path,
    options: BuildOptions,
    target: Target,
    *,
    name: str = "",
    timing: bytes = b"",
    progress: Progress | None = None,
    stop: threading.Event | None = None,
) -> BuiltPlan:
    """Build a plan of `graph`, which already has the precision of `options` (see `graph_for`).

    Errors call the graph `name`. Set `stop` to cancel; Ctrl-C stops the builder too. Raises `BuildCancelled`
    after a cancellation, `BuildError` when the builder rejects the graph, a profile or an option, or when the
    graph has another precision, and `DeviceError` when the runtime is missing.
    """
    bindings = load(target.runtime)
    if bindings.version != target.version:
        raise BuildError(
            f"{name or graph.name}: a plan for {target.runtime} {target.version} was requested, "
            f"{bindings.version} is installed"
        )
    job = _Job(
        bindings,
        graph,
        name or graph.name,
        options,
        target,
        timing,
        progress,
        stop or threading.Event(),
    )
    thread = threading.Thread(target=job.run, name="build")
    try:
        _start(thread, job)
        return job.built.result()
    except BaseException:  # Ctrl-C most of all, which may come before `start` returns
        if not job.built.done():
            job.stop.set()
            wait([job.built], _STOP_TIMEOUT_S)
        raise


def _start(thread: threading.Thread, job: _Job) -> None:
    try:
        thread.start()
    except RuntimeError as error:  # the system allows no more threads
        job.built.set_exception(BuildError(f"{job.name}: no thread for the build: {error}"))


_STOP_TIMEOUT_S = 60.0
"""A builder stops after its current step."""
_one_at_a_time = threading.Lock()
"""Builders share one log, and each uses all that it can get."""


@dataclass(frozen=True, slots=True)
class _Job:
    bindings: Bindings
    graph: Path
    name: str
    options: BuildOptions
    target: Target
    timing: bytes
    progress: Progress | None
    stop: threading.Event
    built: Future[BuiltPlan] = field(default_factory=Future)

    def run(self) -> None:
        try:
            with _one_at_a_time:
                if self.stop.is_set():
                    raise BuildCancelled(f"{self.name}: the build was cancelled before it began")
                built = self._build()
        except BaseException as error:
            self.built.set_exception(error)
        else:
            self.built.set_result(built)

    def _build(self) -> BuiltPlan:
        started = time.perf_counter()
        log = self.bindings.log
        mark = log.mark()
        builder = self._builder()
        network = parse(self.bindings, builder, self.graph, self.name)
        check_precision(network, self.options.precision)
        config = self._config(builder, network)
        plan = builder.build_serialized_network(network.definition, config)
        lines = log.since(mark)
        if plan is None:
            builder_name = f"{self.target.runtime} {self.target.version}"
            raise build_error(self.name, builder_name, errors_of(lines))
        return BuiltPlan(
            bytes(plan),
            self._timing_cache(config),
            time.perf_counter() - started,
            network.types,
            network.inputs,
            network.outputs,
            _tail(lines),
        )

    def _builder(self) -> Any:
        log = self.bindings.log
        mark = log.mark()
        try:
            return self.bindings.trt.Builder(self.bindings.logger)
        except TypeError as error:  # pybind11 raises it when the library returns no builder
            errors = errors_of(log.since(mark))
            raise DeviceError(
                f"{self.target.runtime} {self.target.version} makes no builder: "
                f"{clean_message(errors[0]) if errors else error}; see affectstream doctor"
            ) from error

    def _config(self, builder: Any, network: Network) -> Any:
        trt, options = self.bindings.trt, self.options
        config = builder.create_builder_config()
        config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, options.workspace_bytes)
        config.builder_optimization_level = options.level
        # The layers that stay in FP32 need more than the 10 bits of TF32.
        config.clear_flag(trt.BuilderFlag.TF32)
        # So that the inspector can read the types of the plan's layers.
        config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED
        config.max_aux_streams = 0  # several networks run at once, each on its own stream
        config.progress_monitor = _monitor(trt, self.progress, self.stop)
        inputs = {name: spec.shape for name, spec in network.inputs.items()}
        if not options.profiles and (free := free_axes(inputs)):
            raise BuildError(
                f"{network.name}: axis {', '.join(free)} is free and no profile was given: "
                "add one, such as --profile 1-8"
            )
        for profile in options.profiles:
            self._add_profile(builder, config, network, profile)
        if self.target.runtime == "tensorrt-rtx":
            # Without it the plan cannot be captured in a CUDA graph.
            config.set_flag(trt.BuilderFlag.REQUIRE_USER_ALLOCATION)
            config.num_compute_capabilities = len(self.target.capabilities)
            for i, number in enumerate(self.target.capabilities):
                config.set_compute_capability(getattr(trt.ComputeCapability, f"SM{number}"), i)
        else:
            # False: refuse the cache of another GPU.
            config.set_timing_cache(config.create_timing_cache(self.timing), False)
        return config

    def _add_profile(self, builder: Any, config: Any, network: Network, profile: Profile) -> None:
        added = builder.create_optimization_profile()
        inputs = {name: spec.shape for name, spec in network.inputs.items()}
        for name, sizes in shapes_for(network.name, inputs, profile).items():
            added.set_shape(name, *sizes)
        if config.add_optimization_profile(added) < 0:
            raise BuildError(f"{network.name}: the builder rejects profile {profile}")

    def _timing_cache(self, config: Any) -> bytes:
        if self.target.runtime == "tensorrt-rtx":  # it measures nothing before the plan runs
            return b""
        return bytes(config.get_timing_cache().serialize())


def _monitor(trt: Any, progress: Progress | None, stop: threading.Event) -> Any:
    phases = Phases()

    class Monitor(trt.IProgressMonitor):  # type: ignore[misc]
        def __init__(self) -> None:
            trt.IProgressMonitor.__init__(self)

        def phase_start(self, phase_name: str, parent_phase: str | None, num_steps: int) -> None:
            phases.start(phase_name, parent_phase, num_steps)

        def step_complete(self, phase_name: str, step: int) -> bool:
            phases.step(phase_name, step)
            if progress is not None:
                progress(phases.fraction)
            return not stop.is_set()  # False cancels the build

        def phase_finish(self, phase_name: str) -> None:
            phases.finish(phase_name)

    return Monitor()


def _tail(lines: list[LogLine]) -> tuple[str, ...]:
    texts = [f"{line.severity}: {line.text}" for line in lines if line.severity != "VERBOSE"]
    return tuple(texts[-LOG_LINES:])
