"""Whether a GPU can be used, found out by using it, in another process.

A driver or runtime that is half installed ends the process, or hangs, where others would raise. So
each thing that may fail is tried by ``python -m affectstream.engines.probe WHAT``, which says on stdout
what it is about to do before it does it: the last thing said is what it died of.
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
from typing import IO, Literal

import msgspec
import numpy as np
from msgspec import Struct

from affectstream.engines.errors import AffectstreamError, DeviceError
from affectstream.engines.runtimes.cuda.driver import Gpu, look_at
from affectstream.engines.spec import Engine

Probe = Literal["driver", "cuda", "tensorrt", "tensorrt-rtx"]
LIBRARY = "nvcuda.dll" if sys.platform == "win32" else "libcuda.so.1"
LIMIT_S = 120.0
"""A first plan on a cold machine, with a library of two gigabytes to be loaded, takes most of a minute."""
_ENDING_S = 2.0
"""For a process that was killed; longer only where the kernel does not let go of it."""

# y = x * x with x (N, 4) float32, opset 17: `onnx` itself may be absent.
SQUARE = (
    b'\x08\x08:?\n\x0e\n\x01x\n\x01x\x12\x01y"\x03Mul\x12\x01gZ\x14\n\x01x\x12\x0f\n\r\x08\x01\x12'
    b"\t\n\x03\x12\x01N\n\x02\x08\x04b\x14\n\x01y\x12\x0f\n\r\x08\x01\x12\t\n\x03\x12\x01N\n\x02\x08"
    b"\x04B\x04\n\x00\x10\x11"
)
_MEANINGS = {  # of cuInit's errors, from cuda.h
    100: "it finds no GPU",
    802: "the GPU is not ready yet",
    803: "driver and library are of different versions: restart the machine",
    804: "this GPU takes no forward-compatible library: remove the cuda-compat package",
    999: "unknown error: reload the driver or restart the machine",
}


class Found(Struct, frozen=True):
    """What a probe came to: `text` is what works, or why it does not."""

    works: bool
    text: str
    gpus: tuple[Gpu, ...] = ()
    """All of them, when the driver was probed."""
    loads: bool = True
    """False where NVIDIA's driver is not even there to be loaded: this is a machine without a GPU."""


class _Step(Struct, frozen=True, forbid_unknown_fields=True):
    """Said before something is tried."""

    step: str


def probe(what: Probe, ordinal: int = 0, *, limit_s: float = LIMIT_S) -> Found:
    """Try the driver, or one way of computing on GPU number `ordinal`; once in this process.

    Never raises and never ends this process. Without a driver it answers at once.
    """
    return _probe(what, ordinal, limit_s)


@functools.cache
def _probe(what: Probe, ordinal: int, limit_s: float) -> Found:
    try:
        ctypes.CDLL(LIBRARY)
    except OSError as error:
        return Found(False, f"NVIDIA's driver does not load ({error})", loads=False)
    # -P: a file of the current folder that is called like a library must not be taken for it.
    command = [sys.executable, "-P", "-m", __name__, what, str(ordinal)]
    # Files, not pipes: nothing has to be read from a child that cannot be ended.
    with tempfile.TemporaryFile() as output, tempfile.TemporaryFile() as errors:
        child = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=errors)
        code = _waited(child, limit_s)
        steps, found = _read(_all(output))
        if code is None:
            return Found(False, f"{_last(steps)} was not done after {limit_s:g} s")
        if found is not None:
            return found
        said = _all(errors).decode(errors="replace").strip().splitlines()
    about = f" ({said[-1]})" if said else ""
    return Found(False, f"{_last(steps)} ended the process with {_end(code)}{about}")


def _waited(child: subprocess.Popen[bytes], limit_s: float) -> int | None:
    """How `child` ended, None where it had to be ended. One that is stuck in the driver cannot be, not
    even by SIGKILL: it is left behind."""
    try:
        return child.wait(limit_s)
    except subprocess.TimeoutExpired:
        return None
    finally:  # also where Ctrl-C ends the waiting
        if child.poll() is None:
            child.kill()
            with suppress(subprocess.TimeoutExpired):
                child.wait(_ENDING_S)


def _all(file: IO[bytes]) -> bytes:
    file.seek(0)
    return file.read()


