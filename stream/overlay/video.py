"""`overlay.mp4`: H.264, with the sound of the recording."""

from __future__ import annotations

import heapq
import re
from collections.abc import Iterator
from contextlib import ExitStack
from fractions import Fraction
from functools import partial
from pathlib import Path
from typing import Any, TypeAlias

import av
import numpy as np
from av.container import InputContainer, OutputContainer
from av.packet import Packet
from numpy.typing import NDArray

from affectstream.stream.annotations.tiers import stated_use
from affectstream.stream.errors import SourceError
from affectstream.stream.events import Stream
from affectstream.stream.media.picture import to_rgb
from affectstream.stream.media.probe import choose_audio, choose_video
from affectstream.stream.media.recording import Recording
from affectstream.stream.media.types import RIGHT_ANGLES, Frame, Rotation
from affectstream.stream.overlay.draw import blur, draw
from affectstream.stream.overlay.places import FacePlaces
from affectstream.stream.results.scored import ScoredRecording

_MICRO = Fraction(1, 1_000_000)
_TICKS = Fraction(1, 90_000)
_COPIED = frozenset({"aac", "mp3", "ac3", "eac3", "opus", "flac", "alac"})
"""Sound that an MP4 file can hold as it is; other sound is encoded anew, as AAC."""
_TURNED = re.compile(r"turned by (90|180|270) degrees counterclockwise")
_HOLD_S, _HOLD_BLURRED_S = 0.3, 1.0
_QUALITY = {"crf": "23", "preset": "veryfast"}

_Timed: TypeAlias = "tuple[float, int, Packet[Any]]"
"""Seconds, the place of the stream, and the packet."""


def lacks(recording: ScoredRecording) -> str | None:
    """``pictures`` where there is no video to draw on."""
    has_pictures = any(
        isinstance(event, Stream) and event.what == "started" and "video" in event.modalities
        for event in recording.events
    )
    return None if has_pictures else "pictures"


def write(recording: ScoredRecording, path: Path, *, blurred: bool = False) -> None:
    """Write the recording with its readings drawn on it to `path`.

    `blurred` makes faces unrecognizable. Only faces that have a number can be: one that was not found, or
    seen too briefly, stays as it is. Raises `OSError` if the recording cannot be read or the video cannot be
    written.
    """
    try:
        with ExitStack() as opened:
            _write(recording, path, blurred, opened)
    except SourceError as error:
        raise OSError(f"the recording cannot be read again: {error}") from error
    except av.FFmpegError as error:
        raise OSError(error.errno, error.strerror) from error


write_blurred = partial(write, blurred=True)


def _write(recording: ScoredRecording, path: Path, blurred: bool, opened: ExitStack) -> None:
    options = recording.options
    start_us, end_us = (
        None if (t_s := options.get(name)) is None else round(t_s * 1_000_000)
        for name in ("start_s", "end_s")
    )
    source = opened.enter_context(Recording.open(recording.path, start_us=start_us, end_us=end_us))
    output = opened.enter_context(av.open(str(path), "w", format="mp4"))
    if use := stated_use(recording):
        output.metadata["comment"] = "; ".join(f"{name}: {text}" for name, text in use.items())
    places = FacePlaces(recording.readings, _HOLD_BLURRED_S if blurred else _HOLD_S)
    turn = turn_of(recording)
    frames = (item for item in source if isinstance(item, Frame))
    first = next(frames, None)
    if first is None:
        raise OSError("the recording has no picture that can be decoded")
    video = source.info.video
    aspect = 1.0 if video is None else video.pixel_aspect
    height, width = _even(_upright(first, aspect, turn)).shape[:2]
    again = opened.enter_context(av.open(str(recording.path)))
    stored = choose_video(again)
    rate = stored.average_rate if stored is not None else None
    encoder = output.add_stream("libx264", rate=rate or 25, options=_QUALITY)
    encoder.width, encoder.height, encoder.pix_fmt = width, height, "yuv420p"
    encoder.codec_context.time_base = _TICKS

    def pictures() -> Iterator[_Timed]:
        last = -1
        for frame in (first, *frames):
            picture = _even(_upright(frame, aspect, turn))
            if picture.shape[:2] != (height, width):
                continue  # the size of a video cannot change
            faces = places.at(frame.pts_us / 1e6)
            if blurred:
                blur(picture, faces)
            draw(picture, faces, points=not blurred)
            encoded = av.VideoFrame.from_ndarray(picture, format="rgb24")
            pts = round((frame.pts_us - source.start_us) * _MICRO / _TICKS)
            if pts <= last:
                continue
            last = encoded.pts = pts
            encoded.time_base = _TICKS
            for packet in encoder.encode(encoded):
                yield _timed(packet, 0)
        for packet in encoder.encode(None):
            yield _timed(packet, 0)

    sound = _sound(again, output, recording, source.start_us, end_us)
    for _, _, packet in heapq.merge(pictures(), sound, key=lambda one: one[:2]):
        output.mux(packet)


