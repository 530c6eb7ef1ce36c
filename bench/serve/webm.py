"""Recordings as the WebM that a browser's recorder would send, with the time when each piece is due."""

from __future__ import annotations

import io
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
from numpy.typing import NDArray

from affectstream.stream.errors import SourceError

_SIZE, _FPS, _RATE = (640, 360), 30, 48_000
_CHUNK_S = 0.1
_LIVE = {"cluster_time_limit": "100", "live": "1"}
_MAX_S = 20
"""No more of a recording is decoded; it is repeated from there."""

Chunk = tuple[float, bytes]
"""Seconds from the start at which it is due, and the data."""


def encode_webm(path: Path, seconds: float) -> list[Chunk]:
    """`seconds` of a recording, repeated as needed, as VP8 and Opus in chunks of 0.1 s.

    Raises `SourceError` for a recording without pictures.
    """
    out, chunks, sent = io.BytesIO(), list[Chunk](), 0
    with av.open(out, "w", format="webm", options=_LIVE) as file:
        options = {"deadline": "realtime", "cpu-used": "8", "g": "60", "b": "1000000"}
        video = file.add_stream("libvpx", rate=_FPS, options=options)
        video.width, video.height, video.pix_fmt = *_SIZE, "yuv420p"
        audio = file.add_stream("libopus", rate=_RATE, layout="mono")
        due_s, position = _CHUNK_S, 0
        for number, (picture, samples) in enumerate(_repeated(path)):
            t_s = number / _FPS
            if t_s >= seconds:
                break
            frame = picture.reformat(*_SIZE, format="yuv420p")
            frame.pts, frame.time_base, frame.pict_type = number, Fraction(1, _FPS), 0
            file.mux(video.encode(frame))
            sound = av.AudioFrame.from_ndarray(samples[None], format="s16", layout="mono")
            sound.sample_rate, sound.pts, sound.time_base = _RATE, position, Fraction(1, _RATE)
            file.mux(audio.encode(sound))
            position += len(samples)
            if t_s >= due_s:
                data = out.getvalue()
                chunks.append((t_s, data[sent:]))
                sent, due_s = len(data), due_s + _CHUNK_S
    return [chunk for chunk in chunks if chunk[1]]


def loop_webm(media: bytes, period_s: float) -> Iterator[Chunk]:
    """`media`, a WebM of less than `period_s`, in an endless loop as one WebM."""
    out = io.BytesIO()
    with av.open(io.BytesIO(media), "r") as source:
        streams = {s.index: s for s in source.streams if s.type in ("video", "audio")}
        packets = [p for p in source.demux(*streams.values()) if p.pts is not None]
        with av.open(out, "w", format="webm", options=_LIVE) as file:
            outputs = {i: file.add_stream_from_template(s) for i, s in streams.items()}
            offset_s = 0.0
            while True:
                for packet in packets:
                    base = packet.time_base
                    assert base is not None and packet.pts is not None
                    copy = av.Packet(bytes(packet))
                    copy.stream, copy.time_base = outputs[packet.stream.index], base
                    copy.pts = copy.dts = packet.pts + round(offset_s / base)
                    copy.is_keyframe = packet.is_keyframe
                    file.mux(copy)
                    if data := out.getvalue():
                        yield offset_s + float(packet.pts * base), data
                        out.seek(0)
                        out.truncate()
                offset_s += period_s


def _repeated(path: Path) -> Iterator[tuple[av.VideoFrame, NDArray[np.int16]]]:
    """30 frames a second, each with its sound, in an endless loop."""
    frames, sound = _decoded(path)
    count = _RATE // _FPS
    while True:
        for number, frame in enumerate(frames):
            samples = sound[number * count : (number + 1) * count]
            yield frame, np.pad(samples, (0, count - len(samples)))


def _decoded(path: Path) -> tuple[list[av.VideoFrame], NDArray[np.int16]]:
    frames: list[av.VideoFrame] = []
    sound: list[NDArray[np.int16]] = []
    resampler = av.AudioResampler("s16", "mono", _RATE)
    with av.open(str(path)) as file:
        if not file.streams.video:
            raise SourceError(f"{path}: has no pictures: give a recording with a face in it")
        streams = [*file.streams.video[:1], *file.streams.audio[:1]]
        for frame in file.decode(streams):
            if isinstance(frame, av.AudioFrame):
                sound += [part.to_ndarray()[0] for part in resampler.resample(frame)]
            elif isinstance(frame, av.VideoFrame):
                while len(frames) <= (frame.time or 0.0) * _FPS:
                    frames.append(frame)
            if len(frames) > _MAX_S * _FPS:
                break
    return frames, np.concatenate(sound) if sound else np.zeros(0, np.int16)
