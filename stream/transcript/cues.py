"""Parsing one cue of a transcript: who speaks, and the words without markup.

The cue is parsed as the file holds it, because FFmpeg's own conversion drops the speaker.
"""

from __future__ import annotations

import html
import re

MAX_CUE_CHARS = 4_000
"""The rest of a longer cue is left out: it is more than any text encoder reads."""

# No pattern may scan the same text twice: so a tag does not run past the next one.
_VOICE = re.compile(r"<v(?:\.[^\s<>]*)?[ \t]+([^<>]+)>")
_TAG = re.compile(r"</?[A-Za-z][^<>]*>|<\d[\d:.]*>")
_OVERRIDE = re.compile(r"\{\\[^{}]*\}")
_BRACES = re.compile(r"\{[^{}]*\}")
_DRAWING = re.compile(r"\\p[1-9]")
_BREAK = re.compile(r"\\[Nnh]")
_DASH = re.compile(r"^[^\S\n]*(?:[-\u2013\u2014]|>>+)[^\S\n]*", re.MULTILINE)
_NAMED = re.compile(r"(?P<name>[^\W\d_][^:\[\]()\n]{0,29}):\s+(?P<words>\S.*)", re.DOTALL)
_BRACKETED = re.compile(r"\[(?P<name>[^\]:]{1,30})\]:?\s+(?P<words>\S.*)", re.DOTALL)

_NO_NAMES = frozenset({
    "and", "answer", "applause", "attention", "but", "caution", "cheering", "crying", "example",
    "fact", "first", "hey", "honestly", "inaudible", "laughing", "laughs", "laughter", "listen",
    "look", "music", "no", "noise", "note", "now", "oh", "okay", "please", "question",
    "remember", "reminder", "result", "second", "sighs", "silence", "so", "summary", "third",
    "tip", "update", "wait", "warning", "well", "yes",
})  # fmt: skip
"""Capitalized words before a colon, or in brackets for a sound, that are not names."""

_Utterance = tuple[str | None, str]
"""(speaker or None, words)"""


def parse_cue(payload: str, codec: str) -> list[_Utterance]:
    """(speaker, words) of one cue of `codec` (FFmpeg's name: ``subrip``, ``webvtt``, ``ass`` ...).

    A WebVTT cue with several voices gives one pair for each voice; a cue without words gives none. Only the
    first `MAX_CUE_CHARS` characters count.
    """
    payload = payload[:MAX_CUE_CHARS]
    if codec in ("ass", "ssa"):
        return _parse(*_ass(payload))
    if codec == "webvtt":
        # Odd places hold the names; the text before the first voice has no speaker.
        before, *voices = _VOICE.split(payload)
        pairs = [(None, before), *zip(voices[::2], voices[1::2], strict=True)]
        return [pair for name, text in pairs for pair in _parse(name, text)]
    return _parse(None, payload)


def mov_text(packet: bytes) -> bytes:
    """The text of a QuickTime text sample, which stands between its length (two bytes) and style boxes."""
    return packet[2 : 2 + int.from_bytes(packet[:2], "big")]


def _ass(line: str) -> tuple[str | None, str]:
    """Name and text of ``ReadOrder,Layer,Style,Name,MarginL,MarginR,MarginV,Effect,Text``."""
    fields = line.split(",", 8)
    if len(fields) < 9:
        return None, line
    if any(_DRAWING.search(group) for group in _BRACES.findall(fields[8])):
        return None, ""  # its "text" is the outline of a drawing
    return fields[3].strip() or None, fields[8]


def _parse(name: str | None, text: str) -> list[_Utterance]:
    text = html.unescape(_TAG.sub("", _OVERRIDE.sub("", _BREAK.sub("\n", text))))
    text = _DASH.sub("", text.replace("\u200e", "").replace("\u200f", ""))
    if name is None:
        name, text = _prefixed(text.strip())
    words = " ".join(text.split())
    return [(_tidy(name), words)] if words else []


def _prefixed(text: str) -> _Utterance:
    """Split ``ALICE: ...``, ``Alice Smith: ...`` or ``[Alice] ...`` into speaker and words."""
    match = _NAMED.match(text) or _BRACKETED.match(text)
    if match is None or not _is_name(match["name"]):
        return None, text
    return match["name"], match["words"]


def _is_name(text: str) -> bool:
    """Whether `text` is one to three capitalized words or numbers, and not a common first word."""
    words = text.split()
    return (
        1 <= len(words) <= 3
        and words[0][0].isupper()
        and all(word[0].isupper() or word.isdigit() for word in words)
        and words[0].casefold() not in _NO_NAMES
    )


def _tidy(name: str | None) -> str | None:
    return " ".join(html.unescape(name).split()) or None if name else None
