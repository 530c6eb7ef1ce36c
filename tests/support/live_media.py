"""For tests of live sources: a short clip of a real face, senders that play it, a clock to set by hand."""

from __future__ import annotations

import subprocess
import sys
import time
from contextlib import suppress
from datetime import UTC, datetime, timedelta
from pathlib import Path

from affectstream.stream.demo import FPS, HEIGHT, WIDTH, babble, mouth_openings, portrait, render
from affectstream.stream.media.types import SAMPLE_RATE
from tests.support.media import Muxing, Sound, write_video

ROOT = Path(__file__).parents[2]
NO_DELAY = {"preset": "ultrafast", "tune": "zerolatency", "g": "12"}


def write_face(path: Path, seconds: int) -> Path:
    """`seconds` of the demo's face, drifting, encoded without delay, with a key frame twice a second."""
    face = portrait()
    talk = babble(seconds)
    openings = mouth_openings(talk, FPS)
    pictures = [render(face, n / FPS, openings[n]) for n in range(seconds * FPS)]
    sound = Sound(talk[:, None], SAMPLE_RATE)
    muxing = Muxing(video_options=NO_DELAY)
    return write_video(path, pictures, size=(WIDTH, HEIGHT), rate=FPS, sound=sound, muxing=muxing)


class ManualClock:
    """A clock that stands where the test puts it."""

    def __init__(self, s: float = 1000.0):
        self.s = s

    def now_s(self) -> float:
        return self.s

    def utc(self) -> datetime:
        return datetime(2026, 1, 1, tzinfo=UTC) + timedelta(seconds=self.s)


class Sender:
    """A process that plays a clip to an address; use it with ``with``, or end it with `kill`."""

    def __init__(self, clip: Path, url: str, format_name: str, seconds: float = 30, *options: str):
        command = [
            sys.executable,
            "-m",
            "affectstream.bench.live.sender",
            clip,
            url,
            format_name,
            seconds,
        ]
        self.process = subprocess.Popen(
            [*map(str, command), *options],
            cwd=ROOT,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )

    def kill(self) -> None:
        self.process.kill()
        self.process.wait()

    def __enter__(self) -> Sender:
        return self

    def __exit__(self, *error: object) -> None:
        self.kill()


def until(condition, timeout_s: float = 20.0) -> bool:
    """Whether `condition` came true in time."""
    deadline = time.monotonic() + timeout_s
    while time.monotonic() < deadline:
        with suppress(LookupError):
            if condition():
                return True
        time.sleep(0.02)
    return False
