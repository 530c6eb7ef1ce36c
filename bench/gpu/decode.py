"""Decoding on the GPU (NVDEC, by PyAV) against decoding on the processor, at 360p, 1080p and 2160p.

The clip is drawn and encoded once for each size. Each way decodes every frame; a GPU's frames stay
there, or come to the host, where the pipeline needs them.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np
from av.codec.hwaccel import HWAccel

SIZES = {"360p": (640, 360), "1080p": (1920, 1080), "2160p": (3840, 2160)}
RATE = 30
FRAMES = 120

Clock = tuple[int, float, float, float]
"""Frames after the first one, their wall and processor time, and the time to the first, in seconds."""


def write_clip(path: Path, width: int, height: int, frames: int = FRAMES) -> Path:
    """Write H.264 of moving shapes and some noise, since a still picture is easy to decode."""
    generator = np.random.default_rng(0)
    small = generator.integers(0, 256, (9, 16, 3), np.uint8)
    picture = np.repeat(np.repeat(small, -(-height // 9), 0), -(-width // 16), 1)[:height, :width]
    noise = generator.integers(0, 24, (height, width, 1), np.uint8)
    picture = (picture // 2 + noise).astype(np.uint8)
    with av.open(str(path), "w") as output:
        stream = output.add_stream(
            "libx264", rate=RATE, options={"preset": "superfast", "crf": "26"}
        )
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        stream.codec_context.time_base = Fraction(1, RATE)
        for number in range(frames):
            moved = np.ascontiguousarray(np.roll(picture, 7 * number, 1))
            output.mux(stream.encode(av.VideoFrame.from_ndarray(moved, "rgb24")))
        output.mux(stream.encode(None))
    return path


def measure_decoding(folder: Path, seconds: float, *, gpu: bool = True) -> Iterator[dict[str, Any]]:
    """A row for each size and way, `seconds` for each. Clips that are in `folder` are not made again."""
    for size, (width, height) in SIZES.items():
        path = folder / f"{size}.mp4"
        if not path.is_file():
            write_clip(path, width, height)
        ways: dict[str, Callable[[], Clock]] = {
            "cpu": lambda path=path: _decode(path, None),  # type: ignore[misc]
            "cpu, to RGB": lambda path=path: _decode(path, None, _to_rgb),  # type: ignore[misc]
        }
        if gpu:
            ways |= {
                "nvdec, kept on the GPU": lambda path=path: _decode(path, _nvdec(owned=True)),  # type: ignore[misc]
                "nvdec, to the host": lambda path=path: _decode(path, _nvdec(owned=False)),  # type: ignore[misc]
                "nvdec, to the host, to RGB": lambda path=path: _decode(  # type: ignore[misc]
                    path, _nvdec(owned=False), _to_rgb
                ),
            }
        for way, decode in ways.items():
            yield {"size": size, "way": way, **_rate(decode, seconds)}


def _rate(decode: Callable[[], Clock], seconds: float) -> dict[str, Any]:
    try:
        decode()
        clocks: list[Clock] = []
        until = time.perf_counter() + seconds
        while time.perf_counter() < until:
            clocks.append(decode())
        frames, wall_s, cpu_s, start_s = (sum(values) for values in zip(*clocks, strict=True))
        return {
            "frames_per_s": round(frames / wall_s, 1),
            "times_real_time": round(frames / wall_s / RATE, 2),
            "cpu_ms_per_frame": round(1e3 * cpu_s / frames, 3),
            "start_ms": round(1e3 * start_s / len(clocks), 1),
        }
    except (av.FFmpegError, OSError, RuntimeError, ValueError, TypeError) as error:
        return {"not_run": f"{type(error).__name__}: {error}"}


def _nvdec(*, owned: bool) -> HWAccel:
    return HWAccel("cuda", device="0", allow_software_fallback=False, is_hw_owned=owned)


def _to_rgb(frame: av.VideoFrame) -> object:
    return frame.to_ndarray(format="rgb24")


def _decode(
    path: Path, hwaccel: HWAccel | None, use: Callable[[av.VideoFrame], object] | None = None
) -> Clock:
    """Decode all frames. The clock runs from the first one, since a GPU's decoder takes long to start."""
    opened, began, cpu, frames = time.perf_counter(), 0.0, 0.0, -1
    with av.open(str(path), hwaccel=hwaccel) as container:
        stream = container.streams.video[0]
        stream.thread_type = "AUTO"
        for frame in container.decode(stream):
            if use is not None:
                use(frame)
            if (frames := frames + 1) == 0:
                if hwaccel is not None and not stream.codec_context.is_hwaccel:
                    raise RuntimeError("the decoder runs on the processor")
                began, cpu = time.perf_counter(), time.process_time()
        ended, cpu_ended = time.perf_counter(), time.process_time()
    return frames, ended - began, cpu_ended - cpu, began - opened