def _timed(packet: Packet[Any], place: int) -> _Timed:
    at = packet.dts if packet.dts is not None else packet.pts
    return float((at or 0) * packet.time_base), place, packet


def _upright(frame: Frame, aspect: float, turn: Rotation) -> NDArray[np.uint8]:
    return turn.apply(to_rgb(frame, pixel_aspect=aspect))


def _even(picture: NDArray[np.uint8]) -> NDArray[np.uint8]:
    """A copy of which both sides are even, as H.264 wants them."""
    height, width = picture.shape[:2]
    return np.ascontiguousarray(picture[: max(2, height & ~1), : max(2, width & ~1)]).copy()


def turn_of(recording: ScoredRecording) -> Rotation:
    """How scoring turned a recording that lies on its side."""
    for event in recording.events:
        if isinstance(event, Stream) and (found := _TURNED.search(event.detail or "")):
            return RIGHT_ANGLES[int(found[1]) // 90]
    return RIGHT_ANGLES[0]


def _sound(
    source: InputContainer,
    output: OutputContainer,
    recording: ScoredRecording,
    start_us: int,
    end_us: int | None,
) -> Iterator[_Timed]:
    """The packets of the sound that was scored, from `start_us` on; adds its stream to `output` at once."""
    stream = choose_audio(source, recording.options.get("audio_track"), recording.path)
    if stream is None:
        return iter(())
    origin_us = source.start_time or 0
    shift = (origin_us + start_us) * _MICRO
    if start_us:
        source.seek(origin_us + start_us)
    if stream.codec_context.name in _COPIED:
        target = output.add_stream_from_template(stream)

        def copied() -> Iterator[_Timed]:
            for packet in source.demux(stream):
                if packet.pts is None or packet.dts is None or packet.time_base is None:
                    continue
                t = packet.pts * packet.time_base - shift
                if t < 0:
                    continue
                if end_us is not None and t >= (end_us - start_us) * _MICRO:
                    return
                ticks = round(shift / packet.time_base)
                packet.pts, packet.dts = packet.pts - ticks, packet.dts - ticks
                packet.stream = target
                yield _timed(packet, 1)

        return copied()
    made = output.add_stream("aac", rate=stream.codec_context.sample_rate)
    resampler = av.AudioResampler("fltp", stream.codec_context.layout, made.rate)

    def encoded() -> Iterator[_Timed]:
        for frame in source.decode(stream):
            if frame.pts is None or frame.time_base is None:
                continue
            t = frame.pts * frame.time_base - shift
            if t < 0:
                continue
            if end_us is not None and t >= (end_us - start_us) * _MICRO:
                break
            for part in resampler.resample(frame):
                part.pts = round(t * made.rate)
                part.time_base = Fraction(1, made.rate)
                for packet in made.encode(part):
                    yield _timed(packet, 1)
        for packet in made.encode(None):
            yield _timed(packet, 1)

    return encoded()
