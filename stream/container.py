"""Opening a recording: what is in it, which streams are used, and why it cannot be used.

FFmpeg's own messages ("Invalid data found when processing input") tell a user little, so a file that
it refuses is looked at once more, to say what is wrong with it and what to do.
"""

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

EXPECTED = "expected a video or sound recording (mp4, mov, mkv, webm, avi, ts, wav, flac, mp3, ...)"

_TEXT_CODECS = frozenset({"ansi", "bintext", "idf", "xbin"})
"""FFmpeg paints any .txt file as a film of a terminal; that is not a recording."""

_QUICKTIME_BOXES = frozenset({b"ftyp", b"wide", b"mdat", b"free", b"skip", b"moov", b"pnot"})


_NO_INDEX = (
    "was cut off before its index was written (no complete 'moov' box): the recorder stopped before "
    "it could close the file. Its pictures cannot be found without the index: record again, or "
    "rebuild the index with a repair tool and an intact file of the same camera"
)


@dataclass(frozen=True, slots=True)
class VideoInfo:
    """The video stream that is used, as it is stored (before rotation)."""

    codec: str
    width: int
    height: int
    rotation: int
    """Degrees counter-clockwise by which a player turns the picture: 0, 90, 180 or 270."""
    average_rate_hz: float | None
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
    """What a recording holds. Times are microseconds.

    `start_time_us` is what the file calls its beginning; all other times count from there.
    `audio_track` is the track that is used (see `AudioInfo`). `skipped` says which
    streams cannot be used, and why.
    """

    format: str
    duration_us: int | None
    start_time_us: int
    video: VideoInfo | None
    audio: tuple[AudioInfo, ...]
    audio_track: int | None
    subtitles: tuple[SubtitleInfo, ...]
    skipped: tuple[str, ...]


def open_container(path: Path) -> InputContainer:
    """Open `path` with FFmpeg. Raises `SourceError` saying what is wrong with the file."""
    try:
        if path.is_dir():
            raise SourceError(f"{path}: is a directory; give a recording in it")
        if path.exists() and not path.is_file():
            raise SourceError(f"{path}: is no regular file; {EXPECTED}")
        if path.is_file():
            _look_first(path)
        # "file:" keeps names such as 12:30.mp4 from being taken for a protocol; the list keeps
        # files that point elsewhere from reaching the network.
        return av.open(
            f"file:{path}",
            "r",
            container_options={"protocol_whitelist": "file"},
            metadata_errors="replace",
        )
    except (av.FFmpegError, OSError, ValueError) as exc:
        raise SourceError(f"{path}: {_diagnosis(path, exc)}") from exc


def _look_first(path: Path) -> None:
    """Refuse what FFmpeg would take, or wait for without end, though it is no recording."""
    with path.open("rb") as file:
        head = file.read(16)
    if not head:
        raise SourceError(f"{path}: is empty (0 bytes); {EXPECTED}")
    if head.lstrip(b"\xef\xbb\xbf").startswith(b"#EXTM3U"):
        raise SourceError(f"{path}: is a playlist; give the recordings that it names")


def _diagnosis(path: Path, exc: Exception) -> str:
    """What is wrong with a file that FFmpeg or the system refuses."""
    reason = reason_of(exc)
    try:
        with path.open("rb") as file:
            head = file.read(4096)
        if head[4:8] in _QUICKTIME_BOXES and not _has_index(path):
            return _NO_INDEX
        if _is_text(head):
            return f"holds text and is not a media file; {EXPECTED}"
    except FileNotFoundError:
        return "no such file"
    except OSError as error:
        return f"may not be read: {reason_of(error)}"
    return f"is not a media file that FFmpeg can read ({reason}); {EXPECTED}"


def reason_of(exc: Exception) -> str:
    """FFmpeg's or the system's short text for an error."""
    return str(getattr(exc, "strerror", None) or exc)


def _is_text(head: bytes) -> bool:
    return (
        bool(head)
        and b"\0" not in head
        and not head.lstrip(b"\xef\xbb\xbf\r\n\t").translate(
            None, bytes(range(32, 127)) + bytes(range(128, 256)) + b"\r\n\t\f\x1b"
        )
    )


def _has_index(path: Path) -> bool:
    """Whether the top level of an mp4 or mov has a whole ``moov`` box."""
    size = path.stat().st_size
    at = 0
    with path.open("rb") as file:
        while at + 8 <= size:
            file.seek(at)
            head = file.read(16)
            length, kind = int.from_bytes(head[:4], "big"), head[4:8]
            if length == 1:
                length = int.from_bytes(head[8:16], "big")
            elif length == 0:
                length = size - at
            if kind == b"moov":
                return at + length <= size
            if length < 8:
                return False
            at += length
    return False


def share_present(path: Path) -> float:
    """How much of its announced size a RIFF file (wav, avi) has; 1.0 for all other files.

    FFmpeg takes the duration of a wav file that was cut off from what is left of it.
    """
    with path.open("rb") as file:
        head = file.read(8)
    announced = int.from_bytes(head[4:8], "little") + 8
    # Recorders that cannot go back write 0 or the largest number they know.
    if head[:4] != b"RIFF" or not 8 < announced < 0x7FFF_0000:
        return 1.0
    return min(1.0, path.stat().st_size / announced)


