"""Long recordings to measure on, made by repeating a short one without encoding it again."""

from __future__ import annotations

import math
from fractions import Fraction
from pathlib import Path
from typing import cast

import av
from av.container import InputContainer

from affectstream.stream.errors import SourceError
from affectstream.stream.media.opening import open_container

_PAUSE_S = 0.2
"""Between repetitions: sound and pictures of a clip never end together."""


def open_pictures(clip: Path) -> InputContainer:
    """Open `clip`. Raises `SourceError` if it cannot be opened or has no pictures."""
    container = open_container(clip)
    if not container.streams.video:
        container.close()
        raise SourceError(f"{clip}: has no pictures; expected a video")
    return container


def repeat_clip(clip: Path, seconds: float, path: Path) -> Path:
    """Write `clip` to `path` again and again until `seconds` are full, and return `path`.

    Packets are copied. Raises `SourceError` for a clip that cannot be opened or does not state its duration.
    """
    with open_container(clip) as source:
        if not source.duration:
            raise SourceError(f"{clip}: does not state its duration; expected a complete recording")
        period_s = source.duration / 1e6 + _PAUSE_S
    with av.open(str(path), "w") as output:
        with av.open(str(clip)) as source:  # every stream has to exist before the first packet
            streams = [output.add_stream_from_template(stream) for stream in source.streams]
        for repetition in range(int(seconds / period_s) + 1):
            with av.open(str(clip)) as source:
                for packet in source.demux():
                    if packet.dts is None or packet.pts is None:
                        continue
                    shift = round(repetition * period_s / float(packet.time_base))
                    packet.dts, packet.pts = packet.dts + shift, packet.pts + shift
                    packet.stream = streams[packet.stream.index]
                    output.mux_one(packet)
    return path


def scale_clip(clip: Path, width: int, height: int, path: Path, seconds: float = math.inf) -> Path:
    """Write `clip` with pictures of this size (H.264, three B-frames) to `path`, and return `path`.

    Sound is copied. What comes after `seconds` is left out. Raises `SourceError` as `open_pictures`.
    """
    with open_pictures(clip) as source, av.open(str(path), "w") as output:
        pictures = source.streams.video[0]
        options = {"preset": "superfast", "crf": "26", "bf": "3"}
        stream = output.add_stream("libx264", rate=pictures.average_rate, options=options)
        stream.width, stream.height, stream.pix_fmt = width, height, "yuv420p"
        stream.codec_context.time_base = cast("Fraction", pictures.time_base)
        sounds = {s: output.add_stream_from_template(s) for s in source.streams.audio[:1]}
        for packet in source.demux([pictures, *sounds]):
            if packet.stream in sounds:
                if packet.dts is not None and float(packet.dts * packet.time_base) < seconds:
                    packet.stream = sounds[packet.stream]
                    output.mux_one(packet)
                continue
            for frame in cast("list[av.VideoFrame]", packet.decode()):
                if (frame.time or 0.0) >= seconds:
                    continue
                scaled = frame.reformat(width, height, "yuv420p")
                scaled.pict_type = 0  # the encoder chooses
                output.mux(stream.encode(scaled))
        output.mux(stream.encode(None))
    return path


def write_demo_recording(seconds: float, folder: Path) -> Path:
    """Write the clip of `affectstream demo`, repeated to `seconds`, into `folder`; return its path."""
    from affectstream.stream.demo import write_clip

    return repeat_clip(write_clip(folder), seconds, folder / "long.mp4")
