"""The clip that live sources are measured with, and what is seen and heard of it on the way in.

A face before a wall that flashes at each whole second, with a beep. The first flash of the clip is twice as
long, so that a flash that comes seconds late can still be told from the next ones.
"""

from __future__ import annotations

import wave
from collections.abc import Iterator
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from statistics import median

import av
import numpy as np
from numpy.typing import NDArray

from affectstream.bench.live.skew import FlashBeep
from affectstream.stream.demo import HEIGHT, WIDTH, babble, portrait, render
from affectstream.stream.live.capture.decoder import SourceFrame
from affectstream.stream.media.resample import SoundResampler
from affectstream.stream.media.types import SAMPLE_RATE

FPS = 30
CLIP_S = 4
_FLASH_S = 0.1
_WALL = np.array((52, 58, 66), np.uint8)
_JUMP = 40.0


_LONG_PICTURES = 5
"""A flash of so many pictures is the first of the clip."""


@dataclass(slots=True)
class Flash:
    """One flash: when its first picture came, seconds of the monotonic clock, and how many it had."""

    came_s: float
    pictures: int = 1


@dataclass(slots=True)
class FlashProbe:
    """What is seen and heard on the way in; `LiveSource` calls it with every frame."""

    flashes: list[Flash] = field(default_factory=list)
    meter: FlashBeep = field(default_factory=FlashBeep)
    _seen_s: float | None = None
    _heard_s: float | None = None
    _level: float | None = None
    _dark: float | None = None
    _sound: SoundResampler = field(default_factory=lambda: SoundResampler(gather=50))

    @property
    def first_s(self) -> float | None:
        """When the first picture came; without pictures, the first sound."""
        return self._heard_s if self._seen_s is None else self._seen_s

    def __call__(self, source_frame: SourceFrame, t_us: int, arrived_s: float) -> None:
        """Measure the brightness of each picture, and all sound."""
        frame = source_frame.frame
        if isinstance(frame, av.VideoFrame):
            self._seen_s = self._seen_s or arrived_s
            grey = np.asarray(frame.to_ndarray(format="gray"), np.uint8)
            self._look(float(grey[::8, ::8].mean()), arrived_s)
            self.meter.push_video(grey, t_us)
            return
        self._heard_s = self._heard_s or arrived_s
        # A copy: the resampler removes the time of the frame that it gets.
        copy = av.AudioFrame.from_ndarray(
            frame.to_ndarray(), format=frame.format.name, layout=frame.layout.name
        )
        copy.sample_rate = frame.sample_rate
        for run in self._sound.push(copy, t_us):
            self.meter.push_audio(run)

    def way_ms(self, sent_s: float) -> float | None:
        """How long flashes were on their way (median), where the clip was begun at `sent_s` and repeated.

        None before the first flash of the clip has come. Less than the clip's length is taken for granted.
        """
        found, first = list[float](), None
        for flash in self.flashes:
            if flash.pictures >= _LONG_PICTURES:
                first = flash
            if first is not None:
                number = round(flash.came_s - first.came_s)
                found.append((flash.came_s - sent_s - number) % CLIP_S)
        return round(median(found) * 1e3, 1) if found else None

    def _look(self, level: float, arrived_s: float) -> None:
        """A flash begins where it gets much brighter, and lasts until it is dark again."""
        if self._dark is not None and level - self._dark > _JUMP:
            self.flashes[-1].pictures += 1
        elif self._level is not None and level - self._level > _JUMP:
            self._dark = self._level
            self.flashes.append(Flash(arrived_s))
        else:
            self._dark = None
        self._level = level


def write_flashes(path: Path) -> Path:
    """Write the clip, H.264 without delay and AAC, and return its path.

    Raises `ModuleNotFoundError` without scikit-image, which brings the face.
    """
    with av.open(str(path), "w") as container:
        video = container.add_stream(
            "libx264",
            rate=FPS,
            options={"preset": "ultrafast", "tune": "zerolatency", "g": str(FPS // 2)},
        )
        video.width, video.height, video.pix_fmt = WIDTH, HEIGHT, "yuv420p"
        sound = container.add_stream("aac", rate=SAMPLE_RATE, layout="mono")
        for rgb in pictures():
            container.mux(video.encode(av.VideoFrame.from_ndarray(rgb, format="rgb24")))
        for frame in _sounds():
            container.mux(sound.encode(frame))
        container.mux(video.encode(None))
        container.mux(sound.encode(None))
    return path


def write_camera(path: Path) -> Path:
    """Write the pictures alone as Motion JPEG, which a browser takes for a camera."""
    with av.open(str(path), "w", format="mjpeg") as container:
        video = container.add_stream("mjpeg", rate=FPS, options={"q": "4"})
        video.width, video.height, video.pix_fmt = WIDTH, HEIGHT, "yuvj420p"
        for rgb in pictures():
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


def pictures() -> Iterator[NDArray[np.uint8]]:
    """The pictures of the clip, (HEIGHT, WIDTH, 3) uint8 RGB."""
    face = portrait()
    for index in range(CLIP_S * FPS):
        rgb = render(face, index / FPS / 2)
        lasts = 2 * _FLASH_S if index < FPS else _FLASH_S
        if index % FPS < lasts * FPS:
            rgb[(rgb == _WALL).all(axis=2)] = 245
        yield rgb


def beeps(rate: int = SAMPLE_RATE) -> NDArray[np.float32]:
    """The sound of the clip (n,) float32: quiet babble, so that there is a voice, and a loud tone at each
    whole second."""
    times = np.arange(CLIP_S * rate) / rate
    quiet = babble(CLIP_S)
    voice = np.interp(times, np.arange(len(quiet)) / SAMPLE_RATE, quiet)
    tone = 0.5 * np.sin(2 * np.pi * 1000 * times) * (times % 1.0 < _FLASH_S)
    return np.asarray(0.02 * voice / np.abs(voice).max() + tone, np.float32)


def _sounds() -> Iterator[av.AudioFrame]:
    data = beeps()
    for first in range(0, len(data), 1024):
        block = np.ascontiguousarray(data[None, first : first + 1024])
        frame = av.AudioFrame.from_ndarray(block, format="fltp", layout="mono")
        frame.sample_rate, frame.pts = SAMPLE_RATE, first
        frame.time_base = Fraction(1, SAMPLE_RATE)
        yield frame
