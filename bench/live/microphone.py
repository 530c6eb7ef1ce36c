"""A microphone that plays the clip: a private PulseAudio server, which needs no sound card."""

from __future__ import annotations

import os
import shutil
import subprocess
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from tempfile import TemporaryDirectory

from affectstream.bench.live.flash_clip import write_microphone
from affectstream.bench.live.row import Unmeasured
from affectstream.stream.live.source import LiveOptions

_CONFIG = """load-module module-native-protocol-unix socket={folder}/socket auth-anonymous=1
load-module module-null-sink sink_name=clip
load-module module-remap-source master=clip.monitor source_name=microphone
set-default-source microphone
"""
_START_S = 10.0


@dataclass(frozen=True, slots=True)
class Microphone:
    """The system's microphone, as `affectstream live --mic` opens it. It plays `lasts_s` of sound."""

    lasts_s: float
    name: str = "microphone (PulseAudio)"
    live: LiveOptions = field(default_factory=lambda: LiveOptions(mic="default"))

    @contextmanager
    def playing(self, clip: Path) -> Iterator[None]:
        """Play the sound of the flash clip into it. Raises `Unmeasured` without PulseAudio.

        `clip` is not read: the sound is generated, for `lasts_s`.
        """
        missing = [name for name in ("pulseaudio", "paplay") if shutil.which(name) is None]
        if missing:
            raise Unmeasured(
                f"needs {' and '.join(missing)}: "
                "apt-get install pulseaudio pulseaudio-utils libasound2-plugins libasound2-data"
            )
        with TemporaryDirectory() as scratch, ExitStack() as stack:
            folder = Path(scratch)
            socket = folder / "socket"
            (folder / "pulse.pa").write_text(_CONFIG.format(folder=folder))
            sound = write_microphone(folder / "clip.wav", self.lasts_s)
            config = ("-n", "-F", str(folder / "pulse.pa"))
            server = ("pulseaudio", *config, "--daemonize=no", "--exit-idle-time=-1")
            env = {
                **os.environ,
                "HOME": scratch,
                "XDG_RUNTIME_DIR": scratch,
                "PULSE_SERVER": f"unix:{socket}",
            }
            stack.enter_context(_running(server, env))
            end_s = time.monotonic() + _START_S
            while not socket.exists():
                if time.monotonic() > end_s:
                    raise Unmeasured(f"pulseaudio did not start within {_START_S:g} s")
                time.sleep(0.05)
            stack.enter_context(_running(("paplay", "--device=clip", str(sound)), env))
            stack.enter_context(_environment(env["PULSE_SERVER"]))
            yield None


@contextmanager
def _running(command: tuple[str, ...], env: dict[str, str]) -> Iterator[None]:
    quiet = subprocess.DEVNULL
    process = subprocess.Popen(command, env=env, stdin=quiet, stdout=quiet, stderr=quiet)
    try:
        yield
    finally:
        process.kill()
        process.wait()


@contextmanager
def _environment(server: str) -> Iterator[None]:
    """Make this process use the PulseAudio server."""
    before = os.environ.get("PULSE_SERVER")
    os.environ["PULSE_SERVER"] = server
    try:
        yield
    finally:
        if before is None:
            del os.environ["PULSE_SERVER"]
        else:
            os.environ["PULSE_SERVER"] = before
