"""Building a plan of an ONNX graph with TensorRT or TensorRT for RTX.

Building takes seconds to minutes of one core. It runs on a thread of its own: native code calls back
into Python for progress and messages, and Ctrl-C must not raise in the middle of that.
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
from affectstream.engines.plans.failures import BuildCancelled, failed, plain
from affectstream.engines.plans.network import Network, Precision, Types, demand, parse
from affectstream.engines.plans.profiles import AxisRange, Profile, free_axes, shapes_of
from affectstream.engines.plans.progress import Phases
from affectstream.engines.plans.target import Target
from affectstream.engines.runtimes.nvidia import Bindings, Message, errors_of, load
from affectstream.engines.spec import TensorSpec

ONE = Profile((AxisRange("N", 1, 1, 1),))
MANY = Profile((AxisRange("N", 1, 8, 64),))
LOG_LINES = 40
"""Last lines of the builder's log that are kept with a plan."""
Progress = Callable[[float], None]
"""Takes the fraction that is done, 0 to 1. Called from other threads, often."""


class BuildOptions(Struct, frozen=True):
    """How a plan is built; part of its key. What is not here is the same for all plans."""

    precision: Precision = "fp16"
    profiles: tuple[Profile, ...] = (ONE, MANY)
    """In the plan in this order: a fixed shape is the fastest, a range takes the rest."""
    workspace_bytes: Annotated[int, Meta(gt=0)] = 2 << 30
    """GPU memory that one layer may use beside its inputs and outputs."""
    level: Annotated[int, Meta(ge=0, le=5)] = 3
    """How long the builder looks for the fastest kernels, 0 to 5."""


@dataclass(frozen=True, slots=True)
class Built:
    """A plan that is not yet anywhere."""

    plan: bytes
    timing: bytes
    """The timing cache, for the next build on the same GPU; empty for TensorRT for RTX."""
    seconds: float
    types: Types
    inputs: dict[str, TensorSpec]
    outputs: dict[str, TensorSpec]
    log: tuple[str, ...]


def graph_of(source: Path, precision: Precision) -> Path:
    """The graph that is built for `precision`: `source`, or its FP16 variant from the cache.

    Types are in the graph itself; no option of the builder makes FP16 of FP32.
    """
    if precision == "fp32":
        return source
    from affectstream.engines.fp16 import fp16_file

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
) -> Built:
    """Build a plan of `graph`, which has the precision in question already (see `graph_of`).

    `name` is what errors call the graph. Set `stop` to cancel. Raises `BuildCancelled` then, `BuildError`
    where the graph, a profile or an option is not what the builder takes or another precision would come
    out, `DeviceError` where the runtime is missing. On Ctrl-C the builder is stopped first.
    """
    bindings = load(target.runtime)
    if bindings.version != target.version:
        raise BuildError(
            f"{name or graph.name}: a plan for {target.runtime} {target.version} was asked for, "
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
    except BaseException:  # Ctrl-C above all, which may come before `start` returns
        if not job.built.done():
            job.stop.set()
            wait([job.built], _STOPPING_S)
        raise


def _start(thread: threading.Thread, job: _Job) -> None:
    try:
        thread.start()
    except RuntimeError as error:  # the system gives no more threads: nothing will come of the job
        job.built.set_exception(BuildError(f"{job.name}: no thread for the build: {error}"))


_STOPPING_S = 60.0
"""A builder that was told to stop does so after the step that it is at."""
_one_at_a_time = threading.Lock()
"""Builders share a log, and one saturates what it has."""


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
    built: Future[Built] = field(default_factory=Future)

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

    def _build(self) -> Built:
        began = time.perf_counter()
        messages = self.bindings.messages
        mark = messages.mark()
        builder = self._builder()
        network = parse(self.bindings, builder, self.graph, self.name)
        demand(network, self.options.precision)
        config = self._config(builder, network)
        plan = builder.build_serialized_network(network.definition, config)
        said = messages.since(mark)
        if plan is None:
            what = f"{self.target.runtime} {self.target.version}"
            raise failed(self.name, what, errors_of(said))
        return Built(
            bytes(plan),
            self._timing_of(config),
            time.perf_counter() - began,
            network.types,
            network.inputs,
            network.outputs,
            _tail(said),
        )

    def _builder(self) -> Any:
        messages = self.bindings.messages
        mark = messages.mark()
        try:
            return self.bindings.trt.Builder(self.bindings.logger)
        except TypeError as error:  # how pybind11 says that the library gave none
            said = errors_of(messages.since(mark))
            raise DeviceError(
                f"{self.target.runtime} {self.target.version} makes no builder: "
                f"{plain(said[0]) if said else error}; see affectstream doctor"
            ) from error

    def _config(self, builder: Any, network: Network) -> Any:
        trt, options = self.bindings.trt, self.options
        config = builder.create_builder_config()
        config.set_memory_pool_limit(trt.MemoryPoolType.WORKSPACE, options.workspace_bytes)
        config.builder_optimization_level = options.level
        # TF32 keeps 10 bits of what was left in FP32 because it needs more.
        config.clear_flag(trt.BuilderFlag.TF32)
        # So that the inspector can tell the types of the layers that came out.
        config.profiling_verbosity = trt.ProfilingVerbosity.DETAILED
        config.max_aux_streams = 0  # networks run at once, on a stream each
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
            # Or the plan could not be captured in a CUDA graph.
            config.set_flag(trt.BuilderFlag.REQUIRE_USER_ALLOCATION)
            config.num_compute_capabilities = len(self.target.capabilities)
            for i, number in enumerate(self.target.capabilities):
                config.set_compute_capability(getattr(trt.ComputeCapability, f"SM{number}"), i)
        else:
            # False: a cache of another GPU is refused rather than believed.
            config.set_timing_cache(config.create_timing_cache(self.timing), False)
        return config

    def _add_profile(self, builder: Any, config: Any, network: Network, profile: Profile) -> None:
        added = builder.create_optimization_profile()
        inputs = {name: spec.shape for name, spec in network.inputs.items()}
        for name, sizes in shapes_of(network.name, inputs, profile).items():
            added.set_shape(name, *sizes)
        if config.add_optimization_profile(added) < 0:
            raise BuildError(f"{network.name}: profile {profile} is not taken by the builder")

    def _timing_of(self, config: Any) -> bytes:
        if self.target.runtime == "tensorrt-rtx":  # it times nothing before the plan is run
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


def _tail(lines: list[Message]) -> tuple[str, ...]:
    told = [f"{line.severity}: {line.text}" for line in lines if line.severity != "VERBOSE"]
    return tuple(told[-LOG_LINES:])