def _read(output: bytes) -> tuple[list[str], Found | None]:
    """Steps and result; native libraries may print lines of their own in between."""
    steps: list[str] = []
    found = None
    for line in output.splitlines():
        try:
            said = msgspec.json.decode(line, type=_Step)
        except msgspec.DecodeError:
            try:
                found = msgspec.json.decode(line, type=Found)
            except msgspec.DecodeError:
                continue
        else:
            steps.append(said.step)
    return steps, found


def _last(steps: list[str]) -> str:
    return steps[-1] if steps else "starting Python"


def _end(code: int) -> str:
    if code >= 0:
        return f"exit code {code}"
    try:
        return signal.Signals(-code).name
    except ValueError:
        return f"signal {-code}"


def _step(text: str) -> None:
    print(msgspec.json.encode(_Step(text)).decode(), flush=True)


def _driver() -> Found:
    driver = ctypes.CDLL(LIBRARY)
    _step("cuInit")
    if code := driver.cuInit(0):
        return Found(False, f"NVIDIA's driver refuses cuInit: CUDA error {code}{_meaning(code)}")
    _step("counting GPUs")
    count = ctypes.c_int()
    if code := driver.cuDeviceGetCount(ctypes.byref(count)):
        return Found(False, f"NVIDIA's driver refuses to count GPUs: CUDA error {code}")
    if not count.value:
        return Found(False, "NVIDIA's driver shows no GPU")
    _step("looking at the GPUs")
    gpus = tuple(look_at(ordinal) for ordinal in range(count.value))
    return Found(True, f"NVIDIA's driver, for CUDA {gpus[0].cuda}", gpus)


def _meaning(code: int) -> str:
    return f", {_MEANINGS[code]}" if code in _MEANINGS else ""


def _cuda(graph: Path, ordinal: int) -> str:
    _step("importing onnxruntime")
    from affectstream.engines.runtimes.onnx_cuda import CudaEngine

    _step("ONNX Runtime's first session on CUDA")
    with CudaEngine(graph, ordinal=ordinal, half=False) as engine:
        _step("ONNX Runtime's first run on CUDA")
        return _squares(engine)


def _tensorrt(runtime: str, graph: Path, ordinal: int) -> str:
    from affectstream.engines.plans.build import ONE, BuildOptions, build
    from affectstream.engines.plans.target import target_for
    from affectstream.engines.runtimes.cuda.memory import INSTALL
    from affectstream.engines.runtimes.nvidia import load
    from affectstream.engines.runtimes.tensorrt import TensorRTEngine

    _step(f"importing {runtime}")
    bindings = load(runtime)
    _step("importing pycuda")
    try:
        import_module("pycuda.driver")
    except ImportError as error:
        raise DeviceError(f"pycuda does not load ({error}): {INSTALL}") from error
    _step(f"{runtime}'s first plan")
    capabilities = (look_at(ordinal).capability,) if runtime == "tensorrt-rtx" else ()
    target = target_for(runtime, capabilities, ordinal=ordinal)
    options = BuildOptions(precision="fp32", profiles=(ONE,), level=0)
    built = build(graph, options, target)
    _step(f"{runtime}'s first run")
    with TensorRTEngine(built.plan, bindings, name="tiny plan", device=ordinal) as engine:
        return _squares(engine)


def _squares(engine: Engine) -> str:
    """The runtime's name, when what it computes is right."""
    x = np.arange(4, dtype=np.float32)[None]
    found = engine.run({"x": x})["y"]
    if not np.array_equal(found, x * x):
        raise DeviceError(f"{engine.runtime} computed {found.tolist()} for {(x * x).tolist()}")
    return engine.runtime


def main(what: str, ordinal: int) -> None:
    """Try `what` and print steps and a `Found`, one JSON document a line."""
    try:
        if what == "driver":
            found = _driver()
        else:
            with tempfile.TemporaryDirectory() as folder:
                graph = Path(folder, "square.onnx")
                graph.write_bytes(SQUARE)
                tried = _cuda(graph, ordinal) if what == "cuda" else _tensorrt(what, graph, ordinal)
            found = Found(True, tried)
    except AffectstreamError as error:
        found = Found(False, str(error))
    print(msgspec.json.encode(found).decode(), flush=True)


if __name__ == "__main__":
    main(sys.argv[1], int(sys.argv[2]))
