"""The FP16 variant of an ONNX file, derived once and kept.

Inputs and outputs keep their types: the same arrays feed both. What stays in FP32 inside, and why,
is in `half.rules`. Derived files are kept in `half.store`, named by what they were derived from and by
which rules; a file that was changed, or written by halves, is derived again.
"""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import TYPE_CHECKING

from affectstream.engines.errors import DeviceError, EngineError
from affectstream.engines.extras import module_hint
from affectstream.engines.fp16.store import Fp16Store

if TYPE_CHECKING:
    from onnx import ModelProto


_LARGEST_BYTES = 2**31 - 1
"""What a protobuf message can hold."""


FP32_ROLES = frozenset({"face_detector"})
"""Roles that a GPU computes in FP32 too. In FP16 a detector moves landmarks by a hundredth of a pixel, and
with them the crop: enough for the scores of a small face to miss the limit of 0.02 (`bench parity`)."""


def fp16_file(source: Path) -> Path:
    """The FP16 variant of `source`, from the cache or made now; `source` itself where it has FP16
    in it already.

    Raises `EngineError` where `source` is no ONNX graph or has no FP16 form, `DeviceError` where the
    package ``onnx`` is missing. Several processes may ask at once: one derives, the others wait.
    """
    try:
        import onnx

        from affectstream.engines.fp16.graph import is_fp16
        from affectstream.engines.fp16.rules import POLICY
    except ModuleNotFoundError as error:
        if error.name != "onnx":
            raise
        raise DeviceError(
            f"{source.name} in FP16 needs the package onnx: {module_hint('onnx')}"
        ) from error
    try:
        model = onnx.load(str(source))
    except Exception as error:  # protobuf's own kinds differ between its versions
        raise EngineError(f"{source} is not an ONNX graph: {error}") from error
    if is_fp16(model):
        return source
    if model.ByteSize() > _LARGEST_BYTES:
        raise EngineError(
            f"{source} has {model.ByteSize() / 1e9:.1f} GB of weights, FP16 can be derived of up to 2: "
            "export the network in FP16"
        )
    key = hashlib.sha256(model.SerializeToString(deterministic=True))
    key.update(f"half {POLICY} onnx {onnx.__version__}".encode())
    store = Fp16Store()
    try:
        return store.graph_for(
            key.hexdigest(), source.name, lambda: fp16_model(model, source.name).SerializeToString()
        )
    except OSError as error:
        raise EngineError(
            f"{store.root} cannot hold FP16 graphs: {error}; name another folder in AFFECTSTREAM_HOME"
        ) from error


def fp16_model(model: ModelProto, name: str) -> ModelProto:
    """`model` (taken over) in FP16. Raises `EngineError`, calling it `name`, where it cannot be."""
    from onnx.inliner import inline_local_functions

    from affectstream.engines.fp16.graph import Half

    return Half(inline_local_functions(model) if model.functions else model, name).model
