"""What `affectstream engines compare` is given: two names ``DEVICE[:PRECISION]``, and feeds from a file."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING
from zipfile import BadZipFile, is_zipfile

import numpy as np

from affectstream.engines.choose import Device, parse_device
from affectstream.engines.compare import Feeds
from affectstream.engines.errors import EngineError, UsageError
from affectstream.engines.spec import Array, Engine

if TYPE_CHECKING:
    from affectstream.engines.plans.build import BuildOptions


@dataclass(frozen=True, slots=True)
class Rival:
    """A device, and whether the graph is in FP16 on it."""

    device: Device
    half: bool

    @classmethod
    def parse(cls, text: str) -> Rival:
        """``cpu``, ``cuda:0``, ``tensorrt:0`` or ``tensorrt-rtx:0``, with ``:fp16`` or ``:fp32``
        behind it; without, the CPU computes in FP32 and a GPU in FP16, as they do when scoring.

        Raises `UsageError` for anything else, ``auto`` included.
        """
        name, _, precision = text.rpartition(":")
        if precision not in ("fp16", "fp32"):
            name, precision = text, ""
        if name == "auto":
            raise UsageError(
                "auto cannot be compared, it is another device on another machine: name one, such as "
                "cpu or cuda:0 (affectstream doctor tells what auto takes)"
            )
        device = parse_device(name)
        return cls(device, precision == "fp16" if precision else device.kind != "cpu")


def open_engine(rival: Rival, path: Path, options: BuildOptions | None = None) -> Engine:
    """Open the graph at `path` as `rival` says; `options` are for a plan that is not there yet.

    Raises `EngineError` or `DeviceError`.
    """
    if rival.device.kind == "cpu":
        from affectstream.engines.fp16 import fp16_file
        from affectstream.engines.runtimes.onnx import OnnxEngine

        return OnnxEngine(fp16_file(path) if rival.half else path)
    if rival.device.kind == "cuda":
        from affectstream.engines.runtimes.onnx_cuda import CudaEngine

        return CudaEngine(path, ordinal=rival.device.number, half=rival.half)
    from msgspec.structs import replace

    from affectstream.engines.open import open_engine as open_on
    from affectstream.engines.plans.build import BuildOptions

    asked = replace(options or BuildOptions(), precision="fp16" if rival.half else "fp32")
    return open_on(path, str(rival.device), options=asked)


_RECORD = "write feeds with: affectstream bench feeds CLIP --output feeds.npz"


def read_feeds(path: Path) -> dict[str, Feeds]:
    """Feeds by role from an ``.npz`` with an array for each ``role/number/input``.

    `affectstream bench feeds` writes such files. Raises `EngineError` for another kind of file.
    """
    found: dict[str, dict[int, dict[str, Array]]] = {}
    if not path.is_file():
        raise EngineError(f"{path} was not found: {_RECORD}")
    if not is_zipfile(path):
        raise EngineError(f"{path} is no .npz file, or is cut short: {_RECORD}")
    try:
        with np.load(path, allow_pickle=False) as arrays:
            for key in arrays.files:
                role, number, name = key.rsplit("/", 2)  # a member's role has one itself
                found.setdefault(role, {}).setdefault(int(number), {})[name] = arrays[key]
    except (OSError, ValueError, AttributeError, TypeError, EOFError, BadZipFile) as error:
        raise EngineError(
            f"{path} holds no feeds, which are arrays named role/number/input ({error}): {_RECORD}"
        ) from error
    return {role: [calls[n] for n in sorted(calls)] for role, calls in found.items()}
