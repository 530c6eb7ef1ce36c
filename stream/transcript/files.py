"""Transcript files beside a recording, and subtitle streams inside it.

FFmpeg's demuxers read all formats (SubRip, WebVTT, ASS, and subtitle streams in mp4 and Matroska), so
they share one path; `cues` extracts the words from the markup.
"""

from __future__ import annotations

import contextlib
import os
import re
from bisect import bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TypeAlias

import av
from av.subtitles.stream import SubtitleStream
from av.subtitles.subtitle import AssSubtitle

from affectstream.stream.errors import SourceError
from affectstream.stream.media.opening import (
    REPLACE_BAD_METADATA,
    discard_others,
    error_text,
    open_container,
)
from affectstream.stream.media.probe import is_text, language_of
from affectstream.stream.media.types import Cue
from affectstream.stream.transcript.context import CURRENT_FOR_US, end_order
from affectstream.stream.transcript.cues import mov_text, parse_cue

SIDECAR_SUFFIXES = (".vtt", ".srt")
"""Suffixes of transcripts beside a recording; the first has precedence."""

_DEMUXERS = {".vtt": "webvtt", ".srt": "srt", ".ass": "ass", ".ssa": "ass"}
_EXPECTED = "expected a .srt or .vtt transcript"
MAX_BYTES = 8 * 2**20
"""A transcript of ten hours has one megabyte."""
_MAX_LINE_CHARS = 300
"""A longer line is not the time of a cue."""
_TIME = r"(?:\d{1,9}:)?\d{1,2}:\d{2}[.,]\d{3}"  # FFmpeg reads .5 as 5 ms
_TIME_LINE = re.compile(rf"\s*({_TIME})\s*-->\s*({_TIME})(?:\s.*)?$")
_MEANT_AS_TIME = re.compile(r"\s*\d+:\S*\s*-+>")
_AS_STORED = frozenset({"subrip", "text", "webvtt", "mov_text", "ass"})
"""Codecs whose packets are text; FFmpeg converts all others to ASS."""
_WINDOWS = "cp1252"
"""Latin-1 with the quotation marks that Windows writes."""

_TWO_LETTERS = {
    "ara": "ar", "ces": "cs", "chi": "zh", "cze": "cs", "dan": "da", "deu": "de", "dut": "nl",
    "ell": "el", "eng": "en", "fin": "fi", "fra": "fr", "fre": "fr", "ger": "de", "gre": "el",
    "heb": "he", "hin": "hi", "hun": "hu", "ind": "id", "ita": "it", "jpn": "ja", "kor": "ko",
    "nld": "nl", "nor": "no", "pol": "pl", "por": "pt", "ron": "ro", "rum": "ro", "rus": "ru",
    "spa": "es", "swe": "sv", "tha": "th", "tur": "tr", "ukr": "uk", "vie": "vi", "zho": "zh",
}  # fmt: skip
"""The most common languages: ISO 639-2, as containers write it, to ISO 639-1, as people write it."""
_LANGUAGES = frozenset({
    "aa", "ab", "ae", "af", "ak", "am", "an", "ar", "as", "av", "ay", "az", "ba", "be", "bg", "bh",
    "bi", "bm", "bn", "bo", "br", "bs", "ca", "ce", "ch", "co", "cr", "cs", "cu", "cv", "cy", "da",
    "de", "dv", "dz", "ee", "el", "en", "eo", "es", "et", "eu", "fa", "ff", "fi", "fj", "fo", "fr",
    "fy", "ga", "gd", "gl", "gn", "gu", "gv", "ha", "he", "hi", "ho", "hr", "ht", "hu", "hy", "hz",
    "ia", "id", "ie", "ig", "ii", "ik", "io", "is", "it", "iu", "ja", "jv", "ka", "kg", "ki", "kj",
    "kk", "kl", "km", "kn", "ko", "kr", "ks", "ku", "kv", "kw", "ky", "la", "lb", "lg", "li", "ln",
    "lo", "lt", "lu", "lv", "mg", "mh", "mi", "mk", "ml", "mn", "mr", "ms", "mt", "my", "na", "nb",
    "nd", "ne", "ng", "nl", "nn", "no", "nr", "nv", "ny", "oc", "oj", "om", "or", "os", "pa", "pi",
    "pl", "ps", "pt", "qu", "rm", "rn", "ro", "ru", "rw", "sa", "sc", "sd", "se", "sg", "si", "sk",
    "sl", "sm", "sn", "so", "sq", "sr", "ss", "st", "su", "sv", "sw", "ta", "te", "tg", "th", "ti",
    "tk", "tl", "tn", "to", "tr", "ts", "tt", "tw", "ty", "ug", "uk", "ur", "uz", "ve", "vi", "vo",
    "wa", "wo", "xh", "yi", "yo", "za", "zh", "zu",
})  # fmt: skip
"""ISO 639-1: talk.ok.srt has no language, talk.en.srt has."""
_LANGUAGE = re.compile(r"([A-Za-z]{2,3})((?:[-_][A-Za-z0-9]{2,8})*)")


