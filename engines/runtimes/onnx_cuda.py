"""ONNX Runtime on CUDA, in FP16: the second way to a GPU.

Inputs and outputs of each set of shapes lie in device memory at fixed addresses, so that the work on
them can be captured once as a CUDA graph and replayed with a single launch. ONNX Runtime captures in
CUDA's global mode, where nothing else in the process may allocate meanwhile, and keeps graphs for each
thread apart; so one thread does all that this module does on CUDA.

Nothing falls back silently: it is an error where ONNX Runtime would compute on the CPU, be it the whole
graph or a part of it.
"""

from __future__ import annotations

import contextlib
import ctypes
import io
import logging
import re
import sys
from collections.abc import Callable, Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from functools import cache
from pathlib import Path
from types import TracebackType
from typing import Self, TypeVar

import numpy as np
import onnxruntime

from affectstream.engines.errors import DeviceError, EngineError
from affectstream.engines.runtimes.onnx import ORT_ERRORS, tensor_spec
from affectstream.engines.spec import Array, TensorSpec, check_feeds

INSTALL = "pip uninstall -y onnxruntime && pip install onnx 'onnxruntime-gpu[cuda,cudnn]>=1.24'"
"""Both packages are called `onnxruntime` when imported: with both installed, either may be met."""
MAX_GRAPHS = 16
"""Sets of shapes that keep their memory and graph; enough for all batch sizes and two sizes of picture."""

# What ONNX Runtime does on the CPU on purpose: sums with shapes, which the host needs to know anyway.
# (One of these on real tensors would need copies, and ONNX Runtime makes no CUDA graph of those.)
# fmt: off
_SHAPE_WORK = frozenset((
    "Add", "Cast", "Ceil", "Concat", "Constant", "ConstantOfShape", "Div", "Equal", "Expand",
    "Flatten", "Floor", "Gather", "Greater", "Identity", "Less", "Max", "Min", "Mod", "Mul",
    "Neg", "Not", "Range", "ReduceProd", "Reshape", "Shape", "Size", "Slice", "Split",
    "Squeeze", "Sub", "Unsqueeze", "Where",
))
# fmt: on
_log = logging.getLogger(__name__)
_T = TypeVar("_T")


class CudaEngine:
    """One ONNX file on one GPU through ONNX Runtime."""

    def __init__(self, path: Path, *, ordinal: int = 0, half: bool = True) -> None:
        """Open `path` on GPU number `ordinal`, in FP16 where `half`.

        Raises `DeviceError` when CUDA is not what computes, naming the operators where it is only some
        of them, `EngineError` when the file is not a graph that ONNX Runtime takes.
        """
        _check_build()
        _preload()
        self._name = path.name
        if half:
            from affectstream.engines.fp16 import fp16_file

            path = fp16_file(path)
        self._thread = _cuda_thread()
        self._bound: BoundSession | None = self._call(lambda: _open(self._name, path, ordinal))
        session = self._bound.session
        self._inputs = {i.name: tensor_spec(i) for i in session.get_inputs()}
        self._outputs = {o.name: tensor_spec(o) for o in session.get_outputs()}
        graphs = "CUDA graphs" if self._bound.graphs else "no CUDA graphs"
        precision = "fp16" if half else "as stored"
        self._runtime = (
            f"onnxruntime {onnxruntime.__version__} cuda:{ordinal}, {precision}, {graphs}"
        )

    @property
    def inputs(self) -> Mapping[str, TensorSpec]:
        """Inputs by name."""
        return self._inputs

    @property
    def outputs(self) -> Mapping[str, TensorSpec]:
        """Outputs by name."""
        return self._outputs

    @property
    def runtime(self) -> str:
        """Such as ``onnxruntime 1.31.1 cuda:0, fp16, CUDA graphs``."""
        return self._runtime

    def run(self, feeds: Mapping[str, Array]) -> dict[str, Array]:
        """All outputs by name, as fresh arrays. Safe to call from several threads: they take turns."""
        bound = self._bound
        if bound is None:
            raise EngineError(f"{self._name}: this engine was closed; open it again")
        check_feeds(self._name, self._inputs, feeds)
        try:
            return self._call(lambda: bound.run(feeds))
        except ORT_ERRORS as error:
            raise EngineError(f"{self._name}: ONNX Runtime failed on CUDA: {error}") from error

    def _call(self, work: Callable[[], _T]) -> _T:
        return self._thread.submit(work).result()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._bound is not None:
            bound, self._bound = self._bound, None
            self._call(bound.close)


