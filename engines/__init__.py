"""Compiled graphs, the runtimes that run them, and the bundles that contain them."""

from __future__ import annotations

from importlib import import_module
from importlib.metadata import version
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from affectstream.engines.bundle.bundle import Bundle
    from affectstream.engines.errors import AffectstreamError, BundleError, DeviceError, EngineError
    from affectstream.engines.manifest import Manifest
    from affectstream.engines.runtimes.onnx import OnnxEngine
    from affectstream.engines.spec import Engine, TensorSpec

_MODULES = {
    "AffectstreamError": "errors",
    "Bundle": "bundle.bundle",
    "BundleError": "errors",
    "DeviceError": "errors",
    "Engine": "spec",
    "EngineError": "errors",
    "Manifest": "manifest",
    "OnnxEngine": "runtimes.onnx",
    "TensorSpec": "spec",
}

__all__ = [  # noqa: RUF022 - the order of use
    "Bundle",
    "Manifest",
    "Engine",
    "TensorSpec",
    "OnnxEngine",
    "AffectstreamError",
    "BundleError",
    "EngineError",
    "DeviceError",
]


def __getattr__(name: str) -> Any:
    # Loaded on first use: the errors are needed everywhere, the runtimes are not.
    if name == "__version__":
        return version("affectstream")
    if name not in _MODULES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(f"{__name__}.{_MODULES[name]}"), name)
