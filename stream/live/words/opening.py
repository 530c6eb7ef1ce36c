"""Opens a speech recognizer by its name. Nothing is downloaded unless the caller asks for it."""

from __future__ import annotations

import re
from collections.abc import Callable
from importlib import import_module
from importlib.metadata import entry_points
from pathlib import Path
from typing import Any

from affectstream.stream.errors import AffectstreamError, OptionError
from affectstream.stream.live.words.asr import RecognizerFactory, SpeechRecognizer

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
    from affectstream.stream.live.words.whisper import Whisper  # takes a second

    return Whisper.open(name, language=language, download=download)


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
