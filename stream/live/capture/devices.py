"""Cameras and microphones of this machine, through FFmpeg's devices.

Linux (Video4Linux, ALSA with Pulse or PipeWire behind it) was run; macOS (AVFoundation) and Windows
(DirectShow) are written from FFmpeg's documentation and were not.
"""

from __future__ import annotations

import os
import re
import sys
from collections.abc import Mapping
from pathlib import Path

from affectstream.engines.labels import Modality
from affectstream.stream.errors import SourceError
from affectstream.stream.live.capture import alsa
from affectstream.stream.live.capture.address import Opening

_OPEN_S, _READ_S = 5.0, 2.0


def is_camera(source: str) -> bool:
    """Whether `source` names a camera: a number, /dev/video0, or a name after ``camera:``."""
    return source.isdecimal() or source.startswith(("/dev/video", "camera:"))


def camera(source: str, options: Mapping[str, str] | None = None) -> Opening:
    """How the camera `source` is opened: 640x480 at 30 frames a second unless `options` say otherwise.

    Raises `SourceError` for a camera that does not exist or may not be used.
    """
    chosen = {"video_size": "640x480", "framerate": "30", **(options or {})}
    label = source.removeprefix("camera:")
    if sys.platform == "darwin":
        return _device(f"camera {label}", f"{label}:none", "avfoundation", chosen, ("video",))
    if sys.platform == "win32":
        if label.isdecimal():
            label = _named("dshow", int(label))
        return _device(f"camera {label}", f"video={label}", "dshow", chosen, ("video",))
    path = Path(f"/dev/video{label}" if label.isdecimal() else label)
    _check_camera(path)
    return _device(f"camera {path}", str(path), "v4l2", chosen, ("video",))


def microphone(device: str = "default", options: Mapping[str, str] | None = None) -> Opening:
    """How a microphone is opened: ``default``, or a name that the sound system knows.

    On Linux an ALSA name (``default``, ``pulse``, ``hw:1``). Raises `SourceError`, naming the package to
    install, if the sound system cannot be used.
    """
    name = f"microphone {device}"
    if sys.platform == "darwin":
        number = "default" if device == "default" else device
        return _device(name, f":{number}", "avfoundation", dict(options or {}), ("voice",))
    if sys.platform == "win32":
        label = _named("dshow", 0) if device == "default" else device
        return _device(name, f"audio={label}", "dshow", dict(options or {}), ("voice",))
    alsa.prepare()
    if device == "default" and alsa.has_pulse():
        device = "pulse"
    chosen = {"sample_rate": "16000", "channels": "1", **(options or {})}
    return _device(name, device, "alsa", chosen, ("voice",))


def _device(
    name: str, url: str, format_name: str, options: Mapping[str, str], wants: tuple[Modality, ...]
) -> Opening:
    return Opening(
        name=name,
        url=url,
        format=format_name,
        options=options,
        open_s=_OPEN_S,
        read_s=_READ_S,
        wants=wants,
        is_device=True,
        hint=_HINTS.get(format_name, ""),
    )


_HINTS = {
    "v4l2": "is it plugged in, and free? v4l2-ctl --list-devices lists cameras "
    "(apt-get install v4l-utils)",
    "alsa": "arecord -L lists microphones (apt-get install alsa-utils); for PulseAudio or PipeWire: "
    "apt-get install libasound2-plugins",
    "avfoundation": "allow the terminal to use it in System Settings, Privacy & Security; "
    "ffmpeg -f avfoundation -list_devices true -i '' lists devices",
    "dshow": "ffmpeg -f dshow -list_devices true -i dummy lists devices",
}


def _check_camera(path: Path) -> None:
    if not path.exists():
        others = sorted(str(p) for p in Path("/dev").glob("video*"))
        found = f"available: {', '.join(others)}" if others else "this machine has no camera"
        raise SourceError(f"camera {path}: not found; {found}; {_HINTS['v4l2']}")
    if not os.access(path, os.R_OK | os.W_OK):
        raise SourceError(
            f"camera {path}: permission denied; sudo usermod -aG video $USER, then log in again"
        )


def _named(format_name: str, number: int) -> str:
    import av

    devices = [d.name for d in av.enumerate_input_devices(format_name)]
    if number >= len(devices):
        known = ", ".join(re.sub(r"\s+", " ", name) for name in devices) or "none"
        raise SourceError(f"device {number}: not found; available: {known}; {_HINTS[format_name]}")
    return devices[number]
