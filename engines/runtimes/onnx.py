"""ONNX Runtime on the CPU, the default."""

from __future__ import annotations

import mmap
from collections.abc import Mapping
from pathlib import Path
from typing import Self

import numpy as np
import onnxruntime

from affectstream.engines.errors import EngineError
from affectstream.engines.spec import Array, TensorSpec, check_feeds

_DTYPES = {
    "tensor(float)": np.float32,
    "tensor(float16)": np.float16,
    "tensor(uint8)": np.uint8,
    "tensor(int64)": np.int64,
    "tensor(int32)": np.int32,
    "tensor(bool)": np.bool_,
}


class OnnxEngine:
    """One ONNX file on the CPU.

    A single `run` uses `threads` threads. The pipeline keeps this at 1 and runs several batches side by
    side instead, because streaming networks are too small to split.
    """

    def __init__(self, path: Path, *, threads: int = 1) -> None:
        """Open `path`. Raises `EngineError` when ONNX Runtime rejects it."""
        self._name = path.name
        options = session_options(path)
        options.intra_op_num_threads = threads
        options.inter_op_num_threads = 1
        options.execution_mode = onnxruntime.ExecutionMode.ORT_SEQUENTIAL
        # A spinning idle worker would occupy the core that decodes the next frame.
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
        try:
            # By default, a session that fails to open is opened again, with a note on stdout.
            self._session: onnxruntime.InferenceSession | None = onnxruntime.InferenceSession(
                str(path), options, providers=["CPUExecutionProvider"], enable_fallback=0
            )
            self.inputs = {i.name: tensor_spec(i) for i in self._session.get_inputs()}
            self.outputs = {o.name: tensor_spec(o) for o in self._session.get_outputs()}
        except ORT_ERRORS as error:
            raise EngineError(f"{path}: ONNX Runtime cannot open it: {error}") from error
        self.runtime = f"onnxruntime {onnxruntime.__version__} cpu"

    def run(self, feeds: Mapping[str, Array]) -> dict[str, Array]:
        """All outputs by name, in new arrays. Several threads may call this at once."""
        if self._session is None:
            raise EngineError(f"{self._name}: this engine was closed; open it again")
        check_feeds(self._name, self.inputs, feeds)
        try:
            outputs = self._session.run(None, dict(feeds))
        except ORT_ERRORS as error:
            raise EngineError(f"{self._name}: ONNX Runtime failed: {error}") from error
        return dict(zip(self.outputs, outputs, strict=True))

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self._session = None


def session_options(path: Path) -> onnxruntime.SessionOptions:
    """Those of every session of the graph in `path`: it logs errors only, and makes stored weights once."""
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    if not _rounds_to_8_bits(path):
        # Weights that are stored in 8 bits become FP32 once. By default they do so in every run, and some
        # products are computed from the 8 bits, which is slower and less exact.
        options.add_session_config_entry("session.disable_quant_qdq", "1")
    return options


_ROUNDS = b"\x22\x0eQuantizeLinear"
"""How a file writes the type of the node that rounds to 8 bits: field 4 of `NodeProto`, 14 bytes."""


def _rounds_to_8_bits(path: Path) -> bool:
    """Whether the graph rounds what it computes by nodes of its own, and does not only store weights so."""
    try:
        with (
            path.open("rb") as file,
            mmap.mmap(file.fileno(), 0, access=mmap.ACCESS_READ) as content,
        ):
            return content.find(_ROUNDS) >= 0
    except (OSError, ValueError):  # missing or empty: ONNX Runtime says so
        return False


def _errors() -> tuple[type[Exception], ...]:
    from onnxruntime.capi import onnxruntime_pybind11_state as state

    names = (
        "EPFail",
        "Fail",
        "InvalidArgument",
        "InvalidGraph",
        "InvalidProtobuf",
        "NoSuchFile",
        "NotImplemented",
        "RuntimeException",
    )
    known = (getattr(state, name) for name in names if hasattr(state, name))
    return (*known, UnicodeDecodeError)  # of a name in the graph that is not UTF-8


ORT_ERRORS = _errors()
"""The errors that ONNX Runtime raises for a file, an option or a feed; they have no common base class."""


def tensor_spec(value: onnxruntime.NodeArg) -> TensorSpec:
    """The specification of an input or output. Raises `EngineError` for an unsupported type."""
    if value.type not in _DTYPES:
        raise EngineError(
            f"tensor {value.name!r} is {value.type}, expected one of {sorted(_DTYPES)}"
        )
    shape = tuple(axis if isinstance(axis, int) else str(axis) for axis in value.shape)
    return TensorSpec(value.name, shape, np.dtype(_DTYPES[value.type]))
