"""What a live session reports to the program that opened it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, TypeAlias

from affectstream.stream.events import Event
from affectstream.stream.faces.face import FrameObservation
from affectstream.stream.media.types import Cue
from affectstream.stream.results.interpret import HopResult

Stage: TypeAlias = Literal["perceive", "read"]
"""`perceive` detects and encodes the faces of one picture; `read` computes one hop: voice, words, fusion."""


@dataclass(frozen=True, slots=True)
class Callbacks:
    """Functions that a session calls, on its worker's thread but for `words`. None of them may block."""

    event: Callable[[Event], object]
    """Called with each event as soon as it is known."""
    hop: Callable[[HopResult], None] | None = None
    """Called with each hop and its readings, after its events."""
    observation: Callable[[FrameObservation], None] | None = None
    """Called with the faces of each picture that was perceived."""
    duration: Callable[[Stage, float], None] | None = None
    """Called with the seconds that each picture and each hop took."""
    words: Callable[[Cue], None] | None = None
    """Called with all words that were recognized, on the recognizer's thread."""
