"""What `run.json` and `explanation.json` state of their recording.

Other programs may write files of these names too, with anything in them.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Literal

import msgspec


class Input(msgspec.Struct, frozen=True):
    """The content of a recording."""

    size: int = 0
    """In bytes."""
    sha256: str = ""


class Explained(msgspec.Struct, frozen=True):
    """What an `explanation.json` is of. Older versions stated neither `source` nor `input`."""

    type: Literal["explanation", "explanations"] = "explanation"
    stream: str | None = None
    source: str | None = None
    input: Input | None = None


class _Transcript(msgspec.Struct, frozen=True):
    name: str | None = None


def explained_in(content: bytes) -> Explained | None:
    """What an `explanation.json` is of; None of one that `affectstream explain` has not written."""
    try:
        return msgspec.json.decode(content, type=Explained)
    except msgspec.DecodeError:
        return None


def source_of(run: Mapping[str, Any]) -> str:
    """The path of the recording of a `run.json`; empty where it states none."""
    source = run.get("source")
    return source if isinstance(source, str) else ""


def content_of(run: Mapping[str, Any]) -> str:
    """The SHA-256 of the recording of a `run.json`; empty where it states none, and of an empty recording,
    since all empty files have the same."""
    try:
        found = msgspec.convert(run.get("input"), Input | None)
    except msgspec.ValidationError:
        return ""
    return found.sha256 if found is not None and found.size else ""


def transcript_of(run: Mapping[str, Any]) -> str:
    """The file name of the transcript of a `run.json`; empty where it states none."""
    try:
        found = msgspec.convert(run.get("transcript"), _Transcript | None)
    except msgspec.ValidationError:
        return ""
    return "" if found is None else found.name or ""
