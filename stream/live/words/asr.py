"""Recognisers of words: what one is, and how it is opened by its name.

Nothing is ever fetched unless that was asked for, and no sound leaves this machine.
"""

from __future__ import annotations

import re
import threading
from collections.abc import Iterable
from dataclasses import dataclass
from importlib import import_module
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from affectstream.stream.errors import AffectstreamError, OptionError

GROUP = "affectstream.recognisers"
"""Entry points of this group are recognisers by name: ``name = "package.module:factory"``."""

_FACTORY = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*")


@dataclass(frozen=True, slots=True)
class Transcription:
    """Words, and when they were said, in seconds from the start of the stretch that was transcribed.

    `language` is what was heard (``en``), None where that is not known.
    """

    start_s: float
    end_s: float
    text: str
    language: str | None = None


class SpeechRecognizer(Protocol):
    """What hears words."""

    def transcribe(self, samples: NDArray[np.float32]) -> Iterable[Transcription]:
        """The words of one stretch of speech, `samples` (n,) float32 in [-1, 1] at 16 kHz."""
        ...


class Factory(Protocol):
    """What opens a recogniser."""

    def __call__(self, language: str | None) -> SpeechRecognizer:
        """A recogniser for `language` (``en``), or for any that it hears. Raises `AffectstreamError`."""
        ...


class OneAtATime:
    """A recogniser that several sessions share: the others wait."""

    def __init__(self, recogniser: SpeechRecognizer) -> None:
        self._recogniser = recogniser
        self._lock = threading.Lock()

    def transcribe(self, samples: NDArray[np.float32]) -> list[Transcription]:
        """As `SpeechRecognizer.transcribe`."""
        with self._lock:
            return list(self._recogniser.transcribe(samples))


def open_recognizer(
    name: str, *, language: str | None = None, download: bool = False
) -> SpeechRecognizer:
    """Open a recogniser, for one thread at a time.

    `name` is an entry point of `GROUP`, ``module:factory``, or a faster-whisper model: its name
    (``base.en``), its repository (``owner/name``) or its folder. `download` lets faster-whisper fetch a
    model that is not here. Raises `OptionError` for what is none of these or cannot be opened, and
    `ModuleNotFoundError` without faster-whisper.
    """
    named = {point.name: point for point in entry_points(group=GROUP)}
    folder = Path(name).is_dir()
    if name in named:
        return _made(name, named[name].load, language)
    if _FACTORY.fullmatch(name) and not folder:
        return _made(name, lambda: _found(name), language)
    from affectstream.stream.live.words.whisper import Whisper  # takes a second

    return Whisper.open(name, language=language, download=download)


def _found(name: str) -> Any:
    module, _, attribute = name.partition(":")
    return getattr(import_module(module), attribute)


def _made(name: str, find: Any, language: str | None) -> SpeechRecognizer:
    """What the factory of another package gives; its faults are told as those of `--words`."""
    try:
        recogniser: SpeechRecognizer = find()(language=language)
    except AffectstreamError:
        raise
    except Exception as error:  # another's code may raise anything
        raise OptionError(
            f"--words {name}: cannot be opened ({type(error).__name__}: {error}); expected a function "
            "that takes language=... and returns a recogniser"
        ) from error
    if not callable(getattr(recogniser, "transcribe", None)):
        raise OptionError(
            f"--words {name}: gave a {type(recogniser).__name__} without transcribe(samples)"
        )
    return recogniser
