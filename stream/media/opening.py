"""Opening a file with FFmpeg, and explaining why a file cannot be opened.

FFmpeg's own messages ("Invalid data found when processing input") help a user little. So a file that
FFmpeg refuses is inspected once more, to find out what is wrong with it and what the user can do.
"""

from __future__ import annotations

import stat
from collections.abc import Collection
from pathlib import Path
from typing import Any

import av
from av.container import InputContainer
from av.stream import Discard, Stream

from affectstream.stream.errors import SourceError
from affectstream.stream.media.pixel_limit import probe_options
from affectstream.stream.options import MAX_PIXELS

EXPECTED = (
    "expected a video or sound recording (mp4, mov, mkv, webm, avi, ts, wav, flac, mp3, ...) "
    "or a transcript (.srt, .vtt)"
)

_QUICKTIME_BOXES = frozenset({b"ftyp", b"wide", b"mdat", b"free", b"skip", b"moov", b"pnot"})

NO_INDEX = (
    "was cut off before its index was written (no complete 'moov' box): the recorder stopped before "
    "it could close the file. Without the index its pictures cannot be found: record again, or "
    "rebuild the index with a repair tool and an intact file of the same camera"
)

REPLACE_BAD_METADATA: dict[str, Any] = (
    {} if int(av.__version__.partition(".")[0]) >= 19 else {"metadata_errors": "replace"}
)
"""For `av.open`: text in another encoding than UTF-8 is no error. PyAV 19 does this by itself."""


def open_container(path: Path, max_pixels: int = MAX_PIXELS) -> InputContainer:
    """Open `path` with FFmpeg. Raises `SourceError`, which explains what is wrong with the file."""
    try:
        if path.is_dir():
            raise SourceError(f"{path}: is a directory; give a recording in it")
        if not stat.S_ISREG(path.stat().st_mode):
            raise SourceError(f"{path}: is not a regular file; {EXPECTED}")
        refuse_non_media(path)
        # With "file:" FFmpeg does not take the start of 12:30.mp4 for a protocol; with the list of
        # protocols a file that refers to another address cannot reach the network. frame%03d.png is the
        # name of one picture, not of all that are numbered.
        container: InputContainer = av.open(
            f"file:{path}",
            "r",
            options=probe_options(max_pixels),
            container_options={"protocol_whitelist": "file", "pattern_type": "none"},
            **REPLACE_BAD_METADATA,
        )
        return container
    except (av.FFmpegError, OSError, ValueError) as exc:
        raise SourceError(f"{path}: {explain_failure(path, exc)}") from exc


def discard_others(container: InputContainer, used: Collection[Stream]) -> None:
    """Make FFmpeg skip the packets of all streams but those in `used`, without reading them."""
    for stream in container.streams:
        if stream not in used:
            stream.discard = Discard.all


def refuse_non_media(path: Path) -> None:
    """Raise `SourceError` for files that FFmpeg accepts, or waits for without end, but that are no
    recordings."""
    with path.open("rb") as file:
        head = file.read(4096)
    if not head:
        raise SourceError(f"{path}: is empty (0 bytes); {EXPECTED}")
    text = head.removeprefix(b"\xef\xbb\xbf").lstrip()
    if text.startswith((b"#EXTM3U", b"ffconcat")) or b"<MPD" in text or b"<CompositionPlay" in text:
        raise SourceError(f"{path}: is a playlist; give the recordings that it names")


def explain_failure(path: Path, exc: Exception) -> str:
    """What is wrong with a file that FFmpeg or the system refused with `exc`."""
    reason = error_text(exc)
    try:
        with path.open("rb") as file:
            head = file.read(4096)
        if head[4:8] in _QUICKTIME_BOXES and not has_index(path):
            return NO_INDEX
        if looks_like_text(head):
            return f"holds text and is not a media file; {EXPECTED}"
    except FileNotFoundError:
        return "no such file"
    except OSError as error:
        return f"may not be read: {error_text(error)}"
    return f"is not a media file that FFmpeg can read ({reason}); {EXPECTED}"


def error_text(exc: Exception) -> str:
    """The short message of FFmpeg or the operating system for an error."""
    return str(getattr(exc, "strerror", None) or exc)


def conversion_error(path: Path, exc: Exception) -> SourceError:
    """The error for a picture of `path` that FFmpeg cannot convert."""
    return SourceError(f"{path}: a picture cannot be converted to RGB: {error_text(exc)}")


def looks_like_text(head: bytes) -> bool:
    """Whether the first bytes of a file are text, in ASCII or an encoding that extends it."""
    return (
        bool(head)
        and b"\0" not in head
        and not head.lstrip(b"\xef\xbb\xbf\r\n\t").translate(
            None, bytes(range(32, 127)) + bytes(range(128, 256)) + b"\r\n\t\f\x1b"
        )
    )


def has_index(path: Path) -> bool:
    """Whether an mp4 or mov has a complete ``moov`` box at its top level."""
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
