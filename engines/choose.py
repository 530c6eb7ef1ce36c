"""Which device computes, and why."""

from __future__ import annotations

from dataclasses import dataclass

import onnxruntime

from affectstream.engines.errors import DeviceError


@dataclass(frozen=True, slots=True)
class Choice:
    """A device and the reason for it, in words."""

    device: str
    reason: str


def choose(device: str = "auto") -> Choice:
    """Settle ``auto``, ``cpu`` or ``cuda:N``.

    ``auto`` takes the CPU in this version and says so; a device that is named is used or refused,
    never replaced. Raises `DeviceError` for one that is not known or cannot be had.
    """
    if device == "auto":
        gpu = "CUDAExecutionProvider" in onnxruntime.get_available_providers()
        hint = "; --device cuda:0 would use the GPU" if gpu else ""
        return Choice("cpu", f"auto: ONNX Runtime on the CPU is the embedded default{hint}")
    if device == "cpu":
        return Choice("cpu", "asked for")
    if device == "tensorrt":
        raise DeviceError("device tensorrt is not built yet in this version: choose cpu or cuda:0")
    return Choice(f"cuda:{cuda_number(device)}", "asked for")


def cuda_number(device: str) -> str:
    """The ``N`` of ``cuda:N`` (0 for ``cuda``). Raises `DeviceError` for anything else."""
    kind, _, number = device.partition(":")
    if kind != "cuda" or not (number or "0").isdecimal():
        raise DeviceError(
            f"device {device!r} is not known: choose auto, cpu, or cuda:0 (cuda:1, ...)"
        )
    return number or "0"
