"""Describes a GPU with nothing but NVIDIA's driver library."""

from __future__ import annotations

import ctypes
import sys

from msgspec import Struct

from affectstream.engines.errors import DeviceError

LIBRARY = "nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1"
"""NVIDIA's driver."""
# CUdevice_attribute, by their numbers in cuda.h.
_MULTIPROCESSORS, _MAJOR, _MINOR = 16, 75, 76


class Gpu(Struct, frozen=True):
    """The properties of a GPU that a plan built on it depends on."""

    name: str
    capability: int
    """Compute capability as one number: 89 for 8.9, 120 for 12.0."""
    memory_bytes: int
    multiprocessors: int
    cuda: str
    """Newest CUDA version that the driver supports, such as ``13.0``; a new driver branch raises it."""


def query_gpu(ordinal: int = 0) -> Gpu:
    """Describe GPU number `ordinal`. Raises `DeviceError` when the driver or the GPU is missing.

    It creates no context and uses no GPU memory. A faulty driver may crash the process: if that matters,
    call this in another process first (see `probe`).
    """
    try:
        driver = ctypes.CDLL(LIBRARY)
    except OSError as error:
        raise DeviceError(f"cuda:{ordinal}: NVIDIA's driver does not load: {error}") from error

    def call(name: str, *arguments: object) -> None:
        if code := getattr(driver, name)(*arguments):
            raise DeviceError(f"cuda:{ordinal}: NVIDIA's driver refuses {name}: CUDA error {code}")

    def number(name: str, *arguments: object) -> int:
        value = ctypes.c_int()
        call(name, ctypes.byref(value), *arguments)
        return value.value

    call("cuInit", 0)
    count = number("cuDeviceGetCount")
    if ordinal >= count:
        raise DeviceError(f"cuda:{ordinal} was requested, but the driver shows {count} GPUs")
    device = number("cuDeviceGet", ordinal)
    name = ctypes.create_string_buffer(256)
    call("cuDeviceGetName", name, len(name), device)
    memory = ctypes.c_size_t()
    call("cuDeviceTotalMem_v2", ctypes.byref(memory), device)
    version = number("cuDriverGetVersion")
    return Gpu(
        name=name.value.decode(),
        capability=10 * number("cuDeviceGetAttribute", _MAJOR, device)
        + number("cuDeviceGetAttribute", _MINOR, device),
        memory_bytes=memory.value,
        multiprocessors=number("cuDeviceGetAttribute", _MULTIPROCESSORS, device),
        cuda=f"{version // 1000}.{version % 1000 // 10}",
    )