class BoundSession:
    """A session whose inputs and outputs stay at the same place on a device, for each set of shapes.

    For one thread. `device` is what ONNX Runtime calls it, ``cuda`` or ``cpu``; `graphs` is whether the
    session was opened with ``enable_cuda_graph``.
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
        self._slots: dict[tuple[tuple[int, ...], ...], _Slot] = {}

    def run(self, feeds: Mapping[str, Array]) -> dict[str, Array]:
        """All outputs by name, as fresh arrays.

        The first run with a set of shapes finds the shapes of the outputs, and captures; when there are
        `MAX_GRAPHS` sets already, each run binds its own memory and nothing is captured.
        """
        key = tuple(feeds[name].shape for name in self._inputs)
        known = self._slots.get(key)
        if known is None:
            known = self._first(feeds)
            if len(self._slots) < MAX_GRAPHS:
                self._slots[key] = known = self._fixed(known, len(self._slots) + 1)
            else:
                return self._read(known)
        for name, array in feeds.items():
            known.inputs[name].update_inplace(array)
        self.session.run_with_iobinding(known.binding, known.options)
        return self._read(known)

    def close(self) -> None:
        """Free the buffers and the session, which takes its graphs with it."""
        self._slots.clear()
        del self.session

    def _first(self, feeds: Mapping[str, Array]) -> _Slot:
        """Run once with outputs wherever ONNX Runtime allocates them."""
        slot = _Slot(self.session.io_binding(), graph=-1)
        for name, array in feeds.items():
            slot.inputs[name] = onnxruntime.OrtValue.ortvalue_from_shape_and_type(
                array.shape, array.dtype, self._device, self._ordinal
            )
            slot.inputs[name].update_inplace(array)
            slot.binding.bind_ortvalue_input(name, slot.inputs[name])
        for name in self._outputs:
            slot.binding.bind_output(name, self._device, self._ordinal)
        self.session.run_with_iobinding(slot.binding, slot.options)
        return slot

    def _fixed(self, first: _Slot, graph: int) -> _Slot:
        """The same inputs with outputs of the shapes that came out, at addresses of their own."""
        slot = _Slot(self.session.io_binding(), graph if self.graphs else -1, first.inputs)
        for name, value in slot.inputs.items():
            slot.binding.bind_ortvalue_input(name, value)
        for name, value in zip(self._outputs, first.binding.get_outputs(), strict=True):
            out = onnxruntime.OrtValue.ortvalue_from_shape_and_type(
                value.shape(), value.element_type(), self._device, self._ordinal
            )
            slot.binding.bind_ortvalue_output(name, out)
        return slot

    def _read(self, slot: _Slot) -> dict[str, Array]:
        # On the CPU the arrays would be the bound memory itself, which the next run writes over.
        arrays = slot.binding.copy_outputs_to_cpu()
        copy = self._device == "cpu"
        return {
            name: np.array(array, copy=copy or None)
            for name, array in zip(self._outputs, arrays, strict=True)
        }


class _Slot:
    """One set of shapes: memory for the inputs, and what is bound."""

    def __init__(
        self,
        binding: onnxruntime.IOBinding,
        graph: int,
        inputs: dict[str, onnxruntime.OrtValue] | None = None,
    ) -> None:
        self.binding, self.graph = binding, graph
        self.inputs = {} if inputs is None else inputs
        self.options = onnxruntime.RunOptions()
        # -1 is a run without capture; 0 is ONNX Runtime's own default and not for callers.
        self.options.add_run_config_entry("gpu_graph_id", str(graph))


@cache
def _cuda_thread() -> ThreadPoolExecutor:
    return ThreadPoolExecutor(1, thread_name_prefix="onnxruntime-cuda")


def _check_build() -> None:
    available = onnxruntime.get_available_providers()
    here = f"this onnxruntime {onnxruntime.__version__}"
    if "CUDAExecutionProvider" not in available:
        raise DeviceError(f"{here} has no CUDA, only {', '.join(available)}: {INSTALL}")
    if not hasattr(onnxruntime.InferenceSession, "get_provider_graph_assignment_info"):
        raise DeviceError(f"{here} does not tell what it computes where, 1.24 does: {INSTALL}")


@cache
def _preload() -> None:
    """Load CUDA's and cuDNN's libraries from NVIDIA's Python packages, where they are."""
    with contextlib.redirect_stdout(io.StringIO()):  # it prints; stdout is for results
        onnxruntime.preload_dlls()


