"""ONNX Runtime on CUDA, in FP16.

For each set of shapes, inputs and outputs lie at fixed addresses in GPU memory. So the work on them is
captured once as a CUDA graph and replayed with a single launch. ONNX Runtime captures in CUDA's global
mode, in which no other thread may allocate, and it keeps the graphs of each thread apart. So one thread
does all the CUDA work of this module.

There is no silent fallback: it is an error if ONNX Runtime would compute the graph, or a part of it, on the
CPU.
"""

from __future__ import annotations

import contextlib
import ctypes
import io
import logging
import re
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from functools import cache, partial
from pathlib import Path
from typing import Literal, Self, TypeVar

import numpy as np
import onnxruntime

from affectstream.engines.daemon_executor import DaemonExecutor
from affectstream.engines.errors import DeviceError, EngineError
from affectstream.engines.runtimes.cuda_operators import graph_for_cuda
from affectstream.engines.runtimes.onnx import ORT_ERRORS, tensor_spec
from affectstream.engines.spec import Array, Steps, check_feeds

INSTALL_COMMAND = (
    "pip uninstall -y onnxruntime && pip install onnx 'onnxruntime-gpu[cuda,cudnn]>=1.24'"
)
"""Both packages install the module `onnxruntime`; with both installed, either may be imported."""
MAX_SHAPE_SETS = 16
"""Sets of shapes that keep their memory and graph: enough for all batch sizes and two picture sizes."""

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
_FAULTS: tuple[type[Exception], ...] = (RuntimeError, *ORT_ERRORS)
_log = logging.getLogger(__name__)
Result = TypeVar("Result")


class CudaEngine:
    """One ONNX file on one GPU through ONNX Runtime."""

    def __init__(self, path: Path, *, ordinal: int = 0, fp16: bool = True) -> None:
        """Open `path` on GPU number `ordinal`, with `fp16` its FP16 variant.

        Raises `DeviceError` when CUDA would not compute the whole graph (it names the operators),
        `EngineError` when ONNX Runtime rejects the file.
        """
        _check_build()
        _preload()
        self._name = path.name
        if fp16:
            from affectstream.engines.fp16.derive import fp16_file

            path = fp16_file(path)
        self._thread = _cuda_thread()
        self._open = partial(_open, self._name, path, ordinal, graphs=fp16)
        self._bound: BoundSession | None = self._call(self._open)
        self._fell_back = False
        session = self._bound.session
        self.inputs = {i.name: tensor_spec(i) for i in session.get_inputs()}
        self.outputs = {o.name: tensor_spec(o) for o in session.get_outputs()}
        graphs = "CUDA graphs" if self._bound.graphs else "no CUDA graphs"
        precision = "fp16" if fp16 else "as stored"
        self.runtime = (
            f"onnxruntime {onnxruntime.__version__} cuda:{ordinal}, {precision}, {graphs}"
        )

    def run(self, feeds: Mapping[str, Array]) -> dict[str, Array]:
        """All outputs by name, in new arrays. Several threads may call this; they take turns."""
        return self._run(feeds, BoundSession.run)

    def run_timed(self, feeds: Mapping[str, Array]) -> tuple[dict[str, Array], Steps]:
        """See `TimedEngine`."""
        return self._run(feeds, BoundSession.run_timed)

    def _run(
        self,
        feeds: Mapping[str, Array],
        run: Callable[[BoundSession, Mapping[str, Array]], Result],
    ) -> Result:
        check_feeds(self._name, self.inputs, feeds)
        try:
            return self._call(lambda: self._attempt(feeds, run))
        except ORT_ERRORS as error:
            raise EngineError(f"{self._name}: ONNX Runtime failed on CUDA: {error}") from error
        except RuntimeError as error:  # raised for faults of CUDA and cuDNN themselves
            raise EngineError(
                f"{self._name}: ONNX Runtime failed on CUDA: {_fault(error)}; use --device cpu"
            ) from error

    def _attempt(
        self,
        feeds: Mapping[str, Array],
        run: Callable[[BoundSession, Mapping[str, Array]], Result],
    ) -> Result:
        """Run on the CUDA thread; once more with other plans where cuDNN finds none of the usual ones."""
        bound = self._bound
        if bound is None:
            raise EngineError(f"{self._name}: this engine was closed; open it again")
        try:
            return run(bound, feeds)
        except _FAULTS as error:
            if self._fell_back or "CUDNN_FE failure" not in str(error):
                raise
            _log.warning(
                "%s: cuDNN's slower plans are used, it has no others: %s", self._name, _fault(error)
            )
        self._fell_back = True
        bound.close()
        self._bound = self._open(search="DEFAULT")
        return run(self._bound, feeds)

    def _call(self, work: Callable[[], Result]) -> Result:
        return self._thread.submit(work).result()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        if self._bound is not None:
            bound, self._bound = self._bound, None
            self._call(bound.close)


