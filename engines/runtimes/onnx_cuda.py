"""ONNX Runtime on CUDA, in FP16.

For each set of shapes, inputs and outputs lie at fixed addresses in GPU memory. So the work on them is
captured once as a CUDA graph and replayed with a single launch. ONNX Runtime captures in CUDA's global
mode, in which no other thread may allocate, and it keeps the graphs of each thread apart. So one thread
does all the CUDA work of this module.

There is no silent fallback: it is an error if ONNX Runtime would compute the graph, or a part of it, on the
CPU.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Mapping
from functools import cache, partial
from pathlib import Path
from typing import Self, TypeVar

import onnxruntime

from affectstream.engines.daemon_executor import DaemonExecutor
from affectstream.engines.errors import DeviceError, EngineError
from affectstream.engines.runtimes.bound_session import BoundSession
from affectstream.engines.runtimes.cuda_session import (
    ConvolutionSearch,
    check_build,
    describe_fault,
    open_session,
    preload,
)
from affectstream.engines.runtimes.onnx import ORT_ERRORS, tensor_spec
from affectstream.engines.spec import Array, Steps, check_feeds

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
        check_build()
        preload()
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
                f"{self._name}: ONNX Runtime failed on CUDA: {describe_fault(error)}; use --device cpu"
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
                "%s: cuDNN's slower plans are used, it has no others: %s",
                self._name,
                describe_fault(error),
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


def _open(
    name: str, path: Path, ordinal: int, *, graphs: bool, search: ConvolutionSearch = "HEURISTIC"
) -> BoundSession:
    """Without CUDA graphs where they are not wanted, or ONNX Runtime refuses them.

    Graphs as they are stored, in FP32, get none: on an H200 the face detector's was computed without, and
    replaying it ended with CUDA error 715, after which a process cannot use its GPU any more.
    """
    if not graphs:
        return BoundSession(
            open_session(name, path, ordinal, search, graphs=False), "cuda", ordinal
        )
    try:
        session = open_session(name, path, ordinal, search, graphs=True)
        return BoundSession(session, "cuda", ordinal, graphs=True)
    except DeviceError:
        raise
    except EngineError as refused:
        # A fault of the graph itself is raised again without CUDA graphs.
        session = open_session(name, path, ordinal, search, graphs=False)
        _log.warning("%s: no CUDA graphs, each kernel is launched alone: %s", name, refused)
        return BoundSession(session, "cuda", ordinal)


@cache
def _cuda_thread() -> DaemonExecutor:
    return DaemonExecutor(1, "onnxruntime-cuda")
