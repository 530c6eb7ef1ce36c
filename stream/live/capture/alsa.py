"""Prepares ALSA, the sound system of Linux, inside PyAV: it does not find its configuration, and prints
its errors."""

from __future__ import annotations

import contextlib
import ctypes
import logging
import os
from pathlib import Path
from typing import Any

from affectstream.stream.errors import SourceError

CONFIGURATION = Path("/usr/share/alsa/alsa.conf")
PLUGINS = (
    Path("/usr/lib/x86_64-linux-gnu/alsa-lib"),
    Path("/usr/lib/aarch64-linux-gnu/alsa-lib"),
    Path("/usr/lib64/alsa-lib"),
    Path("/usr/lib/alsa-lib"),
)
_log = logging.getLogger(__name__)


def prepare() -> None:
    """Tell ALSA where its configuration is, and make it log its errors instead of printing them.

    PyAV's ALSA looks in the folder of its own build. Call this before the first device is opened. The
    variables ALSA_CONFIG_PATH and ALSA_PLUGIN_DIR of the user are kept. Raises `SourceError`, naming the
    package to install, if the configuration is missing.
    """
    if "ALSA_CONFIG_PATH" not in os.environ:
        if not CONFIGURATION.exists():
            raise SourceError(
                f"microphone: {CONFIGURATION} is missing: apt-get install libasound2-data "
                "libasound2-plugins"
            )
        os.environ["ALSA_CONFIG_PATH"] = str(CONFIGURATION)
    plugins = next((folder for folder in PLUGINS if folder.is_dir()), None)
    if plugins is not None:
        os.environ.setdefault("ALSA_PLUGIN_DIR", str(plugins))
    _silence_errors()


def has_pulse() -> bool:
    """Whether ALSA can reach PulseAudio or PipeWire, which own the microphone of a desktop."""
    folder = Path(os.environ.get("ALSA_PLUGIN_DIR", ""))
    runtime = Path(os.environ.get("XDG_RUNTIME_DIR", f"/run/user/{os.getuid()}"))
    serves = "PULSE_SERVER" in os.environ or (runtime / "pulse" / "native").exists()
    return serves and (folder / "libasound_module_pcm_pulse.so").exists()


def _silence_errors() -> None:
    """Replace ALSA's error handler: the code that opens a device reports what went wrong."""
    import av.device  # noqa: F401 - it loads PyAV's ALSA library

    with contextlib.suppress(OSError):  # plugins use the system's own library
        ctypes.CDLL("libasound.so.2")
    for path in _loaded_libraries():
        handler = ctypes.CDLL(path).snd_lib_error_set_handler
        handler.argtypes, handler.restype = [_Handler], ctypes.c_int
        handler(_log_error_c)


def _loaded_libraries() -> set[str]:
    """The paths of the ALSA libraries that this process has loaded."""
    lines = Path("/proc/self/maps").read_text(errors="replace").splitlines()
    paths = (line.partition("/")[2] for line in lines if "/libasound" in line)
    return {f"/{path}" for path in paths if "/libasound_module" not in f"/{path}"}


# In C the handler takes more arguments, as printf does; they are ignored.
_Handler = ctypes.CFUNCTYPE(
    None, ctypes.c_char_p, ctypes.c_int, ctypes.c_char_p, ctypes.c_int, ctypes.c_char_p
)


def _log_error(
    file: Any, line: int, function: bytes | None, error: int, text: bytes | None
) -> None:
    _log.debug(
        "ALSA: %s: %s", *((part or b"").decode(errors="replace") for part in (function, text))
    )


_log_error_c = _Handler(_log_error)  # must live as long as ALSA may call it
