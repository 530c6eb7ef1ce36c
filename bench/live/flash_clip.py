"""The clip that live sources are measured with: a flash and a beep at each whole second.

A face is in front of a wall that flashes. The first flash of the clip is twice as long as the others, so that
a flash that arrives seconds late is not mistaken for a later one.
"""

from __future__ import annotations

import wave
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray

from affectstream.stream.demo import HEIGHT, WIDTH, babble, portrait, render
from affectstream.stream.media.types import SAMPLE_RATE

FPS = 30
CLIP_S = 4
FLASH_S, FIRST_FLASH_S = 0.1, 0.2
_WALL = np.array((52, 58, 66), np.uint8)
_FLASH_LEVEL = 245


def write_flashes(path: Path) -> Path:
    """Write the clip, H.264 without reordering delay and AAC, and return its path.

    Raises `ModuleNotFoundError` without scikit-image, which has the portrait.
    """
    with av.open(str(path), "w") as container:
        video = container.add_stream(
            "libx264",
            rate=FPS,
            options={"preset": "ultrafast", "tune": "zerolatency", "g": str(FPS // 2)},
        )
        video.width, video.height, video.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        sound = container.add_stream("aac", rate=SAMPLE_RATE, layout="mono")
        for rgb in frames():
            container.mux(video.encode(av.VideoFrame.from_ndarray(rgb, format="rgb24")))
        for frame in _sound_frames():
            container.mux(sound.encode(frame))
        container.mux(video.encode(None))
        container.mux(sound.encode(None))
    return path


def write_camera(path: Path) -> Path:
    """Write the frames alone as Motion JPEG, which Chromium can play as a camera."""
    with av.open(str(path), "w", format="mjpeg") as container:
        video = container.add_stream("mjpeg", rate=FPS, options={"q": "4"})
        video.width, video.height, video.pix_fmt = WIDTH, HEIGHT, "yuvj420p"
        for rgb in frames():
            container.mux(video.encode(av.VideoFrame.from_ndarray(rgb, format="rgb24")))
        container.mux(video.encode(None))
    return path


def write_microphone(path: Path, seconds: float, rate: int = SAMPLE_RATE) -> Path:
    """Write the sound alone, repeated to `seconds`, as a WAV file of 16 bits at `rate` Hz."""
    samples = np.resize(beeps(rate), round(seconds * rate))
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(rate)
        file.writeframes((np.clip(samples, -1, 1) * 32767).astype(np.int16).tobytes())
    return path


def frames() -> Iterator[NDArray[np.uint8]]:
    """The frames of the clip, (HEIGHT, WIDTH, 3) uint8 RGB."""
    face = portrait()
    for index in range(CLIP_S * FPS):
        rgb = render(face, index / FPS / 2)
        flash_s = FIRST_FLASH_S if index < FPS else FLASH_S
        if index % FPS < flash_s * FPS:
            rgb[(rgb == _WALL).all(axis=2)] = _FLASH_LEVEL
        yield rgb


def beeps(rate: int = SAMPLE_RATE) -> NDArray[np.float32]:
    """The sound of the clip (n,) float32 in [-1, 1]: quiet speech-like sound, and a loud tone at each whole
    second."""
    times = np.arange(CLIP_S * rate) / rate
    speech = babble(CLIP_S)
    voice = np.interp(times, np.arange(len(speech)) / SAMPLE_RATE, speech)
    tone = 0.5 * np.sin(2 * np.pi * 1000 * times) * (times % 1.0 < FLASH_S)
    return np.asarray(0.02 * voice / np.abs(voice).max() + tone, np.float32)


def _sound_frames() -> Iterator[av.AudioFrame]:
    data = beeps()
    for first in range(0, len(data), 1024):
        block = np.ascontiguousarray(data[None, first : first + 1024])
        frame = av.AudioFrame.from_ndarray(block, format="fltp", layout="mono")
        frame.sample_rate, frame.pts = SAMPLE_RATE, first
        frame.time_base = Fraction(1, SAMPLE_RATE)
        yield frame
