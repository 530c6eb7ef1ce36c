"""Which device computes, and why: ``auto``, ``cpu``, ``cuda:N``, ``tensorrt:N``, ``tensorrt-rtx:N``."""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal, cast, get_args

from affectstream.engines.errors import DeviceError, UsageError
from affectstream.engines.probe import Found, probe

Kind = Literal["tensorrt", "tensorrt-rtx", "cuda", "cpu"]
KINDS: tuple[Kind, ...] = get_args(Kind)
"""In the order in which ``auto`` tries them."""


@dataclass(frozen=True, slots=True)
class Device:
    """What computes, and on which GPU (0 for the CPU)."""

    kind: Kind
    number: int = 0

    def __str__(self) -> str:
        return "cpu" if self.kind == "cpu" else f"{self.kind}:{self.number}"


@dataclass(frozen=True, slots=True)
class Choice:
    """A device and the reason for it, in words."""

    device: str
    reason: str


def parse_device(text: str) -> Device:
    """Read such as ``cpu``, ``cuda`` or ``tensorrt:1``. Raises `UsageError` for anything else."""
    found = re.fullmatch(rf"({'|'.join(KINDS)})(?::(\d+))?", text)
    if found is None or (found[1] == "cpu" and found[2]):
        raise UsageError(
            f"device {text!r} is not known: choose auto, cpu, cuda:0, tensorrt:0 or tensorrt-rtx:0 "
            "(0 is the number of the GPU)"
        )
    return Device(cast(Kind, found[1]), int(found[2] or 0))


def choose(device: str = "auto") -> Choice:
    """Settle on a device that works, as was tried out in another process.

    ``auto`` takes the first that does of TensorRT, TensorRT for RTX, CUDA and the CPU, and says what
    was wrong with those before it. A device that is named is used or refused, never replaced: raises
    `DeviceError` for one that does not work, `UsageError` for one that is not known.
    """
    if device != "auto":
        return _named(parse_device(device))
    driver = probe("driver")
    if not driver.works:
        return Choice("cpu", f"auto: no GPU can be used: {driver.text}")
    rejected: list[str] = []
    for candidate, found in candidates():
        if found.works:
            return Choice(str(candidate), "; ".join([f"auto: {found.text} works", *rejected]))
        rejected.append(f"{candidate}: {found.text}")
    return Choice("cpu", "; ".join(["auto: no GPU can be used", *rejected]))


def candidates(number: int = 0) -> Iterator[tuple[Device, Found]]:
    """Every way of computing on GPU `number`, best first, and what came of trying it.

    The next is tried when it is asked for: that takes seconds.
    """
    for kind in KINDS:
        if kind != "cpu":
            device = Device(kind, number)
            yield device, _tried(device)


def _named(device: Device) -> Choice:
    if device.kind == "cpu":
        return Choice("cpu", "asked for")
    found = _tried(device)
    if not found.works:
        needs = "" if probe("driver").works else f"; it needs {_needs(device.kind)}"
        raise DeviceError(
            f"{device} was asked for, but {found.text}{needs}, or choose --device cpu"
        )
    return Choice(str(device), f"asked for; {found.text} works")


def _tried(device: Device) -> Found:
    assert device.kind != "cpu"  # needs no trying
    driver = probe("driver")
    if not driver.works:
        return driver
    if device.number >= len(driver.gpus):
        known = ", ".join(f"{n} {gpu.name}" for n, gpu in enumerate(driver.gpus))
        return Found(False, f"there is no GPU {device.number}: the driver shows {known}")
    return probe(device.kind, device.number)


def _needs(kind: Kind) -> str:
    from affectstream.engines.runtimes import nvidia, onnx_cuda

    command = onnx_cuda.INSTALL if kind == "cuda" else nvidia.RUN[cast(nvidia.Runtime, kind)]
    return f"an NVIDIA GPU, its driver, version 580 or later, and: {command}"
