"""Tests in another process whether a GPU can be used.

A half-installed driver or runtime may crash or hang instead of raising an error. So each is tried by
``python -m affectstream.engines.devices.probe TARGET``. It prints every step before it takes it: after a
crash the last line is the step that failed.
"""

from __future__ import annotations

import ctypes
import functools
import signal
import subprocess
import sys
import tempfile
from contextlib import suppress
from importlib import import_module
from pathlib import Path
from typing import IO, Literal, cast

import msgspec
import numpy as np
from msgspec import Struct

from affectstream.engines.errors import AffectstreamError, DeviceError
from affectstream.engines.runtimes.cuda.driver import LIBRARY, Gpu, query_gpu
from affectstream.engines.runtimes.nvidia import NvidiaRuntime
from affectstream.engines.spec import Engine

ProbeTarget = Literal["driver", "cuda", NvidiaRuntime]
LIMIT_S = 120.0
"""Time limit. The first plan on a cold machine, which loads a library of two gigabytes, takes most of a
minute."""
_KILL_WAIT_S = 2.0
"""A killed process ends within this time, unless it is stuck in the kernel."""

# y = x * x with x (N, 4) float32, opset 17: `onnx` itself may be absent.
SQUARE_GRAPH = (
    b'\x08\x08:?\n\x0e\n\x01x\n\x01x\x12\x01y"\x03Mul\x12\x01gZ\x14\n\x01x\x12\x0f\n\r\x08\x01\x12'
    b"\t\n\x03\x12\x01N\n\x02\x08\x04b\x14\n\x01y\x12\x0f\n\r\x08\x01\x12\t\n\x03\x12\x01N\n\x02\x08"
    b"\x04B\x04\n\x00\x10\x11"
)
_CUDA_ERRORS = {  # of cuInit, from cuda.h
    100: "it finds no GPU",
    802: "the GPU is not ready yet",
    803: "driver and library are of different versions: restart the machine",
    804: "this GPU takes no forward-compatible library: remove the cuda-compat package",
    999: "unknown error: reload the driver or restart the machine",
}


class ProbeResult(Struct, frozen=True):
    """Whether the target works."""

    works: bool
    text: str
    """The name of what works, or why it does not work."""
    gpus: tuple[Gpu, ...] = ()
    """All GPUs, when the target is the driver."""
    loads: bool = True
    """False when NVIDIA's driver does not load: the machine has no usable GPU at all."""


class _Line(Struct, frozen=True, forbid_unknown_fields=True):
    """One line of the child's output: the next step, or the result."""

    step: str = ""
    result: ProbeResult | None = None


def probe(target: ProbeTarget, ordinal: int = 0, *, limit_s: float = LIMIT_S) -> ProbeResult:
    """Try the driver, or a runtime on GPU number `ordinal`. Results are cached.

    It raises no error and cannot end this process. Without a driver it returns at once.
    """
    return _probe(target, ordinal, limit_s)


@functools.cache
def _probe(target: ProbeTarget, ordinal: int, limit_s: float) -> ProbeResult:
    try:
        ctypes.CDLL(LIBRARY)
    except OSError as error:
        return ProbeResult(False, f"NVIDIA's driver does not load ({error})", loads=False)
    # -P: do not import a file of the current folder that has the name of a library.
    command = [sys.executable, "-P", "-m", __name__, target, str(ordinal)]
    # Files, not pipes: reading a pipe would wait for a child that cannot be killed.
    with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as errors:
        child = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=errors)
        code = _wait(child, limit_s)
        last_step, result = _parse_output(_read_all(output))
        if code is None:
            return ProbeResult(False, f"{last_step} was not done after {limit_s:g} s")
        if result is not None:
            return result
        lines = _read_all(errors).decode(errors="replace").strip().splitlines()
    detail = f" ({lines[-1]})" if lines else ""
    return ProbeResult(False, f"{last_step} ended the process with {_exit_status(code)}{detail}")


def _wait(child: subprocess.Popen[bytes], limit_s: float) -> int | None:
    """The exit status of `child`. After the time limit `child` is killed and the result is None.

    A child that is stuck in the driver survives SIGKILL and is left behind.
    """
    try:
        return child.wait(limit_s)
    except subprocess.TimeoutExpired:
        return None
    finally:  # also after Ctrl-C
        if child.poll() is None:
            child.kill()
            with suppress(subprocess.TimeoutExpired):
                child.wait(_KILL_WAIT_S)


def _read_all(file: IO[bytes]) -> bytes:
    file.seek(0)
    return file.read()


