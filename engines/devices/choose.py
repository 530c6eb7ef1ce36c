"""Chooses the device that computes: ``auto``, ``cpu``, ``cuda:N``, ``tensorrt:N`` or ``tensorrt-rtx:N``."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, cast, get_args

from affectstream.engines.devices.probe import ProbeResult, probe
from affectstream.engines.errors import DeviceError, UsageError
from affectstream.engines.runtimes.nvidia import RUN_COMMANDS

GpuKind = Literal["tensorrt", "tensorrt-rtx", "cuda"]
DeviceKind = Literal[GpuKind, "cpu"]
GPU_KINDS: tuple[GpuKind, ...] = get_args(GpuKind)
"""In the order in which ``auto`` tries them."""


@dataclass(frozen=True, slots=True)
class Device:
    """A runtime, and the number of the GPU that it uses (0 for the CPU)."""

    kind: DeviceKind
    ordinal: int = 0

    def __str__(self) -> str:
        return "cpu" if self.kind == "cpu" else f"{self.kind}:{self.ordinal}"


@dataclass(frozen=True, slots=True)
class Choice:
    """A device, and why it was chosen."""

    device: str
    reason: str


def parse_device(text: str) -> Device:
    """Read such as ``cpu``, ``cuda`` or ``tensorrt:1``. Raises `UsageError` for anything else."""
    if text == "cpu":
        return Device("cpu")
    match = re.fullmatch(rf"({'|'.join(GPU_KINDS)})(?::(\d+))?", text)
    if match is None:
        raise UsageError(
            f"device {text!r} is not known: choose auto, cpu, cuda:0, tensorrt:0 or tensorrt-rtx:0 "
            "(0 is the number of the GPU)"
        )
    return Device(cast(GpuKind, match[1]), int(match[2] or 0))


def choose(device: str = "auto") -> Choice:
    """Choose a device and try it in another process.

    ``auto`` takes the first that works of TensorRT, TensorRT for RTX, CUDA and the CPU; the reason says
    why each device before it was rejected. A named device is used or refused, never replaced. Raises
    `DeviceError` when it does not work, `UsageError` when its name is unknown.
    """
    if device != "auto":
        return _check_named(parse_device(device))
    driver = probe("driver")
    if not driver.works:
        return Choice("cpu", f"auto: no GPU can be used: {driver.text}")
    rejected: list[str] = []
    for candidate, result in candidates():
        if result.works:
            return Choice(str(candidate), "; ".join([f"auto: {result.text} works", *rejected]))
        rejected.append(f"{candidate}: {result.text}")
    return Choice("cpu", "; ".join(["auto: no GPU can be used", *rejected]))


def candidates(ordinal: int = 0) -> Iterator[tuple[Device, ProbeResult]]:
    """Every runtime on GPU `ordinal` with the result of trying it, fastest first.

    Each is tried when the caller asks for the next item, which takes seconds.
    """
    for kind in GPU_KINDS:
        yield Device(kind, ordinal), _try(kind, ordinal)


def _check_named(device: Device) -> Choice:
    kind = device.kind
    if kind == "cpu":
        return Choice("cpu", "requested")
    result = _try(kind, device.ordinal)
    if not result.works:
        needs = "" if probe("driver").works else f"; it needs {_requirements(kind)}"
        raise DeviceError(
            f"{device} was requested, but {result.text}{needs}, or choose --device cpu"
        )
    return Choice(str(device), f"requested; {result.text} works")


def _try(kind: GpuKind, ordinal: int) -> ProbeResult:
    driver = probe("driver")
    if not driver.works:
        return driver
    if ordinal >= len(driver.gpus):
        known = ", ".join(f"{n} {gpu.name}" for n, gpu in enumerate(driver.gpus))
        return ProbeResult(False, f"there is no GPU {ordinal}: the driver shows {known}")
    return probe(kind, ordinal)


def _requirements(kind: GpuKind) -> str:
    from affectstream.engines.runtimes.cuda_session import INSTALL_COMMAND

    command = INSTALL_COMMAND if kind == "cuda" else RUN_COMMANDS[kind]
    return f"an NVIDIA GPU, its driver, version 580 or later, and: {command}"