class BoundSession:
    """A session with fixed device memory for the inputs and outputs of each set of shapes.

    For use by one thread. `device` is ``cuda`` or ``cpu``; `graphs` says whether the session was opened
    with ``enable_cuda_graph``.
    """

    def __init__(
        self,
        session: onnxruntime.InferenceSession,
        device: str,
        ordinal: int = 0,
        *,
        graphs: bool = False,
    ) -> None:
        self.session = session
        self.graphs = graphs
        self._device, self._ordinal = device, ordinal
        self._inputs = [i.name for i in session.get_inputs()]
        self._outputs = [o.name for o in session.get_outputs()]
        self._bindings: dict[tuple[tuple[int, ...], ...], _Binding] = {}

    def run(self, feeds: Mapping[str, Array]) -> dict[str, Array]:
        """All outputs by name, in new arrays.

        The first run of a set of shapes finds the shapes of the outputs and captures the graph. Beyond
        `MAX_SHAPE_SETS` sets, a run binds its own memory and nothing is captured.
        """
        key = self._key(feeds)
        bound = self._bindings.get(key)
        if bound is None:
            bound = self._run_unbound(feeds)
            if len(self._bindings) == MAX_SHAPE_SETS:
                return self._read(bound)
            self._bindings[key] = bound = self._bind_outputs(bound, len(self._bindings) + 1)
        for name, array in feeds.items():
            bound.inputs[name].update_inplace(array)
        self.session.run_with_iobinding(bound.binding, bound.options)
        return self._read(bound)

    def run_timed(self, feeds: Mapping[str, Array]) -> tuple[dict[str, Array], Steps]:
        """As `run`, with the times of its steps.

        Raises `EngineError` beyond `MAX_SHAPE_SETS` sets of shapes, which have no memory of their own.
        """
        if self._key(feeds) not in self._bindings:
            self.run(feeds)
        bound = self._bindings.get(self._key(feeds))
        if bound is None:
            raise EngineError(
                f"{MAX_SHAPE_SETS} sets of shapes are bound already: open the engine again to time more"
            )
        began = time.perf_counter()
        for name, array in feeds.items():
            bound.inputs[name].update_inplace(array)
        copied = time.perf_counter()
        self.session.run_with_iobinding(bound.binding, bound.unsynchronized)
        launched = time.perf_counter()
        bound.binding.synchronize_outputs()
        computed = time.perf_counter()
        outputs = self._read(bound)
        read = time.perf_counter()
        steps = Steps(copied - began, launched - copied, computed - copied, read - computed)
        return outputs, steps

    def _key(self, feeds: Mapping[str, Array]) -> tuple[tuple[int, ...], ...]:
        return tuple(feeds[name].shape for name in self._inputs)

    def close(self) -> None:
        """Free the buffers and the session with its graphs."""
        self._bindings.clear()
        del self.session

    def _run_unbound(self, feeds: Mapping[str, Array]) -> _Binding:
        """Run once with outputs where ONNX Runtime allocates them."""
        bound = _Binding(self.session.io_binding(), graph=-1)
        for name, array in feeds.items():
            bound.inputs[name] = onnxruntime.OrtValue.ortvalue_from_shape_and_type(
                array.shape, array.dtype, self._device, self._ordinal
            )
            bound.inputs[name].update_inplace(array)
            bound.binding.bind_ortvalue_input(name, bound.inputs[name])
        for name in self._outputs:
            bound.binding.bind_output(name, self._device, self._ordinal)
        self.session.run_with_iobinding(bound.binding, bound.options)
        return bound

    def _bind_outputs(self, first: _Binding, graph: int) -> _Binding:
        """The inputs of `first`, with fixed memory for outputs of the shapes that it found."""
        bound = _Binding(self.session.io_binding(), graph if self.graphs else -1, first.inputs)
        for name, value in bound.inputs.items():
            bound.binding.bind_ortvalue_input(name, value)
        for name, value in zip(self._outputs, first.binding.get_outputs(), strict=True):
            out = onnxruntime.OrtValue.ortvalue_from_shape_and_type(
                value.shape(), value.element_type(), self._device, self._ordinal
            )
            bound.binding.bind_ortvalue_output(name, out)
        return bound

    def _read(self, bound: _Binding) -> dict[str, Array]:
        # On the CPU the arrays are the bound memory itself, which the next run overwrites.
        arrays = bound.binding.copy_outputs_to_cpu()
        copy = self._device == "cpu"
        return {
            name: np.array(array, copy=copy or None)
            for name, array in zip(self._outputs, arrays, strict=True)
        }


