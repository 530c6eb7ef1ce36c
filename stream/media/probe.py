"""What a recording contains, which of its streams are used, and why none can be used."""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from pathlib import Path

import av
from av.audio.stream import AudioStream
from av.container import InputContainer
from av.stream import Disposition
from av.subtitles.stream import SubtitleStream
from av.video.stream import VideoStream

from affectstream.stream.errors import SourceError
from affectstream.stream.media.duration import container_duration_us
from affectstream.stream.media.opening import EXPECTED, NO_INDEX, has_index

_TEXT_CODECS = frozenset({"ansi", "bintext", "idf", "xbin"})
"""FFmpeg renders any .txt file as a video of a terminal; that is not a recording."""
_MIN_RATE, _MAX_RATE, _MAX_CHANNELS = 1_000, 1_000_000, 64
"""Sound beyond these is no sound of people, and FFmpeg cannot resample it or needs gigabytes for it."""


@dataclass(frozen=True, slots=True)
class VideoInfo:
    """The video stream that is used, as it is stored (before rotation)."""

    codec: str
    width: int
    height: int
    rotation: int
    """Degrees counter-clockwise by which a player turns the picture: 0, 90, 180 or 270."""
    pixel_aspect: float
    """Width of a pixel over its height; not 1.0 on anamorphic recordings."""


@dataclass(frozen=True, slots=True)
class AudioInfo:
    """One audio stream. `track` counts the audio streams of the file from 1."""

    track: int
    codec: str
    rate: int
    channels: int
    language: str | None

    def __str__(self) -> str:
        named = f" ({self.language})" if self.language else ""
        return f"{self.track}{named}: {self.codec}, {self.rate} Hz, {self.channels} channels"


@dataclass(frozen=True, slots=True)
class SubtitleInfo:
    """One subtitle stream."""

    codec: str
    language: str | None


@dataclass(frozen=True, slots=True)
class MediaInfo:
    """What a recording contains. Times are microseconds.

    `start_time_us` is the time that the file gives to its beginning; all other times count from there.
    `audio_track` is the track that is used (see `AudioInfo`). `skipped` names each stream that cannot
    be used, with the reason.
    """

    format: str
    duration_us: int | None
    start_time_us: int
    video: VideoInfo | None
    audio: tuple[AudioInfo, ...]
    audio_track: int | None
    subtitles: tuple[SubtitleInfo, ...]
    skipped: tuple[str, ...]


def choose_video(container: InputContainer) -> VideoStream | None:
    """The video stream that a player shows: FFmpeg's best one, cover art left out."""
    usable = [s for s in container.streams.video if _decodes(s) and not _is_cover(s)]
    best = container.streams.best("video")
    return next((s for s in usable if best is not None and s.index == best.index), None) or (
        usable[0] if usable else None
    )


def choose_audio(
    container: InputContainer, requested: int | str | None, path: Path
) -> AudioStream | None:
    """The audio stream `requested`: a track counted from 1, a language, or (None) FFmpeg's best one.

    None where the file has no sound and no track is requested. Raises `SourceError`, which lists the
    existing tracks, where `requested` is not one of them.
    """
    tracks = list(container.streams.audio)
    if requested is None:
        usable = [s for s in tracks if _why_not(s) is None]
        best = container.streams.best("audio")
        found = [s for s in usable if best is not None and s.index == best.index] or usable
    elif isinstance(requested, int) or requested.isdecimal():
        found = tracks[int(requested) - 1 : int(requested)] if int(requested) >= 1 else []
    else:
        found = [s for s in tracks if (s.language or "").lower() == requested.lower()]
    if found and (why_not := _why_not(found[0])) is not None:
        raise SourceError(f"{path}: audio track {requested!r} cannot be used: {why_not}")
    if found or requested is None:
        return found[0] if found else None
    exist = "; ".join(str(info) for info in _audio_infos(container)) or "none: it has no sound"
    raise SourceError(f"{path}: has no audio track {requested!r}; its tracks are {exist}")


