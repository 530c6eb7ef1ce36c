"""What a browser's recorder would have sent of a recording, and when: WebM, a tenth of a second a piece."""

from __future__ import annotations

import io
from collections.abc import Iterator
from fractions import Fraction
from pathlib import Path
from typing import Any

import av
import numpy as np

from affectstream.stream.errors import SourceError

_SIZE, _FPS, _RATE = (640, 360), 30, 48_000
_CHUNK_S = 0.1


def webm(path: Path, seconds: float) -> list[tuple[float, bytes]]:
    """`seconds` of the recording, repeated as needed: what a browser's recorder would have sent, when."""
    out, chunks, sent = io.BytesIO(), [], 0
    live = {"cluster_time_limit": "100", "live": "1"}
    with av.open(out, "w", format="webm", options=live) as file:
        options = {"deadline": "realtime", "cpu-used": "8", "g": "60", "b": "1000000"}
        video = file.add_stream("libvpx", rate=_FPS, options=options)
        video.width, video.height, video.pix_fmt = *_SIZE, "yuv420p"
        sound = file.add_stream("libopus", rate=_RATE, layout="mono")
        count, samples, due_s = 0, 0, _CHUNK_S
        for picture, voice in _repeated(path):
            t_s = count / _FPS
            if t_s >= seconds:
                break
            frame = picture.reformat(*_SIZE, format="yuv420p")
            frame.pts, frame.time_base, frame.pict_type = count, Fraction(1, _FPS), 0
            file.mux(video.encode(frame))
            heard = av.AudioFrame.from_ndarray(voice[None], format="s16", layout="mono")
            heard.sample_rate, heard.pts, heard.time_base = _RATE, samples, Fraction(1, _RATE)
            file.mux(sound.encode(heard))
            count, samples = count + 1, samples + len(voice)
            if t_s >= due_s:
                data = out.getvalue()
                chunks.append((t_s, data[sent:]))
                sent, due_s = len(data), due_s + _CHUNK_S
    return [chunk for chunk in chunks if chunk[1]]


def _repeated(path: Path) -> Iterator[tuple[av.VideoFrame, np.ndarray[Any, np.dtype[np.int16]]]]:
    """Pictures at 30 a second, each with its sound, over and over."""
    pictures, voice = _decoded(path)
    per = _RATE // _FPS
    count = 0
    while True:
        at = count % len(pictures)
        start = at * per
        piece = voice[start : start + per]
        yield pictures[at], np.pad(piece, (0, per - len(piece)))
        count += 1


def _decoded(path: Path) -> tuple[list[av.VideoFrame], np.ndarray[Any, np.dtype[np.int16]]]:
    pictures: list[av.VideoFrame] = []
    voice: list[np.ndarray[Any, np.dtype[np.int16]]] = []
    resampler = av.AudioResampler("s16", "mono", _RATE)
    with av.open(str(path)) as file:
        if not file.streams.video:
            raise SourceError(f"{path}: has no pictures: give a recording with a face in it")
        streams = [*file.streams.video[:1], *file.streams.audio[:1]]
        for frame in file.decode(streams):
            if isinstance(frame, av.AudioFrame):
                voice += [part.to_ndarray()[0] for part in resampler.resample(frame)]
            elif isinstance(frame, av.VideoFrame):
                while len(pictures) <= (frame.time or 0.0) * _FPS:
                    pictures.append(frame)
            if len(pictures) > 20 * _FPS:  # as much as is worth holding
                break
    return pictures, np.concatenate(voice) if voice else np.zeros(0, np.int16)
