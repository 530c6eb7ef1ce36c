"""A microphone, played by a PulseAudio of the test's own: no sound card is needed."""

import os
import shutil
import subprocess
import sys
import wave
from pathlib import Path

import numpy as np
import pytest

from affectstream.stream import parse_event
from affectstream.stream.demo import babble
from affectstream.stream.live.capture import alsa
from affectstream.stream.media.types import SAMPLE_RATE
from tests.support.live_media import until

_CONFIG = """load-module module-native-protocol-unix socket={folder}/socket auth-anonymous=1
load-module module-null-sink sink_name=vsink
load-module module-remap-source master=vsink.monitor source_name=vmic
set-default-source vmic
"""


@pytest.fixture
def microphone(tmp_path):
    """The environment of a process that hears babble in its default microphone."""
    missing = [name for name in ("pulseaudio", "paplay") if shutil.which(name) is None]
    plugin = [f for f in alsa.PLUGINS if (f / "libasound_module_pcm_pulse.so").exists()]
    if missing or not plugin or not alsa.CONFIGURATION.exists():
        pytest.skip("needs pulseaudio, pulseaudio-utils, libasound2-plugins and libasound2-data")
    config = tmp_path / "pulse.pa"
    config.write_text(_CONFIG.format(folder=tmp_path))
    sound = tmp_path / "babble.wav"
    with wave.open(str(sound), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(SAMPLE_RATE)
        file.writeframes((np.clip(babble(30), -1, 1) * 32767).astype(np.int16).tobytes())
    env = {
        **os.environ,
        "HOME": str(tmp_path),
        "XDG_RUNTIME_DIR": str(tmp_path),
        "PULSE_SERVER": f"unix:{tmp_path}/socket",
    }
    quiet = {"env": env, "stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}
    command = ["pulseaudio", "-n", "-F", str(config), "--daemonize=no", "--exit-idle-time=-1"]
    server = subprocess.Popen(command, **quiet)
    try:
        if not until(lambda: Path(tmp_path, "socket").exists(), 10):
            pytest.skip("pulseaudio does not start here")
        player = subprocess.Popen(["paplay", "--device=vsink", str(sound)], **quiet)
        yield env
        player.kill()
        player.wait()
    finally:
        server.kill()
        server.wait()


@pytest.mark.slow
def test_the_systems_microphone_is_heard(microphone):
    code = "from affectstream.stream.cli import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", code, "live", "--mic", "--duration", "4", "--device", "cpu"],
        env=microphone,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    events = [parse_event(line) for line in done.stdout.splitlines()]
    assert {event.stream for event in events} == {"microphone default"}
    emotions = [event for event in events if event.type == "emotion"]
    assert len(emotions) >= 6
    assert ("voice",) in {event.modalities for event in emotions}
    assert not [event for event in events if event.type == "attention"]
    assert all(event.latency_ms < 500 for event in emotions)


@pytest.mark.skipif(not alsa.CONFIGURATION.exists(), reason="needs libasound2-data")
@pytest.mark.parametrize("device", ["default", "hw:97", "pulse", "nonsense"])
def test_without_a_microphone_there_is_one_clear_line(device, tmp_path):
    code = "from affectstream.stream.cli import main; main()"
    hidden = ("PULSE_SERVER", "ALSA_CONFIG_PATH", "ALSA_PLUGIN_DIR")
    env = {name: value for name, value in os.environ.items() if name not in hidden}
    done = subprocess.run(
        [sys.executable, "-c", code, "live", "--device", "cpu", "--duration", "1"]
        + (["--mic"] if device == "default" else ["--mic-device", device]),
        env={**env, "XDG_RUNTIME_DIR": str(tmp_path)},
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    if done.returncode == 0:
        pytest.skip("this machine has a microphone")
    assert done.returncode == 4
    assert done.stdout == ""
    (line,) = done.stderr.splitlines()
    assert line.startswith(
        f"error: microphone {device}: not found, or in use by another program; arecord -L"
    )