_Packet: TypeAlias = "av.Packet[SubtitleStream]"


@dataclass(frozen=True, slots=True)
class Transcript:
    """Cues in the order of their end, and the declared language (``en``) where there is one."""

    cues: tuple[Cue, ...]
    language: str | None


def find_transcript(recording: str | Path) -> Path | None:
    """The transcript beside `recording`: for ``talk.mp4`` it is ``talk.vtt``, ``talk.srt``, or with a
    language ``talk.en.srt``."""
    recording = Path(recording)
    stem = recording.stem
    try:
        # By name: a folder may hold thousands of recordings, and each asks this.
        names = os.listdir(recording.parent)  # noqa: PTH208
    except OSError:
        return None
    beside = [recording.parent / name for name in names if name.lower().endswith(SIDECAR_SUFFIXES)]
    ranked = [
        (tag != "", SIDECAR_SUFFIXES.index(path.suffix.lower()), path.name, path)
        for path in beside
        for tag in (path.stem[len(stem) + 1 :],)
        if path != recording
        and (path.stem == stem or (path.stem == f"{stem}.{tag}" and language_tag(tag)))
    ]
    return min(ranked)[-1] if ranked else None


def is_transcript(path: str | Path) -> bool:
    """Whether a file is a transcript, by its name."""
    return Path(path).suffix.lower() in _DEMUXERS


def read_transcript(path: str | Path) -> Transcript:
    """Read a transcript file (.srt, .vtt, .ass).

    Its times count from the start of the recording. Text that is not UTF-8 is read as Windows-1252.
    Raises `SourceError` for a file that is missing, holds no transcript, or is malformed, and names the
    line. A valid WebVTT file without cues is an empty transcript.
    """
    path = Path(path)
    demuxer = _DEMUXERS.get(path.suffix.lower())
    if demuxer is None:
        raise SourceError(f"{path}: its name does not end like a transcript's; {_EXPECTED}")
    text, encoding = _text(path)
    _check(path, text, demuxer)
    try:
        with av.open(f"file:{path}", "r", format=demuxer, **REPLACE_BAD_METADATA) as container:
            stream = container.streams.subtitles[0]
            cues = _cues(container.demux(stream), stream, 0, encoding)
    except (av.FFmpegError, OSError, IndexError) as exc:
        raise SourceError(f"{path}: cannot be read ({error_text(exc)}); {_EXPECTED}") from exc
    header = re.match(r"WEBVTT[^\n]*\n(?:[^\n]+\n)*?Language:[ \t]*(\S+)", text)
    tag = header[1] if header else path.stem.rpartition(".")[2] if "." in path.stem else ""
    return Transcript(cues, language_tag(tag))


def embedded_transcript(path: str | Path) -> Transcript | None:
    """The words of the first text subtitle stream inside a recording, on the recording's clock.

    They are all read before the recording. Where the format has no index of them (Matroska, MPEG-TS),
    that takes a pass over the file at the speed of the disk, because nothing is decoded. None where
    there is no such stream; subtitles that are pictures (DVD, Blu-ray, DVB) hold no words, see
    `MediaInfo.skipped`. Raises `SourceError` where the file cannot be opened.
    """
    path = Path(path)
    with open_container(path) as container:
        texts = [s for s in container.streams.subtitles if is_text(s)]
        if not texts:
            return None
        stream = texts[0]
        discard_others(container, [stream])
        packets = _until_damage(container.demux(stream))
        cues = _cues(packets, stream, container.start_time or 0, "utf-8")
        return Transcript(cues, language_tag(language_of(stream.language) or ""))


def _until_damage(packets: Iterable[_Packet]) -> Iterator[_Packet]:
    """The packets before the damage in a damaged file; reading the recording reports the damage."""
    with contextlib.suppress(av.FFmpegError, OSError, IndexError):
        yield from packets


