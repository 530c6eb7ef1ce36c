"""faster-whisper (SYSTRAN; Whisper on CTranslate2) as a speech recognizer: CPU, int8.

Its models come from Hugging Face's cache or a folder. By itself it downloads everything that is missing,
even the tokenizer of a folder; here it does so only with `download`.
"""

from __future__ import annotations

import os
from bisect import bisect_right
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any, Protocol

import numpy as np
from numpy.typing import NDArray

from affectstream.engines.cache.digest import sha256
from affectstream.stream.errors import OptionError
from affectstream.stream.media.types import SAMPLE_RATE
from affectstream.stream.words.asr import Transcription, Word

_FILES = ("config.json", "model.bin", "tokenizer.json")
NO_SPEECH = 0.6
"""Whisper's own threshold: a segment that is silence with a higher probability is left out."""


class Model(Protocol):
    """The part of `faster_whisper.WhisperModel` that is used."""

    def transcribe(self, audio: NDArray[np.float32], **options: Any) -> tuple[Iterable[Any], Any]:
        """Segments with `start`, `end`, `text`, `no_speech_prob`, and an info with `language`."""
        ...


class Whisper:
    """A faster-whisper model as a `SpeechRecognizer`, for one thread at a time."""

    def __init__(self, model: Model, language: str | None = None, identity: str = "") -> None:
        """With `language` None the model detects the language of each utterance, or batch of them.

        `identity` is the hash of its weights.
        """
        self.identity = identity
        self._model = model
        self._language = None if language is None else language.split("-")[0].lower()

    @classmethod
    def open(cls, name: str, *, language: str | None = None, download: bool = False) -> Whisper:
        """Open the model of a folder or of a name, such as ``base.en``.

        It uses half of the cores; the other half analyze the video. Raises `OptionError`, naming the folder
        that was searched and how to download the model, if there is none.
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
        except Exception as error:  # CTranslate2 and tokenizers raise bare exceptions
            reason = str(error).splitlines()[0]
            raise OptionError(f"--words {name}: {folder} cannot be opened: {reason}") from error
        known = model.supported_languages
        if language is not None and language.split("-")[0].lower() not in known:
            raise OptionError(
                f"--words {name}: does not know {language!r}; expected one of {', '.join(known)}"
            )
        return cls(model, language, sha256(folder / "model.bin"))

    def transcribe(self, samples: NDArray[np.float32]) -> Iterable[Transcription]:
        """As `SpeechRecognizer.transcribe`: one `Transcription` for each of the model's segments."""
        segments, info = self._model.transcribe(
            samples,
            language=self._language,
            beam_size=1,  # greedy: a third of the time
            temperature=0.0,  # no second tries
            condition_on_previous_text=False,  # a mistake must not lead to more of them
            vad_filter=False,  # `SpeechCutter` has done it
        )
        for segment in segments:
            if segment.no_speech_prob <= NO_SPEECH:
                yield Transcription(segment.start, segment.end, segment.text, info.language)

    def transcribe_many(self, parts: Sequence[NDArray[np.float32]]) -> list[list[Transcription]]:
        """As `transcribe`, of several samples of up to 30 s at once, with the times of words."""
        from faster_whisper import BatchedInferencePipeline

        ends = np.cumsum([len(part) for part in parts]).tolist()
        starts = [0, *ends[:-1]]
        # A clip begins at a whole sample only if it does not lose it to rounding.
        clips = [
            {"start": (start + 0.5) / SAMPLE_RATE, "end": (end + 0.5) / SAMPLE_RATE}
            for start, end in zip(starts, ends, strict=True)
        ]
        segments, info = BatchedInferencePipeline(self._model).transcribe(
            np.concatenate(parts),
            language=self._language,
            clip_timestamps=clips,
            batch_size=len(parts),
            word_timestamps=True,
            vad_filter=False,
            beam_size=1,
            temperature=0.0,
        )
        found: list[list[Transcription]] = [[] for _ in parts]
        for segment in segments:
            if segment.no_speech_prob > NO_SPEECH:
                continue
            middle = (segment.start + segment.end) / 2 * SAMPLE_RATE
            number = min(bisect_right(ends, middle), len(parts) - 1)
            offset_s = starts[number] / SAMPLE_RATE
            words = tuple(
                Word(word.start - offset_s, word.end - offset_s, word.word)
                for word in segment.words or ()
            )
            found[number].append(
                Transcription(
                    segment.start - offset_s,
                    segment.end - offset_s,
                    segment.text,
                    info.language,
                    words,
                )
            )
        return found


def _folder(name: str, download: bool) -> Path:
    """The folder of the model. Raises `OptionError` if it is not on this machine and is not downloaded."""
    from faster_whisper import available_models, download_model
    from huggingface_hub import constants
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError

    if Path(name).is_dir():
        return Path(name)
    if name not in available_models() and name.count("/") != 1:
        raise OptionError(
            f"--words {name}: no such folder, recognizer or model; expected one of "
            f"{', '.join(available_models())}, a folder, or module:factory"
        )
    try:
        return Path(download_model(name, local_files_only=not download))
    except HFValidationError as error:
        raise OptionError(
            f"--words {name}: no such folder, and not the name of a model: {error}"
        ) from error
    except (OSError, HfHubHTTPError) as error:
        if not download:
            raise OptionError(
                f"--words {name}: its weights are not on this machine (searched "
                f"{constants.HF_HUB_CACHE}). Add --words-download to download them once from huggingface.co "
                "(75 MB for tiny.en to 3 GB for large-v3), or copy the folder of the model to this machine "
                "and give its path"
            ) from error
        raise OptionError(
            f"--words {name}: its weights cannot be downloaded from {constants.ENDPOINT} "
            f"({str(error).splitlines()[0]}); without a network copy the folder of the model to this "
            "machine and give its path"
        ) from error
