"""What a plan is built for: one version of a runtime, and the GPUs that run it."""

from __future__ import annotations

import platform
import re
import sys
from collections.abc import Iterable

from msgspec import Struct

from affectstream.engines.errors import BuildError, DeviceError
from affectstream.engines.runtimes.cuda.driver import Gpu, query_gpu
from affectstream.engines.runtimes.nvidia import Bindings, NvidiaRuntime, load

DEFAULT_CAPABILITIES = (80, 86, 89, 120, 121)
"""Compute capabilities that TensorRT for RTX builds for by default. Turing (75) is missing: TensorRT for RTX
has no FP32 matrix products for it, which recurrences and ``--precision fp32`` need."""


class Target(Struct, frozen=True):
    """Everything about the place where a plan runs that determines its content; part of its key."""

    runtime: NvidiaRuntime
    version: str
    platform: str
    """Such as ``linux-x86_64``: plans contain code."""
    capabilities: tuple[int, ...]
    """Compute capabilities in ascending order: 86 for 8.6."""
    gpu: Gpu | None = None
    """The GPU that TensorRT tunes a plan on. None for TensorRT for RTX, which completes a plan on the
    machine that runs it."""

    @property
    def device(self) -> str:
        """Such as ``sm86-sm89`` or ``nvidia-h200-sm90``: the name of a folder of the cache."""
        capabilities = "-".join(f"sm{number}" for number in self.capabilities)
        if self.gpu is None:
            return capabilities
        name = re.sub("[^a-z0-9]+", "-", self.gpu.name.lower()).strip("-")
        return f"{name}-{capabilities}"


def target_for(
    runtime: NvidiaRuntime, capabilities: Iterable[int] = (), *, ordinal: int = 0
) -> Target:
    """The target of plans that are built on this machine.

    For ``tensorrt`` it is GPU number `ordinal`, for ``tensorrt-rtx`` `capabilities` or
    `DEFAULT_CAPABILITIES`. Raises `DeviceError` when the runtime or the GPU is missing, `BuildError` for
    compute capabilities that the runtime does not build for.
    """
    bindings = load(runtime)
    system = f"{sys.platform}-{platform.machine().lower()}"
    requested = tuple(sorted(set(capabilities)))
    if bindings.runtime == "tensorrt-rtx":
        known = buildable_capabilities(bindings)
        if unknown := set(requested) - set(known):
            raise BuildError(
                f"{runtime} {bindings.version} builds for no compute capability "
                f"{_join(unknown)}: choose from {_join(known)}"
            )
        return Target(bindings.runtime, bindings.version, system, requested or DEFAULT_CAPABILITIES)
    gpu = query_gpu(ordinal)  # first, because TensorRT crashes without a driver
    if ordinal and gpu != (first := query_gpu()):
        raise DeviceError(
            f"tensorrt builds on cuda:0, here {first.name}, but cuda:{ordinal} is {gpu.name}: "
            f"make it the first GPU with CUDA_VISIBLE_DEVICES={ordinal}"
        )
    if requested and requested != (gpu.capability,):
        raise BuildError(
            f"tensorrt builds for the GPU that it runs on, here {gpu.name} with compute capability "
            f"{gpu.capability}, not {_join(requested)}: leave --compute-capability out"
        )
    return Target(bindings.runtime, bindings.version, system, (gpu.capability,), gpu)


def buildable_capabilities(bindings: Bindings) -> tuple[int, ...]:
    """Compute capabilities that this version of TensorRT for RTX builds for, in ascending order."""
    names = bindings.trt.ComputeCapability.__members__
    return tuple(sorted(int(name[2:]) for name in names if re.fullmatch(r"SM\d+", name)))


def _join(numbers: Iterable[int]) -> str:
    return ", ".join(map(str, sorted(numbers)))
