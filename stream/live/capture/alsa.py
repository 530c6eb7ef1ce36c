"""ALSA, the sound system of Linux, as PyAV brings it: its configuration is elsewhere, and it prints."""

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
    """Tell ALSA where its configuration is, for it looks where it was built, and have it log, not print.

    Does nothing where the user said where it is; has to come before the first device is opened. Raises
    `SourceError` where the configuration is missing, with what to install.
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
    _hush()


def has_pulse() -> bool:
    """Whether ALSA can reach PulseAudio or PipeWire, where a desktop's microphone is."""
    folder = Path(os.environ.get("ALSA_PLUGIN_DIR", ""))
    runtime = Path(os.environ.get("XDG_RUNTIME_DIR", f"/run/user/{os.getuid()}"))
    serves = "PULSE_SERVER" in os.environ or (runtime / "pulse" / "native").exists()
    return serves and (folder / "libasound_module_pcm_pulse.so").exists()


def _hush() -> None:
    """Set ALSA's own handler of errors: what went wrong is told in words by whoever opens a device."""
    import av.device  # noqa: F401 - it loads PyAV's library of ALSA

    with contextlib.suppress(OSError):  # plugins bring the system's own, where there is one
        ctypes.CDLL("libasound.so.2")
    for path in _loaded():
        handler = ctypes.CDLL(path).snd_lib_error_set_handler
        handler.argtypes, handler.restype = [_Handler], ctypes.c_int
        handler(_told)


def _loaded() -> set[str]:
    """Where the libraries of ALSA are that this process has loaded."""
    lines = Path("/proc/self/maps").read_text(errors="replace").splitlines()
    paths = (line.partition("/")[2] for line in lines if "/libasound" in line)
    return {f"/{path}" for path in paths if "/libasound_module" not in f"/{path}"}


# In C it takes more, as printf does; what a caller passes beyond these is left where it is.
_Handler = ctypes.CFUNCTYPE(
    None, ctypes.c_char_p, ctypes.c_int, ctypes.c_char_p, ctypes.c_int, ctypes.c_char_p
)


def _tell(file: Any, line: int, function: bytes | None, error: int, text: bytes | None) -> None:
    _log.debug(
        "ALSA: %s: %s", *((part or b"").decode(errors="replace") for part in (function, text))
    )


_told = _Handler(_tell)  # kept for as long as ALSA may call it
