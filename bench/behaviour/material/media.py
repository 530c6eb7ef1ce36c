"""Files to measure on: written with PyAV from pictures and sound, and pictures read back."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray

from affectstream.stream.media.types import SAMPLE_RATE

Picture = NDArray[np.uint8]
Sound = NDArray[np.float32]

_TICKS = Fraction(1, 90_000)
_BLOCK = 1024


def write_video(
    path: Path, pictures: Iterable[Picture], rate: int, *, crf: int = 14, sound: Sound | None = None
) -> Path:
    """Write pictures (H, W, 3) uint8 RGB of one size, `rate` a second, as H.264; return `path`.

    An odd row or column at the edge is dropped. `crf` is the quality, lower is better. `sound` (n,) float32
    is 16 kHz mono.
    """
    with av.open(str(path), "w") as container:
        video = container.add_stream(
            "libx264", rate=rate, options={"crf": str(crf), "preset": "veryfast"}
        )
        video.pix_fmt = "yuv420p"
        video.codec_context.time_base = _TICKS
        audio = None
        if sound is not None:
            audio = container.add_stream("aac", rate=SAMPLE_RATE, layout="mono")
        for number, picture in enumerate(pictures):
            picture = picture[: picture.shape[0] // 2 * 2, : picture.shape[1] // 2 * 2]
            if not number:
                video.height, video.width = picture.shape[:2]
            frame = av.VideoFrame.from_ndarray(np.ascontiguousarray(picture), format="rgb24")
            frame.pts, frame.time_base = round(Fraction(number, rate) / _TICKS), _TICKS
            container.mux(video.encode(frame))
        container.mux(video.encode(None))
        if audio is not None and sound is not None:
            for block in _sound_frames(sound):
                container.mux(audio.encode(block))
            container.mux(audio.encode(None))
    return path


def write_sound(path: Path, sound: Sound) -> Path:
    """Write 16 kHz mono sound (n,) float32 in [-1, 1] as 16-bit PCM; return `path`, which ends in .wav."""
    with av.open(str(path), "w") as container:
        stream = container.add_stream("pcm_s16le", rate=SAMPLE_RATE, layout="mono")
        for frame in _sound_frames(np.clip(sound, -1.0, 1.0)):
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))
    return path


def _sound_frames(sound: Sound) -> Iterator[av.AudioFrame]:
    for first in range(0, len(sound), _BLOCK):
        pcm = np.round(sound[first : first + _BLOCK] * 32767).astype(np.int16)
        frame = av.AudioFrame.from_ndarray(pcm[None], format="s16", layout="mono")
        frame.sample_rate, frame.pts = SAMPLE_RATE, first
        frame.time_base = Fraction(1, SAMPLE_RATE)
        yield frame


def read_sound(path: Path) -> Sound:
    """The first audio stream as 16 kHz mono (n,) float32."""
    resampler = av.AudioResampler(format="flt", layout="mono", rate=SAMPLE_RATE)
    parts = []
    with av.open(str(path)) as container:
        for frame in container.decode(audio=0):
            parts += [out.to_ndarray()[0] for out in resampler.resample(frame)]
        parts += [out.to_ndarray()[0] for out in resampler.resample(None)]
    return np.concatenate(parts).astype(np.float32)


def read_pictures(path: Path, times_s: Sequence[float]) -> list[Picture]:
    """The first picture at or after each time; the last one for later times. `times_s` ascend."""
    found: list[Picture] = []
    with av.open(str(path)) as container:
        frame = None
        for frame in container.decode(video=0):
            while len(found) < len(times_s) and frame.time >= times_s[len(found)]:
                found.append(np.asarray(frame.to_ndarray(format="rgb24"), np.uint8))
            if len(found) == len(times_s):
                break
        if frame is not None and len(found) < len(times_s):
            last = np.asarray(frame.to_ndarray(format="rgb24"), np.uint8)
            found += [last] * (len(times_s) - len(found))
    return found


def duration_s(path: Path) -> float:
    """How long a file says it is."""
    with av.open(str(path)) as container:
        return (container.duration or 0) / 1e6
