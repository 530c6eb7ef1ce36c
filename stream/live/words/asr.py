"""The interface of a speech recognizer: what a third-party package implements (see `docs/live.md`)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Transcription:
    """Words with their start and end, in seconds from the start of the samples that were transcribed.

    `language` is the recognized language (``en``), None if it is not known.
    """

    start_s: float
    end_s: float
    text: str
    language: str | None = None


class SpeechRecognizer(Protocol):
    """Turns speech into words."""

    def transcribe(self, samples: NDArray[np.float32]) -> Iterable[Transcription]:
        """The words of `samples`: one utterance, (n,) float32 in [-1, 1] at 16 kHz."""
        ...


class RecognizerFactory(Protocol):
    """Opens a speech recognizer."""

    def __call__(self, language: str | None) -> SpeechRecognizer:
        """A recognizer for `language` (``en``), or for any with None. Raises `AffectstreamError`."""
        ...