def _parse_output(output: bytes) -> tuple[str, ProbeResult | None]:
    """The last step, and the result. Lines that native libraries printed are skipped."""
    step, result = "starting Python", None
    for text in output.splitlines():
        with suppress(msgspec.DecodeError):
            line = msgspec.json.decode(text, type=_Line)
            step, result = line.step or step, line.result or result
    return step, result


def _exit_status(code: int) -> str:
    if code >= 0:
        return f"exit code {code}"
    try:
        return signal.Signals(-code).name
    except ValueError:
        return f"signal {-code}"


def _print_line(line: _Line) -> None:
    print(msgspec.json.encode(line).decode(), flush=True)


def _begin(step: str) -> None:
    _print_line(_Line(step))


def _try_driver() -> ProbeResult:
    driver = ctypes.CDLL(LIBRARY)
    _begin("cuInit")
    if code := driver.cuInit(0):
        meaning = f", {_CUDA_ERRORS[code]}" if code in _CUDA_ERRORS else ""
        return ProbeResult(False, f"NVIDIA's driver refuses cuInit: CUDA error {code}{meaning}")
    _begin("counting GPUs")
    count = ctypes.c_int()
    if code := driver.cuDeviceGetCount(ctypes.byref(count)):
        return ProbeResult(False, f"NVIDIA's driver refuses to count GPUs: CUDA error {code}")
    if not count.value:
        return ProbeResult(False, "NVIDIA's driver shows no GPU")
    _begin("querying the GPUs")
    gpus = tuple(query_gpu(ordinal) for ordinal in range(count.value))
    return ProbeResult(True, f"NVIDIA's driver, for CUDA {gpus[0].cuda}", gpus)


def _try_cuda(graph: Path, ordinal: int) -> str:
    _begin("importing onnxruntime")
    from affectstream.engines.runtimes.onnx_cuda import CudaEngine

    _begin("ONNX Runtime's first session on CUDA")
    with CudaEngine(graph, ordinal=ordinal, fp16=False) as engine:
        _begin("ONNX Runtime's first run on CUDA")
        return _check_squares(engine)


def _try_tensorrt(runtime: NvidiaRuntime, graph: Path, ordinal: int) -> str:
    from affectstream.engines.plans.build import ONE_ROW, BuildOptions, build
    from affectstream.engines.plans.target import target_for
    from affectstream.engines.runtimes.cuda.memory import INSTALL_COMMAND
    from affectstream.engines.runtimes.nvidia import load
    from affectstream.engines.runtimes.tensorrt import TensorRTEngine

    _begin(f"importing {runtime}")
    bindings = load(runtime)
    _begin("importing pycuda")
    try:
        import_module("pycuda.driver")
    except ImportError as error:
        raise DeviceError(f"pycuda does not load ({error}): {INSTALL_COMMAND}") from error
    _begin(f"{runtime}'s first plan")
    capabilities = (query_gpu(ordinal).capability,) if runtime == "tensorrt-rtx" else ()
    target = target_for(runtime, capabilities, ordinal=ordinal)
    options = BuildOptions(precision="fp32", profiles=(ONE_ROW,), level=0)
    built = build(graph, options, target)
    _begin(f"{runtime}'s first run")
    with TensorRTEngine(built.plan, bindings, name="tiny plan", ordinal=ordinal) as engine:
        return _check_squares(engine)


def _check_squares(engine: Engine) -> str:
    """Return the name of the runtime. Raises `DeviceError` when it computes a wrong result."""
    x = np.arange(4, dtype=np.float32)[None]
    y = engine.run({"x": x})["y"]
    if not np.array_equal(y, x * x):
        raise DeviceError(f"{engine.runtime} computed {y.tolist()}, expected {(x * x).tolist()}")
    return engine.runtime


def main(target: ProbeTarget, ordinal: int) -> None:
    """Try `target`; print its steps and the result, one JSON document a line."""
    try:
        if target == "driver":
            result = _try_driver()
        else:
            with tempfile.TemporaryDirectory() as folder:
                graph = Path(folder, "square.onnx")
                graph.write_bytes(SQUARE_GRAPH)
                if target == "cuda":
                    runtime = _try_cuda(graph, ordinal)
                else:
                    runtime = _try_tensorrt(target, graph, ordinal)
            result = ProbeResult(True, runtime)
    except AffectstreamError as error:
        result = ProbeResult(False, str(error))
    _print_line(_Line(result=result))


if __name__ == "__main__":
    main(cast(ProbeTarget, sys.argv[1]), int(sys.argv[2]))