class _Binding:
    """Memory of the inputs and bound tensors of one set of shapes."""

    def __init__(
        self,
        binding: onnxruntime.IOBinding,
        graph: int,
        inputs: dict[str, onnxruntime.OrtValue] | None = None,
    ) -> None:
        self.binding, self.graph = binding, graph
        self.inputs = {} if inputs is None else inputs
        self.options, self.unsynchronized = onnxruntime.RunOptions(), onnxruntime.RunOptions()
        self.unsynchronized.add_run_config_entry("disable_synchronize_execution_providers", "1")
        for options in (self.options, self.unsynchronized):
            # -1 runs without capture; 0 is ONNX Runtime's default and not for callers.
            options.add_run_config_entry("gpu_graph_id", str(graph))


@cache
def _cuda_thread() -> DaemonExecutor:
    return DaemonExecutor(1, "onnxruntime-cuda")


def _check_build() -> None:
    available = onnxruntime.get_available_providers()
    here = f"this onnxruntime {onnxruntime.__version__}"
    if "CUDAExecutionProvider" not in available:
        raise DeviceError(f"{here} has no CUDA, only {', '.join(available)}: {INSTALL_COMMAND}")
    if not hasattr(onnxruntime.InferenceSession, "get_provider_graph_assignment_info"):
        raise DeviceError(
            f"{here} does not report what it computes where, 1.24 does: {INSTALL_COMMAND}"
        )


@cache
def _preload() -> None:
    """Load CUDA's and cuDNN's libraries from NVIDIA's Python packages, if installed."""
    with contextlib.redirect_stdout(io.StringIO()):  # it prints, but stdout is for results
        onnxruntime.preload_dlls()


def _open(
    name: str, path: Path, ordinal: int, *, graphs: bool, search: ConvolutionSearch = "HEURISTIC"
) -> BoundSession:
    """Without CUDA graphs where they are not wanted, or ONNX Runtime refuses them.

    Graphs as they are stored, in FP32, get none: on an H200 the face detector's was computed without, and
    replaying it ended with CUDA error 715, after which a process cannot use its GPU any more.
    """
    if not graphs:
        return BoundSession(_session(name, path, ordinal, search, graphs=False), "cuda", ordinal)
    try:
        session = _session(name, path, ordinal, search, graphs=True)
        return BoundSession(session, "cuda", ordinal, graphs=True)
    except DeviceError:
        raise
    except EngineError as refused:
        # A fault of the graph itself is raised again without CUDA graphs.
        session = _session(name, path, ordinal, search, graphs=False)
        _log.warning("%s: no CUDA graphs, each kernel is launched alone: %s", name, refused)
        return BoundSession(session, "cuda", ordinal)


def _session(
    name: str, path: Path, ordinal: int, search: ConvolutionSearch, *, graphs: bool
) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
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
            f"{name}: ONNX Runtime cannot use cuda:{ordinal}: {_fault(error)}"
        ) from error
    finally:
        onnxruntime.set_default_logger_severity(2)  # the default
    check_placement(name, session)
    return session


def _fault(error: Exception) -> str:
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