def _text(path: Path) -> tuple[str, str]:
    """The text of a transcript file with line ends \\n, and the encoding of FFmpeg's packets of it."""
    try:
        if path.exists() and not path.is_file() and not path.is_dir():
            raise SourceError(f"{path}: is not a regular file; {_EXPECTED}")
        if path.is_file() and path.stat().st_size > MAX_BYTES:
            raise SourceError(
                f"{path}: has {path.stat().st_size:,} bytes, expected at most {MAX_BYTES:,}; {_EXPECTED}"
            )
        raw = path.read_bytes()
    except FileNotFoundError as exc:
        raise SourceError(f"{path}: no such transcript") from exc
    except OSError as exc:
        raise SourceError(f"{path}: may not be read: {error_text(exc)}") from exc
    encoding = "utf-8"
    try:
        # FFmpeg itself converts UTF-16 with a byte order mark to UTF-8.
        text = raw.decode("utf-16" if raw[:2] in (b"\xff\xfe", b"\xfe\xff") else "utf-8-sig")
    except UnicodeDecodeError:
        encoding = _WINDOWS
        text = raw.decode(encoding, "replace")
    return text.replace("\r\n", "\n").replace("\r", "\n"), encoding


def _check(path: Path, text: str, demuxer: str) -> None:
    """Raise `SourceError` for faults that FFmpeg's demuxers skip without a message."""
    if demuxer == "ass":
        if "[Events]" not in text:
            raise SourceError(f"{path}: holds no [Events]; {_EXPECTED}")
        return
    if demuxer == "webvtt" and not re.match(r"WEBVTT(?:[ \t\n]|$)", text):
        raise SourceError(f"{path}: line 1: a WebVTT file begins with WEBVTT, found {text[:20]!r}")
    found = False
    for number, line in enumerate(text.split("\n"), 1):
        line = line[:_MAX_LINE_CHARS]
        match = _TIME_LINE.match(line)
        if match is None and _MEANT_AS_TIME.match(line):
            raise SourceError(
                f"{path}: line {number}: {line.strip()!r} is not the time of a cue; expected for example "
                "00:00:01,000 --> 00:00:02,500"
            )
        if match is not None and _milliseconds(match[2]) < _milliseconds(match[1]):
            raise SourceError(
                f"{path}: line {number}: the cue ends at {match[2]}, before it begins at {match[1]}"
            )
        found = found or match is not None
    if not found and demuxer == "srt":
        raise SourceError(f"{path}: holds no cues; {_EXPECTED}")


def _milliseconds(time: str) -> int:
    *hours, minutes, seconds, milliseconds = re.split(r"[:.,]", time)
    whole = (int(hours[0] if hours else 0) * 60 + int(minutes)) * 60 + int(seconds)
    return whole * 1000 + int(milliseconds)


def _cues(
    packets: Iterable[_Packet], stream: SubtitleStream, origin_us: int, encoding: str
) -> tuple[Cue, ...]:
    """The cues of a stream that have words, in the order of their end."""
    stored = list(_stored(packets, stream, origin_us, encoding))
    starts = sorted(start for start, *_ in stored)
    cues = []
    for start, end, payload, codec in stored:
        if end <= start:  # without a duration it stays until the next one, as in a player
            later = bisect_right(starts, start)
            end = min([start + CURRENT_FOR_US, *starts[later : later + 1]])
        if end >= 0:
            cues += [Cue(max(0, start), end, text, who) for who, text in parse_cue(payload, codec)]
    return tuple(sorted(cues, key=end_order))


def _stored(
    packets: Iterable[_Packet], stream: SubtitleStream, origin_us: int, encoding: str
) -> Iterator[tuple[int, int, str, str]]:
    """(start, end, text with its markup, the kind of markup) of each packet that holds a cue."""
    unit, codec = stream.time_base, stream.codec_context.codec.canonical_name
    assert unit is not None
    for packet in packets:
        if packet.pts is None or not packet.size:
            continue
        start = round(packet.pts * unit * 1_000_000) - origin_us
        end = start + round((packet.duration or 0) * unit * 1_000_000)
        if codec in _AS_STORED:
            raw = mov_text(bytes(packet)) if codec == "mov_text" else bytes(packet)
            yield start, end, _decoded(raw, encoding), codec
        else:
            # FFmpeg converts all other formats to ASS; a cue that it cannot read is skipped.
            with contextlib.suppress(av.FFmpegError):
                for line in packet.decode():
                    if isinstance(line, AssSubtitle):
                        yield start, end, _decoded(line.ass, "utf-8"), "ass"


def _decoded(raw: bytes, encoding: str) -> str:
    try:
        return raw.decode(encoding)
    except UnicodeDecodeError:
        return raw.decode(_WINDOWS, "replace")


def language_tag(tag: str) -> str | None:
    """``en`` for ``en``, ``eng``, ``EN``; ``pt-BR`` for ``por-BR``; None for anything else."""
    match = _LANGUAGE.fullmatch(tag)
    if match is None:
        return None
    language = _TWO_LETTERS.get(match[1].lower(), match[1].lower())
    return language + match[2].replace("_", "-") if language in _LANGUAGES else None