def describe(
    container: InputContainer, video: VideoStream | None, audio: AudioStream | None
) -> MediaInfo:
    """What the container holds; `rotation` stays 0, because only a decoded frame states it."""
    streams = container.streams
    tracks = list(streams.audio)
    skipped = [(s, why) for s in (*streams.video, *tracks) if (why := _why_not(s)) is not None]
    return MediaInfo(
        format=container.format.name,
        duration_us=container_duration_us(container),
        start_time_us=container.start_time or 0,
        video=None if video is None else _video_info(video),
        audio=_audio_infos(container),
        audio_track=None if audio is None else [s.index for s in tracks].index(audio.index) + 1,
        subtitles=tuple(
            SubtitleInfo(codec_name(s), language_of(s.language)) for s in streams.subtitles
        ),
        skipped=(
            *(
                f"{stream.type} stream {stream.index} is not used: {why_not}"
                for stream, why_not in skipped
            ),
            *(
                f"subtitle stream {s.index} is not used: {codec_name(s)} holds pictures, not text"
                for s in streams.subtitles
                if _decodes(s) and not is_text(s)
            ),
        ),
    )


def refuse_unusable(info: MediaInfo, audio: AudioStream | None, path: Path) -> None:
    """Raise `SourceError` for a file without usable video or sound."""
    if info.video is not None and info.video.codec in _TEXT_CODECS:
        raise SourceError(f"{path}: holds text and is not a media file; {EXPECTED}")
    if info.video is None and audio is None:
        if info.skipped and not info.subtitles:
            raise SourceError(f"{path}: cannot be decoded: {'; '.join(info.skipped)}")
        if "mov" in info.format.split(",") and path.is_file() and not has_index(path):
            raise SourceError(f"{path}: {NO_INDEX}")
        what = "subtitles only" if info.subtitles else f"neither ({info.format})"
        raise SourceError(f"{path}: has no video and no audio stream, found {what}; {EXPECTED}")


def pixel_aspect(stream: VideoStream) -> float:
    """Width of a pixel over its height; 1.0 where the file states none, or an absurd one."""
    aspect = stream.sample_aspect_ratio
    return float(aspect) if aspect and Fraction(1, 4) <= aspect <= 4 else 1.0


def codec_name(stream: av.stream.Stream) -> str:
    """The codec's name, ``unknown`` where FFmpeg has no decoder."""
    return str(stream.codec_context.name) if _decodes(stream) else "unknown"


def is_text(stream: SubtitleStream) -> bool:
    """Whether a subtitle stream holds text; on DVD, Blu-ray and in broadcasts it holds pictures."""
    return _decodes(stream) and bool(stream.codec_context.codec.text_sub)


def language_of(tag: str | None) -> str | None:
    """A stream's language tag; None for ``und`` (undetermined)."""
    return tag if tag and tag != "und" else None


def _video_info(stream: VideoStream) -> VideoInfo:
    return VideoInfo(
        codec=codec_name(stream),
        width=stream.codec_context.width,
        height=stream.codec_context.height,
        rotation=0,
        pixel_aspect=pixel_aspect(stream),
    )


def _audio_infos(container: InputContainer) -> tuple[AudioInfo, ...]:
    return tuple(
        AudioInfo(
            track=number,
            codec=codec_name(stream),
            rate=stream.codec_context.rate if _decodes(stream) else 0,
            channels=stream.codec_context.channels if _decodes(stream) else 0,
            language=language_of(stream.language),
        )
        for number, stream in enumerate(container.streams.audio, 1)
    )


def _decodes(stream: av.stream.Stream) -> bool:
    return stream.codec_context is not None


def _why_not(stream: av.stream.Stream) -> str | None:
    """Why a stream of video or sound cannot be used; None where it can."""
    if not _decodes(stream):
        return "this FFmpeg has no decoder for it"
    if isinstance(stream, AudioStream):
        rate, channels = stream.codec_context.rate, stream.codec_context.channels
        if (rate and not _MIN_RATE <= rate <= _MAX_RATE) or channels > _MAX_CHANNELS:
            return (
                f"its sound has {rate} Hz and {channels} channels, expected {_MIN_RATE} to {_MAX_RATE} Hz "
                f"and at most {_MAX_CHANNELS} channels"
            )
    return None


def _is_cover(stream: VideoStream) -> bool:
    return bool(stream.disposition & Disposition.attached_pic)
