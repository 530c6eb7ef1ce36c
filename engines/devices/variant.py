"""One side of `affectstream engines compare`: a device and a precision, written ``DEVICE[:PRECISION]``."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from msgspec import structs

from affectstream.engines.devices.choose import Device, parse_device
from affectstream.engines.devices.open import open_engine
from affectstream.engines.errors import UsageError
from affectstream.engines.fp16.precision import Precision
from affectstream.engines.plans.build import BuildOptions
from affectstream.engines.spec import Engine


@dataclass(frozen=True, slots=True)
class Variant:
    """A device, and the precision that a graph runs in on it."""

    device: Device
    precision: Precision

    @classmethod
    def parse(cls, text: str) -> Variant:
        """Read such as ``cpu``, ``cpu:fp16``, ``cuda:0`` or ``tensorrt:0:fp32``.

        Without a precision the CPU runs FP32 and a GPU runs FP16, as they do in use. Raises `UsageError`
        for anything else, and for ``auto``.
        """
        name, _, suffix = text.rpartition(":")
        precision: Precision | None = (
            "fp16" if suffix == "fp16" else "fp32" if suffix == "fp32" else None
        )
        if precision is None:
            name = text
        if name == "auto":
            raise UsageError(
                "auto cannot be compared, because it depends on the machine: name a device, such as cpu or "
                "cuda:0 (affectstream doctor shows what auto chooses)"
            )
        device = parse_device(name)
        return cls(device, precision or ("fp32" if device.kind == "cpu" else "fp16"))

    def open(self, path: Path, options: BuildOptions | None = None) -> Engine:
        """Open the graph at `path`; a plan that does not exist yet is built with `options`.

        Raises `EngineError` or `DeviceError`.
        """
        fp16 = self.precision == "fp16"
        if self.device.kind == "cpu":
            from affectstream.engines.fp16.derive import fp16_file

            return open_engine(fp16_file(path) if fp16 else path)
        options = structs.replace(options or BuildOptions(), precision=self.precision)
        return open_engine(path, str(self.device), fp16=fp16, options=options)
