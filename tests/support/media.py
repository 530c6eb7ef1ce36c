"""Real media for tests, written with PyAV: small pictures that carry their number, clicks, cues.

A picture of `numbered(i)` shows `i` as black and white bars, so that a test can ask a decoded frame
which one it is (`read_number`), whatever the codec did to it. A sound of `clicks` has single pulses
at known times.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from numpy.typing import NDArray

from affectstream.stream.media.types import Samples

BITS = 10
"""Pictures are numbered from 0 to 1023."""

VIDEO_TICKS = 90_000
"""Ticks a second of the times that `write_video` hands to the encoder."""

_QUIET = {"libx265": {"x265-params": "log-level=none:pools=1"}, "libsvtav1": {"preset": "10"}}


@dataclass(frozen=True, slots=True, eq=False)
class Sound:
    """Sound of a file: `data` is (n, channels) float32; sample 0 plays at `start_s`.

    `holes` are stretches in seconds, counted in `data`, that are not written at all: what comes
    after keeps its time.
    """

    data: NDArray[np.float32]
    rate: int = 48_000
    codec: str = "aac"
    layout: str | None = None
    language: str | None = None
    start_s: float = 0.0
    holes: Sequence[tuple[float, float]] = ()


@dataclass(frozen=True, slots=True)
class Text:
    """A subtitle stream: cues are (start seconds, end seconds, text)."""

    cues: Sequence[tuple[float, float, str]]
    codec: str = "mov_text"
    language: str | None = None


@dataclass(frozen=True, slots=True)
class Muxing:
    """How a file is put together, apart from its pictures and sound."""

    rotation: float | None = None
    mirror: bool = False
    video_options: dict[str, str] = field(default_factory=dict)
    container_options: dict[str, str] = field(default_factory=dict)
    sound_first: bool = False
    """Every packet of sound before the first of video, where the container keeps that order."""


def numbered(number: int, size: tuple[int, int] = (64, 48)) -> NDArray[np.uint8]:
    """A picture (height, width, 3) that shows `number` in `BITS` bars, lowest bit on the left."""
    width, height = size
    bars = [255 if number >> bit & 1 else 0 for bit in range(BITS)]
    row = np.repeat(np.array(bars, np.uint8), -(-width // BITS))[:width]
    return np.broadcast_to(row[None, :, None], (height, width, 3)).copy()


def read_number(rgb: NDArray[np.uint8]) -> int:
    """The number that a decoded picture of `numbered` shows."""
    width = rgb.shape[1]
    step = -(-width // BITS)
    middle = rgb[rgb.shape[0] // 2, :, 1]
    return sum(
        int(middle[min(bit * step + step // 2, width - 1)] > 127) << bit for bit in range(BITS)
    )


def clicks(
    seconds: float, rate: int, at: Sequence[float], channels: int = 1, height: float = 0.9
) -> NDArray[np.float32]:
    """Silence (n, channels) with one pulse at each time of `at`: a click 4 samples wide or 0.1 ms."""
    data = np.zeros((round(seconds * rate), channels), np.float32)
    wide = max(1, round(rate * 1e-4))
    for t in at:
        first = round(t * rate) - wide // 2
        data[max(0, first) : first + wide] = height
    return data


def tone(seconds: float, rate: int, hz: float = 440.0, channels: int = 1) -> NDArray[np.float32]:
    """A sine (n, channels) of amplitude 0.5."""
    t = np.arange(round(seconds * rate)) / rate
    wave = (0.5 * np.sin(2 * np.pi * hz * t)).astype(np.float32)
    return np.repeat(wave[:, None], channels, axis=1)


def write_video(
    path: Path,
    frames: int | Sequence[NDArray[np.uint8]] = 25,
    *,
    size: tuple[int, int] = (64, 48),
    rate: int | Fraction = 25,
    times_s: Sequence[float] | None = None,
    codec: str = "libx264",
    pix_fmt: str = "yuv420p",
    sound: Sound | Sequence[Sound] = (),
    text: Text | Sequence[Text] = (),
    muxing: Muxing | None = None,
) -> Path:
    """Write a recording and return its path.

    `frames` are pictures (height, width, 3) uint8, or how many of `numbered` to make; `times_s` are
    their times (frame i at i / `rate` unless given). Zero frames write a file without video.
    """
    os.environ.setdefault("SVT_LOG", "1")
    muxing = muxing or Muxing()
    pictures = [numbered(i, size) for i in range(frames)] if isinstance(frames, int) else frames
    times = times_s if times_s is not None else [i / rate for i in range(len(pictures))]
    with av.open(str(path), "w", options=muxing.container_options) as container:
        feeds = []
        if len(pictures):
            feeds.append(_video(container, pictures, times, rate, codec, pix_fmt, muxing))
        sounds = [sound] if isinstance(sound, Sound) else list(sound)
        feeds += [_sound(container, s) for s in sounds]
        feeds += [_text(container, t) for t in ([text] if isinstance(text, Text) else text)]
        packets = [packet for feed in feeds for packet in feed()]
        if not muxing.sound_first:
            packets.sort(key=lambda p: (p.dts or 0) * p.time_base)
        else:
            packets.sort(key=lambda p: p.stream.type == "video")
        for packet in packets:
            (container.mux_one if not muxing.sound_first else container.mux)(packet)
    return path


def write_sound(path: Path, data: NDArray[np.float32], rate: int, codec: str, **more: Any) -> Path:
    """Write a file that holds sound alone."""
    return write_video(path, 0, sound=Sound(data, rate, codec, **more))


def _video(
    container: Any,
    pictures: Sequence[NDArray[np.uint8]],
    times: Sequence[float],
    rate: int | Fraction,
    codec: str,
    pix_fmt: str,
    muxing: Muxing,
) -> Any:
    options = _QUIET.get(codec, {}) | muxing.video_options
    stream = container.add_stream(codec, rate=rate, options=options)
    stream.height, stream.width = pictures[0].shape[:2]
    stream.pix_fmt = pix_fmt
    # Old codecs want a frame number for a time; the rest takes fine ticks.
    old = codec in {"mpeg1video", "mpeg2video", "mpeg4", "mjpeg"}
    ticks = Fraction(rate) if old else Fraction(VIDEO_TICKS)
    stream.codec_context.time_base = 1 / ticks
    if muxing.rotation is not None or muxing.mirror:
        stream.set_display_rotation(muxing.rotation or 0, hflip=muxing.mirror)

    def packets() -> list[Any]:
        out = []
        for picture, t in zip(pictures, times, strict=True):
            frame = av.VideoFrame.from_ndarray(picture, format="rgb24").reformat(format=pix_fmt)
            frame.pts, frame.time_base = round(Fraction(t) * ticks), 1 / ticks
            out += stream.encode(frame)
        return out + stream.encode()

    return packets


def _sound(container: Any, sound: Sound) -> Any:
    channels = sound.data.shape[1]
    layout = sound.layout or {1: "mono", 2: "stereo", 6: "5.1"}[channels]
    stream = container.add_stream(sound.codec, rate=sound.rate, layout=layout)
    if sound.language:
        stream.metadata["language"] = sound.language
    wanted = stream.codec_context.format.name

    def packets() -> list[Any]:
        out, convert = [], av.AudioResampler(format=wanted, layout=layout, rate=sound.rate)
        size = stream.codec_context.frame_size or 1024
        for first, block in _blocks(sound, size):
            frame = av.AudioFrame.from_ndarray(block.reshape(1, -1), format="flt", layout=layout)
            frame.sample_rate = sound.rate
            frame.time_base = Fraction(1, sound.rate)
            frame.pts = first + round(sound.start_s * sound.rate)
            for ready in convert.resample(frame):
                ready.pts, ready.time_base = frame.pts, frame.time_base
                out += stream.encode(ready)
        return out + stream.encode()

    return packets


def _blocks(sound: Sound, size: int) -> list[tuple[int, NDArray[np.float32]]]:
    """(number of the first sample, block) of whole encoder frames, those in holes left out."""
    blocks = []
    for first in range(0, len(sound.data), size):
        t = first / sound.rate
        if not any(start <= t < end for start, end in sound.holes):
            block = sound.data[first : first + size]
            blocks.append((first, np.ascontiguousarray(block, np.float32)))
    return blocks


def _text(container: Any, text: Text) -> Any:
    stream = container.add_stream(text.codec)
    if text.language:
        stream.metadata["language"] = text.language
    stream.codec_context.subtitle_header = _ASS_HEADER
    stream.time_base = Fraction(1, 1000)

    def packets() -> list[Any]:
        out = []
        for start, end, said in text.cues:
            line = f"0,0,Default,,0,0,0,,{said}".encode()
            ticks = round((end - start) * 1000)
            cue = av.subtitles.subtitle.SubtitleSet.create(line, 0, ticks, round(start * 1000))
            packet = stream.codec_context.encode_subtitle(cue)
            packet.stream, packet.time_base = stream, Fraction(1, 1000)
            out.append(packet)
        return out

    return packets


_ASS_HEADER = b"""[Script Info]
ScriptType: v4.00+

[V4+ Styles]
Format: Name, Fontname, Fontsize, PrimaryColour, SecondaryColour, OutlineColour, BackColour, \
Bold, Italic, Underline, StrikeOut, ScaleX, ScaleY, Spacing, Angle, BorderStyle, Outline, Shadow, \
Alignment, MarginL, MarginR, MarginV, Encoding
Style: Default,Arial,16,&Hffffff,&Hffffff,&H0,&H0,0,0,0,0,100,100,0,0,1,1,0,2,10,10,10,1

[Events]
Format: Layer, Start, End, Style, Name, MarginL, MarginR, MarginV, Effect, Text
"""


def cut_runs(data: NDArray[np.float32], sizes: Sequence[int], start: int = 0) -> list[Samples]:
    """`data` (n, channels) as `Samples` of these sizes, the rest in one."""
    at = 0
    out: list[Samples] = []
    for size in sizes:
        if at < len(data):
            out.append(Samples(start + at, data[at : at + size]))
            at += size
    return [*out, Samples(start + at, data[at:])] if at < len(data) else out