def choose_video(container: InputContainer) -> VideoStream | None:
    """The video stream that a player shows: FFmpeg's best one, cover art left out."""
    usable = [s for s in container.streams.video if _decodes(s) and not _is_cover(s)]
    best = container.streams.best("video")
    return next((s for s in usable if best is not None and s.index == best.index), None) or (
        usable[0] if usable else None
    )


def choose_audio(
    container: InputContainer, wanted: int | str | None, path: Path
) -> AudioStream | None:
    """The audio stream `wanted`: a track counted from 1, a language, or FFmpeg's best one.

    Raises `SourceError` naming the tracks that exist.
    """
    tracks = list(container.streams.audio)
    if wanted is None:
        usable = [s for s in tracks if _decodes(s)]
        best = container.streams.best("audio")
        found = [s for s in usable if best is not None and s.index == best.index] or usable
    elif isinstance(wanted, int) or wanted.isdecimal():
        found = tracks[int(wanted) - 1 : int(wanted)] if int(wanted) >= 1 else []
    else:
        found = [s for s in tracks if (s.language or "").lower() == wanted.lower()]
    if found and not _decodes(found[0]):
        raise SourceError(f"{path}: audio track {wanted!r} cannot be decoded by this FFmpeg")
    if found or wanted is None:
        return found[0] if found else None
    exist = "; ".join(str(info) for info in _audio_infos(container)) or "none: it has no sound"
    raise SourceError(f"{path}: has no audio track {wanted!r}; its tracks are {exist}")


def describe(
    container: InputContainer, video: VideoStream | None, audio: AudioStream | None
) -> MediaInfo:
    """What the container holds; `rotation` is 0 until a frame has told it."""
    streams = container.streams
    tracks = list(streams.audio)
    skipped = [s for s in (*streams.video, *tracks) if not _decodes(s)]
    return MediaInfo(
        format=container.format.name,
        duration_us=_duration_us(container),
        start_time_us=container.start_time or 0,
        video=None if video is None else _video_info(video),
        audio=_audio_infos(container),
        audio_track=None if audio is None else [s.index for s in tracks].index(audio.index) + 1,
        subtitles=tuple(
            SubtitleInfo(codec_name(s), language_of(s.language)) for s in streams.subtitles
        ),
        skipped=(
            *(
                f"{s.type} stream {s.index} is not used: this FFmpeg has no decoder for it"
                for s in skipped
            ),
            *(
                f"subtitle stream {s.index} is not used: {codec_name(s)} holds pictures, not text"
                for s in streams.subtitles
                if _decodes(s) and not is_text(s)
            ),
        ),
    )


def refuse_unusable(info: MediaInfo, audio: AudioStream | None, path: Path) -> None:
    """Raise `SourceError` for a file that has nothing to see or hear."""
    if info.video is not None and info.video.codec in _TEXT_CODECS:
        raise SourceError(f"{path}: holds text and is not a media file; {EXPECTED}")
    if info.video is None and audio is None:
        if info.skipped and not info.subtitles:
            raise SourceError(f"{path}: cannot be decoded: {'; '.join(info.skipped)}")
        if "mov" in info.format.split(",") and path.is_file() and not _has_index(path):
            raise SourceError(f"{path}: {_NO_INDEX}")
        what = "subtitles only" if info.subtitles else f"neither ({info.format})"
        raise SourceError(f"{path}: has no video and no audio stream, found {what}; {EXPECTED}")


def codec_name(stream: av.stream.Stream) -> str:
    """The codec's name, ``unknown`` where FFmpeg has no decoder."""
    return str(stream.codec_context.name) if _decodes(stream) else "unknown"


def is_text(stream: SubtitleStream) -> bool:
    """Whether a subtitle stream holds words; on DVD, Blu-ray and in broadcasts it holds pictures."""
    return _decodes(stream) and bool(stream.codec_context.codec.text_sub)


def language_of(tag: str | None) -> str | None:
    """A stream's language tag; None for ``und`` (undetermined)."""
    return tag if tag and tag != "und" else None


def _duration_us(container: InputContainer) -> int | None:
    """How long the recording is; Matroska counts it from 0, even when nothing starts there."""
    duration, start = container.duration, container.start_time or 0
    if duration is None or "matroska" not in container.format.name:
        return duration
    return duration - start if 0 < start < duration else duration


def _video_info(stream: VideoStream) -> VideoInfo:
    rate, aspect = stream.average_rate, stream.sample_aspect_ratio
    return VideoInfo(
        codec=codec_name(stream),
        width=stream.codec_context.width,
        height=stream.codec_context.height,
        rotation=0,
        average_rate_hz=float(rate) if rate else None,
        pixel_aspect=float(aspect) if aspect and Fraction(1, 4) <= aspect <= 4 else 1.0,
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


def _is_cover(stream: VideoStream) -> bool:
    return bool(stream.disposition & Disposition.attached_pic)
