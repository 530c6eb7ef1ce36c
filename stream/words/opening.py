"""Opens a speech recognizer by its name. Nothing is downloaded unless the caller asks for it."""

from __future__ import annotations

import re
import threading
from collections.abc import Callable, Sequence
from functools import lru_cache
from importlib import import_module
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from affectstream.stream.errors import AffectstreamError, OptionError
from affectstream.stream.options import SourceOptions
from affectstream.stream.transcript.files import language_tag
from affectstream.stream.words.asr import (
    RecognizerFactory,
    SpeechRecognizer,
    Transcription,
)

GROUP = "affectstream.recognisers"
"""The entry-point group of recognizers: ``name = "package.module:factory"``."""

_FACTORY = re.compile(r"[A-Za-z_][\w.]*:[A-Za-z_]\w*")


def open_recognizer(
    name: str, *, language: str | None = None, download: bool = False
) -> SpeechRecognizer:
    """Open a speech recognizer, for one thread at a time.

    `name` is an entry point of `GROUP`, ``module:factory``, or a faster-whisper model: its name
    (``base.en``), its repository (``owner/name``) or its folder. `download` lets faster-whisper download
    a model that is not on this machine. Raises `OptionError` for any other name and for a recognizer that
    cannot be opened, and `ModuleNotFoundError` without faster-whisper.
    """
    named = {point.name: point for point in entry_points(group=GROUP)}
    if name in named:
        return _from_factory(name, named[name].load, language)
    if _FACTORY.fullmatch(name) and not Path(name).is_dir():
        return _from_factory(name, lambda: _imported(name), language)
    from affectstream.stream.words.whisper import Whisper  # takes a second

    return Whisper.open(name, language=language, download=download)


def recording_recognizer(options: SourceOptions) -> RecordingRecognizer | None:
    """The recognizer that `options` name for recordings; it is opened once in a process. None without one.

    Raises the errors of `open_recognizer`.
    """
    if options.words is None:
        return None
    language = None if options.language is None else language_tag(options.language)
    return _opened(options.words, language, options.words_download)


@lru_cache(maxsize=1)
def _opened(name: str, language: str | None, download: bool) -> RecordingRecognizer:
    return RecordingRecognizer(open_recognizer(name, language=language, download=download), name)


class RecordingRecognizer:
    """A recognizer that threads share: one transcribes, the others wait."""

    def __init__(self, recognizer: SpeechRecognizer, name: str) -> None:
        self._recognizer = recognizer
        self._lock = threading.Lock()
        self.identity: str = getattr(recognizer, "identity", name)
        """A text that changes with the words that it finds."""

    def transcribe_many(self, parts: Sequence[NDArray[np.float32]]) -> list[list[Transcription]]:
        """The transcriptions of each part, (n,) float32 at 16 kHz, of up to 28 s."""
        with self._lock:
            many = getattr(self._recognizer, "transcribe_many", None)
            if many is not None:
                return [list(found) for found in many(parts)]
            return [list(self._recognizer.transcribe(part)) for part in parts]


def _imported(name: str) -> Any:
    module, _, attribute = name.partition(":")
    return getattr(import_module(module), attribute)


def _from_factory(
    name: str, find: Callable[[], RecognizerFactory], language: str | None
) -> SpeechRecognizer:
    """The recognizer of another package; its errors are reported as errors of `--words`."""
    try:
        recognizer = find()(language=language)
    except AffectstreamError:
        raise
    except Exception as error:  # code of another package may raise anything
        raise OptionError(
            f"--words {name}: cannot be opened ({type(error).__name__}: {error}); expected a function "
            "that takes language=... and returns a recognizer"
        ) from error
    if not callable(getattr(recognizer, "transcribe", None)):
        raise OptionError(
            f"--words {name}: gave a {type(recognizer).__name__} without transcribe(samples)"
        )
    return recognizer
