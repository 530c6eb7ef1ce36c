"""NVIDIA's two compilers behind one door: *TensorRT* and *TensorRT for RTX*.

Both have the same Python API (the few differences are met where they matter). Nothing of them is
imported until `load` is called, and never twice: the logger has to outlive all that was made with it.

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

Runtime = Literal["tensorrt", "tensorrt-rtx"]
RUNTIMES: tuple[Runtime, ...] = get_args(Runtime)
"""The compilers of NVIDIA: for data-centre cards, and for GeForce RTX cards."""

INSTALL: dict[Runtime, str] = {
    "tensorrt": "pip install 'tensorrt>=11', which takes its libraries from NVIDIA's own index",
    "tensorrt-rtx": install_hint("rtx"),
}
"""The command that installs each of them."""
RUN: dict[Runtime, str] = {
    "tensorrt": install_hint("tensorrt"),
    "tensorrt-rtx": install_hint("rtx", "pycuda"),
}
"""The same with what running a plan takes besides."""

# The wheels of the bindings have another name where NVIDIA's metapackage is not installed.
_MODULES: dict[Runtime, tuple[str, ...]] = {
    "tensorrt": ("tensorrt", "tensorrt_bindings"),
    "tensorrt-rtx": ("tensorrt_rtx", "tensorrt_rtx_bindings"),
}
# Before these a graph's own types are only a wish: FP16 would be asked for and FP32 built.
_OLDEST: dict[Runtime, tuple[int, int]] = {"tensorrt": (11, 0), "tensorrt-rtx": (1, 7)}


@dataclass(frozen=True, slots=True)
class Message:
    """One line of NVIDIA's log."""

    severity: str
    """INTERNAL_ERROR, ERROR, WARNING, INFO or VERBOSE."""
    text: str


class Messages:
    """The last lines of NVIDIA's log, of every thread.

    `mark` and `since` tell what was said in between; the oldest lines go when there are too many.
    """

    def __init__(self, size: int = 2000) -> None:
        self._lines: deque[Message] = deque(maxlen=size)
        self._count = 0
        self._lock = threading.Lock()

    def add(self, severity: str, text: str) -> None:
        """Take one line. Called from threads of NVIDIA's own."""
        with self._lock:
            self._lines.append(Message(severity, text))
            self._count += 1

    def mark(self) -> int:
        """The place where the log is now."""
        with self._lock:
            return self._count

    def since(self, mark: int) -> list[Message]:
        """The lines that came after `mark`, as far as they are still kept."""
        with self._lock:
            new = min(self._count - mark, len(self._lines))
            return list(self._lines)[len(self._lines) - new :]


def errors_of(lines: Iterable[Message]) -> list[str]:
    """The text of those lines that are errors."""
    return [line.text for line in lines if line.severity in ("ERROR", "INTERNAL_ERROR")]


@dataclass(frozen=True, slots=True)
class Bindings:
    """One of the compilers, loaded."""

    runtime: Runtime
    trt: Any
    """The module: `Builder`, `OnnxParser`, `Runtime` and the rest."""
    version: str
    """In full, such as ``11.4.0.106``: plans are good for one version only."""
    logger: Any
    """The one `ILogger` of this process, for everything that asks for one."""
    messages: Messages
    """What that logger was told."""


_loaded: dict[Runtime, Bindings] = {}
_lock = threading.Lock()


def load(runtime: str) -> Bindings:
    """The bindings of ``tensorrt`` or ``tensorrt-rtx``; loaded once in a process.

    Raises `DeviceError` with the reason and the install command when they are absent, do not load or
    are too old. That they load says nothing about a GPU: see `choose`.
    """
    if runtime not in RUNTIMES:
        raise DeviceError(f"runtime {runtime!r} is not known: choose {' or '.join(RUNTIMES)}")
    with _lock:
        if runtime not in _loaded:
            _loaded[runtime] = _open(runtime)
        return _loaded[runtime]


def _open(runtime: Runtime) -> Bindings:
    module = _import(runtime)
    version = str(module.__version__)
    oldest = _OLDEST[runtime]
    if tuple(int(part) for part in version.split(".")[:2]) < oldest:
        raise DeviceError(
            f"{runtime} {version} is too old, {oldest[0]}.{oldest[1]} or later is needed: "
            f"{INSTALL[runtime]}"
        )
    messages = Messages()
    return Bindings(runtime, module, version, _logger(module, messages), messages)


def _import(runtime: Runtime) -> Any:
    for name in _MODULES[runtime]:
        try:
            return import_module(name)
        except ModuleNotFoundError as error:
            if error.name != name:  # it is there, but something that it needs is not
                raise DeviceError(_broken(runtime, name, error)) from error
        except (ImportError, OSError) as error:
            raise DeviceError(_broken(runtime, name, error)) from error
    tried = " nor ".join(_MODULES[runtime])
    raise DeviceError(
        f"{runtime} is not installed: no Python module {tried} was found: {INSTALL[runtime]}"
    )


def _broken(runtime: Runtime, name: str, error: Exception) -> str:
    reason = " ".join(str(error).split())
    return f"{runtime} is installed but {name} does not load: {reason}; reinstall it: {INSTALL[runtime]}"


def _logger(module: Any, messages: Messages) -> Any:
    class Collector(module.ILogger):  # type: ignore[misc]
        """Passes every line on, and never raises: it is called from native threads."""

        def __init__(self) -> None:
            module.ILogger.__init__(self)

        def log(self, severity: Any, msg: str) -> None:
            messages.add(str(severity.name), msg)

    return Collector()
