"""An explanation in a few lines of text."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

MODALITY_NAMES = {"video": "face", "voice": "voice", "text": "words", "metadata": "age and gender"}


def summary_lines(document: Mapping[str, Any]) -> list[str]:
    """What is explained, what each modality contributes, and the strongest part of each."""
    event, explained = document["event"], document["explained"]
    who = "the recording" if document["track"] is None else f"person {document['track']}"
    verdict = event["label"] or f"no label ({event['abstain']})"
    name, value = explained["name"], explained["value"]
    lines = [
        f"{document['stream']}, {event['t_start']:g} to {event['t_end']:g} s, {who}: {verdict}; "
        f"{name} {value:.2f}"
    ]
    for one in document["modalities"]:
        alone, rest = one["alone"], one["without"]
        parts = [f"alone {alone['value']:.2f}"] if alone else []
        parts += [f"without it {rest['value']:.2f} ({-one['change']:+.2f})"] if rest else []
        lines.append(f"  {MODALITY_NAMES[one['modality']]}: {name} {', '.join(parts)}")
    for face in document["face"]:
        if face["regions"]:
            lines.append(_strongest("without the part of the face", face["regions"]))
    words = {one["text"]: one["change"] for one in document["words"] if one["change"] is not None}
    if words:
        lines.append(_strongest("without the word", words))
    return lines + [f"  note: {note}" for note in document["notes"]]


def _strongest(what: str, changes: Mapping[str, float]) -> str:
    part = max(changes, key=lambda name: abs(changes[name]))
    return f"  {what} that matters most, {part!r}: {-changes[part]:+.2f}"
