"""The command that explains a moment of a report: its arguments, without time and person."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from affectstream.stream.results.scored import ScoredRecording

_FLAGS = {
    "start_s": "--start",
    "end_s": "--end",
    "audio_track": "--audio-track",
    "transcript": "--transcript",
    "words": "--words",
    "language": "--language",
    "speaker": "--speaker",
    "voices": "--voices",
    "vad": "--vad",
    "neutral_s": "--neutral",
    "min_confidence": "--min-confidence",
    "max_pixels": "--max-pixels",
    "purpose": "--purpose",
    "consent": "--consent",
}
"""Flags of the options that change a result or say what it is for, by their names in results."""


def explain_arguments(recording: ScoredRecording) -> list[str]:
    """The arguments of ``affectstream explain`` after the recording, without ``--at`` and ``--track``.

    Results hold names of files without their folders, and of the bundle without its own: a user may have to
    complete them.
    """
    bundle = str(recording.bundle["name"])
    own = [] if bundle == "pocket" else ["--bundle", bundle]
    return [*own, *_flags(recording.options)]


def _flags(options: Mapping[str, Any]) -> list[str]:
    found = [
        part
        for name, flag in _FLAGS.items()
        if name in options
        for part in (flag, str(options[name]))
    ]
    for name, track in (options.get("names") or {}).items():
        found += ["--speaker", f"{name}={track}"]
    if "metadata" in options:  # True: it was made in Python, and the user has to write a file
        name = options["metadata"]
        found += ["--metadata", "SPEAKERS.json" if name is True else str(name)]
    if "channels" in options:
        left, right = options["channels"]
        found += ["--channel", f"left={left},right={right}"]
    if "modalities" in options:
        found += ["--modalities", ",".join(options["modalities"])]
    return found
