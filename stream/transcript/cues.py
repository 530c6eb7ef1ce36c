"""What one cue of a transcript says, and who says it, freed of its markup.

Works on the cue as the file holds it, because FFmpeg's own conversion drops the speaker.
"""

from __future__ import annotations

import html
import re

_VOICE = re.compile(r"<v(?:\.[^\s>]*)?[ \t]+([^>]+)>")
_TAG = re.compile(r"</?[A-Za-z][^>]*>|<\d[\d:.]*>")
_OVERRIDE = re.compile(r"\{\\[^}]*\}")
_DRAWING = re.compile(r"\{[^}]*\\p[1-9][^}]*\}")
_BREAK = re.compile(r"\\[Nnh]")
_DASH = re.compile(r"^\s*(?:[-\u2013\u2014]|>>+)\s*", re.MULTILINE)
_NAMED = re.compile(r"(?P<name>[^\W\d_][^:\[\]()\n]{0,29}):\s+(?P<said>\S.*)", re.DOTALL)
_BRACKETED = re.compile(r"\[(?P<name>[^\]:]{1,30})\]:?\s+(?P<said>\S.*)", re.DOTALL)

_NO_NAMES = frozenset({
    "and", "answer", "applause", "attention", "but", "caution", "cheering", "crying", "example",
    "fact", "first", "hey", "honestly", "inaudible", "laughing", "laughs", "laughter", "listen",
    "look", "music", "no", "noise", "note", "now", "oh", "okay", "please", "question",
    "remember", "reminder", "result", "second", "sighs", "silence", "so", "summary", "third",
    "tip", "update", "wait", "warning", "well", "yes",
})  # fmt: skip
"""Capitalised words that stand before a colon, or in brackets as a sound, and are nobody's name."""

Said = tuple[str | None, str]
"""(speaker or None, words)"""


def parse_cue(payload: str, codec: str) -> list[Said]:
    """Speakers and words of one cue of `codec` (FFmpeg's name: ``subrip``, ``webvtt``, ``ass`` ...).

    A WebVTT cue with several voices gives one pair for each. A cue without words gives none.
    """
    if codec in ("ass", "ssa"):
        return _said(*_ass(payload))
    if codec == "webvtt":
        # Odd places hold the names, the text before the first voice is nobody's.
        before, *voices = _VOICE.split(payload)
        pairs = [(None, before), *zip(voices[::2], voices[1::2], strict=True)]
        return [said for name, text in pairs for said in _said(name, text)]
    return _said(None, payload)


def mov_text(packet: bytes) -> bytes:
    """The text of a QuickTime text sample: two bytes of length come first, style boxes after."""
    return packet[2 : 2 + int.from_bytes(packet[:2], "big")]


def _ass(line: str) -> tuple[str | None, str]:
    """Name and text of ``ReadOrder,Layer,Style,Name,MarginL,MarginR,MarginV,Effect,Text``."""
    fields = line.split(",", 8)
    if len(fields) < 9:
        return None, line
    if _DRAWING.search(fields[8]):
        return None, ""  # its "text" is the outline of a drawing
    return fields[3].strip() or None, fields[8]


def _said(name: str | None, text: str) -> list[Said]:
    text = html.unescape(_TAG.sub("", _OVERRIDE.sub("", _BREAK.sub("\n", text))))
    text = _DASH.sub("", text.replace("\u200e", "").replace("\u200f", ""))
    if name is None:
        name, text = _prefixed(text.strip())
    words = " ".join(text.split())
    return [(_tidy(name), words)] if words else []


def _prefixed(text: str) -> Said:
    """Take the speaker off ``ALICE: ...``, ``Alice Smith: ...`` or ``[Alice] ...``."""
    match = _NAMED.match(text) or _BRACKETED.match(text)
    if match is None or not _is_name(match["name"]):
        return None, text
    return match["name"], match["said"]


def _is_name(text: str) -> bool:
    """One to three capitalised words or numbers, none of them one that merely begins a sentence."""
    words = text.split()
    return (
        1 <= len(words) <= 3
        and words[0][0].isupper()
        and all(word[0].isupper() or word.isdigit() for word in words)
        and words[0].casefold() not in _NO_NAMES
    )


def _tidy(name: str | None) -> str | None:
    return " ".join(html.unescape(name).split()) or None if name else None
