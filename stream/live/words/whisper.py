"""faster-whisper (SYSTRAN; Whisper on CTranslate2) as a recogniser of words: CPU, int8.

Its models come from Hugging Face's cache or a folder. It would fetch what it does not find, also a
tokenizer that a folder lacks; here that happens only where it was asked for.
"""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from affectstream.stream.errors import OptionError
from affectstream.stream.live.words.asr import Transcription

_FILES = ("config.json", "model.bin", "tokenizer.json")
NO_SPEECH = 0.6
"""Whisper's own threshold: what it takes for silence with more than this is not shown."""


class Model(Protocol):
    """The part of `faster_whisper.WhisperModel` that is used."""

    def transcribe(self, audio: NDArray[np.float32], **options: Any) -> tuple[Iterable[Any], Any]:
        """Segments with `start`, `end`, `text`, `no_speech_prob`, and an info with `language`."""
        ...


class Whisper:
    """A faster-whisper model as a `Recogniser`; for one thread at a time."""

    def __init__(self, model: Model, language: str | None = None) -> None:
        """`language` (``en``) None lets the model tell it, stretch by stretch."""
        self._model = model
        self._language = None if language is None else language.split("-")[0].lower()

    @classmethod
    def open(cls, name: str, *, language: str | None = None, download: bool = False) -> Whisper:
        """Open the model of a folder or of a name, such as ``base.en``.

        Half of the cores work on it, so that the other half see. Raises `OptionError`, saying where
        the model was looked for and how it is fetched.
        """
        import faster_whisper

        folder = _folder(name, download)
        missing = [file for file in _FILES if not (folder / file).is_file()]
        if missing:
            raise OptionError(
                f"--words {name}: {folder} has no {', '.join(missing)}; expected a model of "
                "faster-whisper (ct2-transformers-converter --model openai/whisper-base.en --output_dir "
                "DIR --copy_files tokenizer.json preprocessor_config.json makes one)"
            )
        threads = max(1, (os.cpu_count() or 1) // 2)
        try:
            model = faster_whisper.WhisperModel(
                str(folder),
                device="cpu",
                compute_type="int8",
                cpu_threads=threads,
                local_files_only=True,
            )
        except Exception as error:  # CTranslate2's and tokenizers' are bare ones
            reason = str(error).splitlines()[0]
            raise OptionError(f"--words {name}: {folder} cannot be opened: {reason}") from error
        spoken = model.supported_languages
        if language is not None and language.split("-")[0].lower() not in spoken:
            raise OptionError(
                f"--words {name}: knows no {language!r}; expected one of {', '.join(spoken)}"
            )
        return cls(model, language)

    def transcribe(self, samples: NDArray[np.float32]) -> Iterable[Transcription]:
        """As `Recogniser.transcribe`: one `Transcription` for each of the model's segments."""
        segments, info = self._model.transcribe(
            samples,
            language=self._language,
            beam_size=1,  # greedy: a third of the time
            temperature=0.0,  # no second tries
            condition_on_previous_text=False,  # a mistake must not lead to more of them
            vad_filter=False,  # the gate has been before
        )
        for segment in segments:
            if segment.no_speech_prob <= NO_SPEECH:
                yield Transcription(segment.start, segment.end, segment.text, info.language)


def _folder(name: str, download: bool) -> Path:
    """Where the model is. Raises `OptionError` where it is not here and cannot be fetched."""
    from faster_whisper import available_models, download_model
    from huggingface_hub import constants
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError

    if Path(name).is_dir():
        return Path(name)
    if name not in available_models() and name.count("/") != 1:
        raise OptionError(
            f"--words {name}: no such folder, recogniser or model; expected one of "
            f"{', '.join(available_models())}, a folder, or module:factory"
        )
    try:
        return Path(download_model(name, local_files_only=not download))
    except HFValidationError as error:
        raise OptionError(
            f"--words {name}: no such folder, and no model's name: {error}"
        ) from error
    except (OSError, HfHubHTTPError) as error:
        if not download:
            raise OptionError(
                f"--words {name}: its weights are not on this machine (looked in "
                f"{constants.HF_HUB_CACHE}). Add --words-download to fetch them from huggingface.co "
                "once (75 MB for tiny.en to 3 GB for large-v3), or copy a folder of the model here "
                "and give its path"
            ) from error
        raise OptionError(
            f"--words {name}: its weights cannot be fetched from {constants.ENDPOINT} "
            f"({str(error).splitlines()[0]}); without a network copy a folder of the model here and "
            "give its path"
        ) from error
