"""The interface of a speech recognizer: what a third-party package implements (see `docs/live.md`)."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Protocol

import numpy as np
from numpy.typing import NDArray


@dataclass(frozen=True, slots=True)
class Word:
    """A word with its start and end, in seconds from the start of the samples."""

    start_s: float
    end_s: float
    text: str


@dataclass(frozen=True, slots=True)
class Transcription:
    """Words with their start and end, in seconds from the start of the samples that were transcribed.

    `language` is the recognized language (``en``), None if it is not known. `words` are the single words,
    where the recognizer gives their times.
    """

    start_s: float
    end_s: float
    text: str
    language: str | None = None
    words: tuple[Word, ...] = ()


class SpeechRecognizer(Protocol):
    """Turns speech into words.

    For recordings it may also have ``transcribe_many(parts)``, which takes several samples of up to 28 s at
    once and returns the transcriptions of each, and a text ``identity`` that changes with its results: words
    that were recognized before are used again only for the same identity.
    """

    def transcribe(self, samples: NDArray[np.float32]) -> Iterable[Transcription]:
        """The words of `samples`: one utterance, (n,) float32 in [-1, 1] at 16 kHz."""
        ...


class RecognizerFactory(Protocol):
    """Opens a speech recognizer."""

    def __call__(self, language: str | None) -> SpeechRecognizer:
        """A recognizer for `language` (``en``), or for any with None. Raises `AffectstreamError`."""
        ...