def _open(name: str, path: Path, ordinal: int) -> BoundSession:
    try:
        return BoundSession(
            _session(name, path, ordinal, graphs=True), "cuda", ordinal, graphs=True
        )
    except DeviceError:
        raise
    except EngineError as refused:
        # What is wrong with the graph itself is wrong without CUDA graphs too, and then said plainly.
        session = _session(name, path, ordinal, graphs=False)
        _log.warning("%s: no CUDA graphs, each kernel is launched alone: %s", name, refused)
        return BoundSession(session, "cuda", ordinal)


def _session(name: str, path: Path, ordinal: int, *, graphs: bool) -> onnxruntime.InferenceSession:
    options = onnxruntime.SessionOptions()
    options.log_severity_level = 3
    options.add_session_config_entry("session.record_ep_graph_assignment_info", "1")
    provider = {
        "device_id": str(ordinal),
        "enable_cuda_graph": "1" if graphs else "0",
        # Measuring every algorithm takes seconds for each new shape, and may choose otherwise next time.
        "cudnn_conv_algo_search": "HEURISTIC",
        # What stays in FP32 does so because it needs more than the 10 bits of TF32.
        "use_tf32": "0",
    }
    onnxruntime.set_default_logger_severity(4)  # what matters of it is in our own message
    try:
        # With its fallback, which is on by default, a session or a run that fails on CUDA is done
        # again on the CPU, with a word about it on stdout.
        session = onnxruntime.InferenceSession(
            str(path), options, [("CUDAExecutionProvider", provider)], enable_fallback=0
        )
    except ORT_ERRORS as error:
        raise EngineError(f"{name}: ONNX Runtime cannot open it on CUDA: {error}") from error
    except (RuntimeError, ValueError) as error:  # what is raised where CUDA itself is at fault
        said = " ".join(str(error).split())
        fault = re.search(r"CUDA failure \d+: [^;]*[^; ]", said)
        reason = fault[0] if fault else said
        raise DeviceError(f"{name}: ONNX Runtime cannot use cuda:{ordinal}: {reason}") from error
    finally:
        onnxruntime.set_default_logger_severity(2)  # as it was
    check_placement(name, session)
    return session


def check_placement(name: str, session: onnxruntime.InferenceSession) -> None:
    """Raise `DeviceError` where the session computes on anything but CUDA."""
    used = session.get_providers()
    if used[0] != "CUDAExecutionProvider":
        raise DeviceError(
            f"{name}: ONNX Runtime would compute with {used[0]}: its CUDA part does not load "
            f"({_load_fault()}): {INSTALL}"
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
    """Why the CUDA part does not load, which ONNX Runtime tells its log only."""
    before, after = ("", ".dll") if sys.platform == "win32" else ("lib", ".so")
    folder = Path(onnxruntime.__file__).parent / "capi"
    try:
        for part in ("shared", "cuda"):
            library = folder / f"{before}onnxruntime_providers_{part}{after}"
            ctypes.CDLL(str(library), mode=ctypes.RTLD_GLOBAL)
    except OSError as error:
        return str(error)
    return "it refuses this GPU or its driver"


def misplaced(placed: Iterable[tuple[str, str, str]]) -> list[str]:
    """Of nodes as (provider, operator, name), those that should be on CUDA and are not."""
    return [
        f"{operator} {name!r}"
        for provider, operator, name in placed
        if provider != "CUDAExecutionProvider" and operator not in _SHAPE_WORK
    ]
