"""Loads NVIDIA's two compilers, *TensorRT* and *TensorRT for RTX*.

Both have the same Python API, with few differences. `load` imports each at most once, because its logger
has to outlive every object that uses it.

    trt = load("tensorrt-rtx").trt
"""

from __future__ import annotations

import threading
from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass
from importlib import import_module
from typing import Any, Literal, get_args

from affectstream.engines.errors import DeviceError
from affectstream.engines.extras import install_hint

NvidiaRuntime = Literal["tensorrt", "tensorrt-rtx"]
NVIDIA_RUNTIMES: tuple[NvidiaRuntime, ...] = get_args(NvidiaRuntime)
"""For data-center cards, and for GeForce RTX cards."""

INSTALL_COMMANDS: dict[NvidiaRuntime, str] = {
    "tensorrt": "pip install 'tensorrt>=11', which takes its libraries from NVIDIA's own index",
    "tensorrt-rtx": install_hint("rtx"),
}
"""The command that installs each."""
RUN_COMMANDS: dict[NvidiaRuntime, str] = {
    "tensorrt": install_hint("tensorrt"),
    "tensorrt-rtx": install_hint("rtx", "pycuda"),
}
"""The command that installs each with what running a plan needs besides."""

# Without NVIDIA's metapackage the wheels of the bindings have another module name.
_MODULES: dict[NvidiaRuntime, tuple[str, ...]] = {
    "tensorrt": ("tensorrt", "tensorrt_bindings"),
    "tensorrt-rtx": ("tensorrt_rtx", "tensorrt_rtx_bindings"),
}
# Older versions do not enforce a graph's own types: an FP16 graph may become an FP32 plan.
_OLDEST: dict[NvidiaRuntime, tuple[int, int]] = {"tensorrt": (11, 0), "tensorrt-rtx": (1, 7)}


@dataclass(frozen=True, slots=True)
class LogLine:
    """One line of NVIDIA's log."""

    severity: str
    """INTERNAL_ERROR, ERROR, WARNING, INFO or VERBOSE."""
    text: str


class NvidiaLog:
    """The last lines of NVIDIA's log, from all threads. Beyond `size` lines the oldest are dropped."""

    def __init__(self, size: int = 2000) -> None:
        self._lines: deque[LogLine] = deque(maxlen=size)
        self._count = 0
        self._lock = threading.Lock()

    def add(self, severity: str, text: str) -> None:
        """Add one line. NVIDIA's own threads call this."""
        with self._lock:
            self._lines.append(LogLine(severity, text))
            self._count += 1

    def mark(self) -> int:
        """The current end of the log, for `since`."""
        with self._lock:
            return self._count

    def since(self, mark: int) -> list[LogLine]:
        """The lines after `mark` that were not dropped."""
        with self._lock:
            new = min(self._count - mark, len(self._lines))
            return list(self._lines)[len(self._lines) - new :]


def errors_of(lines: Iterable[LogLine]) -> list[str]:
    """The text of the lines that are errors."""
    return [line.text for line in lines if line.severity in ("ERROR", "INTERNAL_ERROR")]


@dataclass(frozen=True, slots=True)
class Bindings:
    """A loaded compiler."""

    runtime: NvidiaRuntime
    trt: Any
    """The module: `Builder`, `OnnxParser`, `NvidiaRuntime` and the rest."""
    version: str
    """In full, such as ``11.4.0.106``: a plan fits one version only."""
    logger: Any
    """The `ILogger` for all objects of this compiler."""
    log: NvidiaLog
    """The lines that `logger` received."""


_loaded: dict[NvidiaRuntime, Bindings] = {}
_lock = threading.Lock()


def load(runtime: NvidiaRuntime) -> Bindings:
    """The bindings of ``tensorrt`` or ``tensorrt-rtx``, loaded once in a process.

    Raises `DeviceError` with the reason and the install command when they are missing, do not load or are
    too old. Bindings load without a GPU too: see `probe`.
    """
    if runtime not in NVIDIA_RUNTIMES:
        raise DeviceError(
            f"runtime {runtime!r} is not known: choose {' or '.join(NVIDIA_RUNTIMES)}"
        )
    with _lock:
        if runtime not in _loaded:
            _loaded[runtime] = _open(runtime)
        return _loaded[runtime]


def _open(runtime: NvidiaRuntime) -> Bindings:
    module = _import(runtime)
    version = str(module.__version__)
    oldest = _OLDEST[runtime]
    if tuple(int(part) for part in version.split(".")[:2]) < oldest:
        raise DeviceError(
            f"{runtime} {version} is too old, {oldest[0]}.{oldest[1]} or later is needed: "
            f"{INSTALL_COMMANDS[runtime]}"
        )
    log = NvidiaLog()
    return Bindings(runtime, module, version, _logger(module, log), log)


def _import(runtime: NvidiaRuntime) -> Any:
    for name in _MODULES[runtime]:
        try:
            return import_module(name)
        except ModuleNotFoundError as error:
            if error.name != name:  # the module exists, but one that it imports does not
                raise DeviceError(_broken(runtime, name, error)) from error
        except (ImportError, OSError) as error:
            raise DeviceError(_broken(runtime, name, error)) from error
    tried = " nor ".join(_MODULES[runtime])
    raise DeviceError(
        f"{runtime} is not installed: no Python module {tried} was found: {INSTALL_COMMANDS[runtime]}"
    )


def _broken(runtime: NvidiaRuntime, name: str, error: Exception) -> str:
    reason = " ".join(str(error).split())
    command = INSTALL_COMMANDS[runtime]
    return f"{runtime} is installed but {name} does not load: {reason}; reinstall it: {command}"


def _logger(module: Any, lines: NvidiaLog) -> Any:
    class Collector(module.ILogger):  # type: ignore[misc]
        """Passes every line on. Native threads call it, so it must not raise."""

        def __init__(self) -> None:
            module.ILogger.__init__(self)

        def log(self, severity: Any, msg: str) -> None:
            lines.add(str(severity.name), msg)

    return Collector()
