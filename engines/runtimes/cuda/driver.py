"""What the GPU is, asked of NVIDIA's driver alone: no other library is loaded for it."""

from __future__ import annotations

import ctypes
import sys

from msgspec import Struct

from affectstream.engines.errors import DeviceError

_LIBRARY = "nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1"
# CUdevice_attribute, by their numbers in cuda.h.
_MULTIPROCESSORS, _MAJOR, _MINOR = 16, 75, 76


class Gpu(Struct, frozen=True):
    """One GPU, as far as a plan that was built on it depends on it."""

    name: str
    capability: int
    """Compute capability as one number: 89 for 8.9, 120 for 12.0."""
    memory_bytes: int
    multiprocessors: int
    cuda: str
    """Newest CUDA that the driver knows, such as ``13.0``; it goes up with the driver's branch."""


def look_at(ordinal: int = 0) -> Gpu:
    """GPU number `ordinal`. Raises `DeviceError` where there is no driver or no such GPU.

    This takes no context and no memory of the GPU. A driver's own faults end the process, so ask in
    another process first where that matters.
    """
    try:
        driver = ctypes.CDLL(_LIBRARY)
    except OSError as error:
        raise DeviceError(f"cuda:{ordinal}: NVIDIA's driver does not load: {error}") from error

    def ask(name: str, *arguments: object) -> None:
        if code := getattr(driver, name)(*arguments):
            raise DeviceError(f"cuda:{ordinal}: NVIDIA's driver refuses {name}: CUDA error {code}")

    def number(call: str, *arguments: object) -> int:
        value = ctypes.c_int()
        ask(call, ctypes.byref(value), *arguments)
        return value.value

    ask("cuInit", 0)
    count = number("cuDeviceGetCount")
    if ordinal >= count:
        raise DeviceError(f"cuda:{ordinal} was asked for, but the driver shows {count} GPUs")
    device = number("cuDeviceGet", ordinal)
    name = ctypes.create_string_buffer(256)
    ask("cuDeviceGetName", name, len(name), device)
    memory = ctypes.c_size_t()
    ask("cuDeviceTotalMem_v2", ctypes.byref(memory), device)
    version = number("cuDriverGetVersion")
    return Gpu(
        name=name.value.decode(),
        capability=10 * number("cuDeviceGetAttribute", _MAJOR, device)
        + number("cuDeviceGetAttribute", _MINOR, device),
        memory_bytes=memory.value,
        multiprocessors=number("cuDeviceGetAttribute", _MULTIPROCESSORS, device),
        cuda=f"{version // 1000}.{version % 1000 // 10}",
    )
