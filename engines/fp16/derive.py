"""Derives the FP16 variant of an ONNX file once, and keeps it in a cache.

The variant has the same inputs and outputs, of the same types. `fp16.rules` says what stays in FP32 inside,
and why. The variant's name in `fp16.store` is a hash of the graph and the version of the rules, and the
store checks its content: a damaged variant is derived again.
"""

from __future__ import annotations

import hashlib
from pathlib import Path

from affectstream.engines.errors import DeviceError, EngineError
from affectstream.engines.extras import module_hint
from affectstream.engines.fp16.store import Fp16Store

_LARGEST_BYTES = 2**31 - 1
"""The most that a protobuf message can hold."""


def fp16_file(source: Path) -> Path:
    """The FP16 variant of `source`, from the cache or derived now; `source` itself if it contains FP16.

    Raises `EngineError` when `source` is not an ONNX graph or has no FP16 variant, `DeviceError` when the
    package ``onnx`` is missing. If several processes call this at once, one derives and the others wait.
    """
    try:
        import onnx

        from affectstream.engines.fp16.graph import fp16_model, is_fp16
        from affectstream.engines.fp16.rules import RULES_VERSION
        from affectstream.engines.fp16.stored import read_stored_weights
    except ModuleNotFoundError as error:
        if error.name != "onnx":
            raise
        raise DeviceError(
            f"{source.name} in FP16 needs the package onnx: {module_hint('onnx')}"
        ) from error
    try:
        model = onnx.load(str(source))
    except Exception as error:  # protobuf's error classes differ between its versions
        raise EngineError(f"{source} is not an ONNX graph: {error}") from error
    read_stored_weights(model)
    if is_fp16(model):
        return source
    if model.ByteSize() > _LARGEST_BYTES:
        raise EngineError(
            f"{source} has {model.ByteSize() / 1e9:.1f} GB of weights, FP16 can be derived of up to 2: "
            "export the network in FP16"
        )
    key = hashlib.sha256(model.SerializeToString(deterministic=True))
    key.update(f"half {RULES_VERSION} onnx {onnx.__version__}".encode())
    store = Fp16Store()
    try:
        return store.graph_for(
            key.hexdigest(), source.name, lambda: fp16_model(model, source.name).SerializeToString()
        )
    except UnicodeDecodeError as error:
        raise EngineError(f"{source}: a name in the graph is not UTF-8: export it again") from error
    except OSError as error:
        raise EngineError(
            f"{store.root} cannot hold FP16 graphs: {error}; name another folder in AFFECTSTREAM_HOME"
        ) from error
