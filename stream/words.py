"""Transcripts: cues beside a recording or inside it, and which one is current.

FFmpeg's demuxers read the files (SubRip, WebVTT, and subtitle streams in mp4 and Matroska), so every
format has one path; the text of a cue is then freed of its markup here.
"""

from __future__ import annotations

import html
import re
from dataclasses import dataclass
from pathlib import Path

import av

from affectstream.stream.errors import SourceError
from affectstream.stream.media import Cue

STAYS_US = 5_000_000
"""A cue stays the current utterance for this long after its end, or until the next."""

SUFFIXES = (".vtt", ".srt")
_TEXT_CODECS = ("subrip", "srt", "webvtt", "mov_text", "ass", "ssa", "text")


@dataclass(frozen=True, slots=True)
class Transcript:
    """Cues in the order of their end, and the declared language (``en``) where there is one."""

    cues: tuple[Cue, ...]
    language: str | None


def find_transcript(recording: Path) -> Path | None:
    """The transcript beside `recording`: same name with .vtt or .srt, or with a language before it."""
    for suffix in SUFFIXES:
        exact = recording.with_suffix(suffix)
        if exact.is_file() and exact != recording:
            return exact
    beside = [
        path
        for path in recording.parent.glob(f"{_escaped(recording.stem)}.*")
        if path.suffix.lower() in SUFFIXES and _language_of(path, recording.stem)
    ]
    return min(beside, default=None)


def read_transcript(path: Path) -> Transcript:
    """Read a .srt or .vtt file. Raises `SourceError` when it cannot be read or holds no cues."""
    if not path.is_file():
        raise SourceError(f"{path}: no such transcript; expected a .srt or .vtt file")
    try:
        with av.open(f"file:{path}", metadata_errors="replace") as container:
            found = _cues(container, path)
    except av.FFmpegError as error:
        raise SourceError(
            f"{path}: is not a transcript that can be read ({error.strerror}); expected .srt or .vtt"
        ) from error
    if found is None or not found.cues:
        raise SourceError(f"{path}: holds no cues; expected a .srt or .vtt transcript")
    stem, _, tag = path.stem.rpartition(".")
    named = tag.lower() if stem and _is_language(tag) else None
    return Transcript(found.cues, found.language or named)


def embedded_transcript(recording: Path) -> Transcript | None:
    """The first text subtitle stream inside `recording`; None where there is none."""
    try:
        with av.open(f"file:{recording}", metadata_errors="replace") as container:
            return _cues(container, recording)
    except av.FFmpegError as error:
        raise SourceError(f"{recording}: its subtitles cannot be read: {error.strerror}") from error


def _cues(container: av.container.InputContainer, path: Path) -> Transcript | None:
    streams = [s for s in container.streams.subtitles if s.codec_context.name in _TEXT_CODECS]
    if not streams:
        if container.streams.subtitles and path.suffix.lower() in SUFFIXES:
            raise SourceError(f"{path}: its subtitles are pictures; expected text")
        return None
    stream = streams[0]
    origin = container.start_time or 0
    if path.suffix.lower() in SUFFIXES:
        origin = (
            0  # a transcript file counts from the start of the recording, not from its first cue
        )
    codec = stream.codec_context.name
    cues = []
    for packet in container.demux(stream):
        if packet.pts is None or not packet.size or packet.time_base is None:
            continue
        start = round(packet.pts * packet.time_base * 1_000_000) - origin
        length = round((packet.duration or 0) * packet.time_base * 1_000_000)
        speaker, text = plain(_decoded(bytes(packet), codec), codec)
        if text and start + length > 0:
            cues.append(Cue(max(0, start), start + length, text, speaker))
    language = stream.language if stream.language not in (None, "und") else None
    return Transcript(tuple(sorted(cues, key=lambda c: (c.end_us, c.start_us))), _short(language))


_THREE_TO_TWO = {
    "eng": "en",
    "deu": "de",
    "ger": "de",
    "fra": "fr",
    "fre": "fr",
    "spa": "es",
    "ita": "it",
}


def _short(language: str | None) -> str | None:
    return None if language is None else _THREE_TO_TWO.get(language.lower(), language.lower())


def _decoded(raw: bytes, codec: str) -> str:
    """UTF-8, else Latin-1, which takes any byte."""
    if codec == "mov_text":  # two bytes of length come first; style boxes may follow the text
        raw = raw[2 : 2 + int.from_bytes(raw[:2], "big")]
    try:
        return raw.decode("utf-8-sig")
    except UnicodeDecodeError:
        return raw.decode("latin-1")


def plain(text: str, codec: str) -> tuple[str | None, str]:
    """Speaker (None where not named) and words of one cue, without markup."""
    if codec in ("ass", "ssa"):
        text = _ass_text(text)
    voice = re.search(r"<v(?:\.[^\s>]*)?\s+([^>]+)>", text)
    speaker = voice.group(1).strip() if voice else None
    text = html.unescape(re.sub(r"<[^>]*>|\{\\[^}]*\}", "", text))
    text = " ".join(text.replace("\\N", " ").replace("\\n", " ").split()).lstrip("- ")
    if speaker is None:
        named = re.match(r"(?:\[([^\]:]{1,30})\]|([A-Z][\w.'-]*(?: [A-Z][\w.'-]*)?)):?\s+", text)
        if named and (named.group(1) or text[named.end(2)] == ":"):
            speaker, text = named.group(1) or named.group(2), text[named.end() :]
    return speaker, text.strip()


def _ass_text(line: str) -> str:
    """The ninth field of ``ReadOrder,Layer,Style,Name,MarginL,MarginR,MarginV,Effect,Text``."""
    fields = line.split(",", 8)
    return fields[8] if len(fields) == 9 else line


def _escaped(stem: str) -> str:
    return re.sub(r"([\[\]*?])", r"[\1]", stem)


def _is_language(tag: str) -> bool:
    return re.fullmatch(r"[A-Za-z]{2,3}(-[A-Za-z0-9]+)?", tag) is not None


def _language_of(path: Path, stem: str) -> str | None:
    tag = path.stem.removeprefix(f"{stem}.")
    return tag if _is_language(tag) else None


class CurrentUtterance:
    """Which cue counts at a time: the last one that has ended, for 5 s, in files and live alike."""

    def __init__(self) -> None:
        self._cues: list[Cue] = []

    def push(self, cue: Cue) -> None:
        """Add a cue; cues may be told ahead and in any order."""
        place = len(self._cues)
        while place and _order(self._cues[place - 1]) > _order(cue):
            place -= 1
        self._cues.insert(place, cue)

    def at(self, t_us: int) -> Cue | None:
        """The current utterance at `t_us`. Times must not go back: what is over is forgotten."""
        while len(self._cues) > 1 and self._cues[1].end_us <= t_us:
            self._cues.pop(0)
        if not self._cues or not self._cues[0].end_us <= t_us < self._cues[0].end_us + STAYS_US:
            return None
        return self._cues[0]


def _order(cue: Cue) -> tuple[int, int]:
    return cue.end_us, cue.start_us
