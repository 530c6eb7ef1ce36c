"""Opens ONNX Runtime on CUDA, and refuses where it would compute the graph, or a part of it, on the CPU."""

from __future__ import annotations

import contextlib
import ctypes
import io
import re
import sys
from collections.abc import Iterable
from functools import cache
from pathlib import Path
from typing import Literal

import onnxruntime

from affectstream.engines.errors import DeviceError, EngineError
from affectstream.engines.runtimes.cuda_operators import graph_for_cuda
from affectstream.engines.runtimes.onnx import ORT_ERRORS, session_options

INSTALL_COMMAND = (
    "pip uninstall -y onnxruntime && pip install onnx 'onnxruntime-gpu[cuda,cudnn]>=1.24'"
)
"""Both packages install the module `onnxruntime`; with both installed, either may be imported."""
# Operators that ONNX Runtime runs on the CPU on purpose: arithmetic on shapes, which the host needs anyway.
# (On real tensors they would need copies, of which ONNX Runtime makes no CUDA graph.)
# fmt: off
_SHAPE_WORK = frozenset((
    "Add", "Cast", "Ceil", "Concat", "Constant", "ConstantOfShape", "Div", "Equal", "Expand",
    "Flatten", "Floor", "Gather", "Greater", "Identity", "Less", "Max", "Min", "Mod", "Mul",
    "Neg", "Not", "Range", "ReduceProd", "Reshape", "Shape", "Size", "Slice", "Split",
    "Squeeze", "Sub", "Unsqueeze", "Where",
))
# fmt: on
ConvolutionSearch = Literal["HEURISTIC", "DEFAULT"]
"""How cuDNN chooses: by what is usually fastest, or from what always works (its mode A and its fallback)."""


def check_build() -> None:
    """Raise `DeviceError` for an ONNX Runtime without CUDA, or one that is too old."""
    available = onnxruntime.get_available_providers()
    here = f"this onnxruntime {onnxruntime.__version__}"
    if "CUDAExecutionProvider" not in available:
        raise DeviceError(f"{here} has no CUDA, only {', '.join(available)}: {INSTALL_COMMAND}")
    if not hasattr(onnxruntime.InferenceSession, "get_provider_graph_assignment_info"):
        raise DeviceError(
            f"{here} does not report what it computes where, 1.24 does: {INSTALL_COMMAND}"
        )


@cache
def preload() -> None:
    """Load CUDA's and cuDNN's libraries from NVIDIA's Python packages, if installed."""
    with contextlib.redirect_stdout(io.StringIO()):  # it prints, but stdout is for results
        onnxruntime.preload_dlls()


def open_session(
    name: str, path: Path, ordinal: int, search: ConvolutionSearch, *, graphs: bool
) -> onnxruntime.InferenceSession:
    """Of the graph in `path`, on GPU number `ordinal`; messages call it `name`.

    Raises `DeviceError` where CUDA cannot be used or would not compute all of it, `EngineError` for a graph
    that ONNX Runtime refuses.
    """
    options = session_options(path)
    options.add_session_config_entry("session.record_ep_graph_assignment_info", "1")
    provider = {
        "device_id": str(ordinal),
        "enable_cuda_graph": "1" if graphs else "0",
        # Measuring every algorithm takes seconds for each new shape, and its choice varies.
        "cudnn_conv_algo_search": search,
        # The nodes that stay in FP32 need more than the 10 bits of TF32.
        "use_tf32": "0",
    }
    onnxruntime.set_default_logger_severity(4)  # our own message has the essentials
    graph = graph_for_cuda(path) or str(path)
    try:
        # By default, a session or run that fails on CUDA is repeated on the CPU, with a note on stdout.
        session = onnxruntime.InferenceSession(
            graph, options, [("CUDAExecutionProvider", provider)], enable_fallback=0
        )
    except ORT_ERRORS as error:
        raise EngineError(f"{name}: ONNX Runtime cannot open it on CUDA: {error}") from error
    except (RuntimeError, ValueError) as error:  # raised for faults of CUDA itself
        raise DeviceError(
            f"{name}: ONNX Runtime cannot use cuda:{ordinal}: {describe_fault(error)}"
        ) from error
    finally:
        onnxruntime.set_default_logger_severity(2)  # the default
    check_placement(name, session)
    return session


def describe_fault(error: Exception) -> str:
    """What CUDA or cuDNN reported, without ONNX Runtime's own lines around it."""
    message = " ".join(str(error).split())
    node = re.search(r"running \w+ node\. Name:'[^']*'", message)
    fault = re.search(r"(CUDA|CUDNN|CUDNN_FE|CUBLAS) failure \d+: [^;]*[^; ]", message)
    parts = [found[0] for found in (node, fault) if found]
    return ": ".join(parts) if fault else message


def check_placement(name: str, session: onnxruntime.InferenceSession) -> None:
    """Raise `DeviceError` if the session would compute anywhere but on CUDA."""
    providers = session.get_providers()
    if providers[0] != "CUDAExecutionProvider":
        raise DeviceError(
            f"{name}: ONNX Runtime would compute with {providers[0]}: its CUDA part does not load "
            f"({_load_fault()}): {INSTALL_COMMAND}"
        )
    placed = [
        (part.ep_name, node.op_type, node.name)
        for part in session.get_provider_graph_assignment_info()
        for node in part.get_nodes()
    ]
    if wrong := misplaced(placed):
        raise DeviceError(
            f"{name}: ONNX Runtime would compute {len(wrong)} of {len(placed)} nodes on the CPU, "
            f"{', '.join(wrong[:5])}{', ...' if len(wrong) > 5 else ''}: it has no CUDA kernel for them; "
            "use another operator, or --device cpu"
        )


def _load_fault() -> str:
    """Why ONNX Runtime's CUDA part does not load, which only its log says."""
    prefix, suffix = ("", ".dll") if sys.platform == "win32" else ("lib", ".so")
    folder = Path(onnxruntime.__file__).parent / "capi"
    try:
        for part in ("shared", "cuda"):
            library = folder / f"{prefix}onnxruntime_providers_{part}{suffix}"
            ctypes.CDLL(str(library), mode=ctypes.RTLD_GLOBAL)
    except OSError as error:
        return str(error)
    return "it refuses this GPU or its driver"


def misplaced(placed: Iterable[tuple[str, str, str]]) -> list[str]:
    """Of `placed` (provider, operator, name), the nodes that should run on CUDA and do not."""
    return [
        f"{operator} {name!r}"
        for provider, operator, name in placed
        if provider != "CUDAExecutionProvider" and operator not in _SHAPE_WORK
    ]
