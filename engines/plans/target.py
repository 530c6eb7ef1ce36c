"""What a plan is built for: a runtime in one version, and the GPUs that are to run it."""

from __future__ import annotations

import platform
import re
import sys
from collections.abc import Iterable

from msgspec import Struct

from affectstream.engines.errors import BuildError, DeviceError
from affectstream.engines.runtimes.cuda.driver import Gpu, look_at
from affectstream.engines.runtimes.nvidia import Bindings, Runtime, load

COMMON = (80, 86, 89, 120, 121)
"""Compute capabilities that a plan of TensorRT for RTX is built for unless told otherwise. Turing (75)
is left out: it has no FP32 matrix products there, which graphs with a recurrence, and those that are
built with ``--precision fp32``, are full of."""


class Target(Struct, frozen=True):
    """All of where a plan runs that decides what is in it; part of a plan's key."""

    runtime: Runtime
    version: str
    platform: str
    """Such as ``linux-x86_64``: plans hold code."""
    capabilities: tuple[int, ...]
    """Compute capabilities, rising: 86 for 8.6."""
    gpu: Gpu | None = None
    """The very GPU that a plan of TensorRT is tuned on. TensorRT for RTX finishes a plan where it is
    run, so it needs none."""

    @property
    def device(self) -> str:
        """Such as ``sm86-sm89`` or ``nvidia-h200-sm90``: names a folder of the cache."""
        where = "-".join(f"sm{number}" for number in self.capabilities)
        if self.gpu is None:
            return where
        return f"{re.sub('[^a-z0-9]+', '-', self.gpu.name.lower()).strip('-')}-{where}"


def target_for(runtime: str, capabilities: Iterable[int] = (), *, ordinal: int = 0) -> Target:
    """The target of plans that are built here.

    For ``tensorrt`` that is GPU number `ordinal`; for ``tensorrt-rtx`` it is `capabilities`, or
    `COMMON`. Raises `DeviceError` where the runtime, or the GPU that it needs, is not there, and
    `BuildError` for compute capabilities that cannot be chosen.
    """
    bindings = load(runtime)
    here = f"{sys.platform}-{platform.machine().lower()}"
    wanted = tuple(sorted(set(capabilities)))
    if bindings.runtime == "tensorrt-rtx":
        known = buildable(bindings)
        if unknown := set(wanted) - set(known):
            raise BuildError(
                f"{runtime} {bindings.version} builds for no compute capability "
                f"{_words(unknown)}: choose from {_words(known)}"
            )
        return Target(bindings.runtime, bindings.version, here, wanted or COMMON)
    gpu = look_at(ordinal)  # TensorRT ends the process where it finds no driver
    if ordinal and gpu != (first := look_at()):
        raise DeviceError(
            f"tensorrt builds on cuda:0, here {first.name}, and cuda:{ordinal} is another, {gpu.name}: "
            f"make that the first by CUDA_VISIBLE_DEVICES={ordinal}"
        )
    if wanted and wanted != (gpu.capability,):
        raise BuildError(
            f"tensorrt builds for the GPU that it runs on, here {gpu.name} with compute capability "
            f"{gpu.capability}, not {_words(wanted)}: leave --compute-capability out"
        )
    return Target(bindings.runtime, bindings.version, here, (gpu.capability,), gpu)


def buildable(bindings: Bindings) -> tuple[int, ...]:
    """Compute capabilities that this TensorRT for RTX can be told to build for, rising."""
    names = bindings.trt.ComputeCapability.__members__
    return tuple(sorted(int(name[2:]) for name in names if re.fullmatch(r"SM\d+", name)))


def _words(numbers: Iterable[int]) -> str:
    return ", ".join(map(str, sorted(numbers)))
