"""Encoders of voice and words: a window of sound in each hop, a cue of the transcript once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import numpy as np
from numpy.typing import NDArray

from affectstream.engines.bundle.bundle import Bundle
from affectstream.engines.graphs.batching import batch_size_for, pad_rows
from affectstream.engines.spans import span
from affectstream.engines.spec import Array
from affectstream.stream.media.types import Cue
from affectstream.stream.transcript.context import join_utterances
from affectstream.stream.windowing.windows import Window


class VoiceEncoder:
    """The voice engine of a bundle; the mel spectrogram is inside its graph.

    Caches the last hop, because several members may ask for the same.
    """

    def __init__(self, bundle: Bundle) -> None:
        self._engine = bundle.engines["voice_encoder"]
        self.samples = bundle.manifest.samples_per_window
        self._last: tuple[tuple[int, ...], dict[int, NDArray[np.float32]]] | None = None

    def encode(self, window: Window, channels: Sequence[int]) -> dict[int, NDArray[np.float32]]:
        """The embeddings (T, D) float32 of each of `channels` at the end of `window`."""
        key = (window.hop, *channels)
        if self._last is None or self._last[0] != key:
            sound = window.sound[-self.samples :, list(channels)]
            found = self.encode_sound(np.ascontiguousarray(sound.T)) if channels else ()
            self._last = key, dict(zip(channels, found, strict=True))
        return self._last[1]

    def encode_sound(self, sound: NDArray[np.float32]) -> NDArray[np.float32]:
        """The embeddings (n, T, D) float32 of `sound` (n, samples), at most 64 windows."""
        with span("encode voice", len(sound)):
            out = self._engine.run({"samples": pad_rows(sound, batch_size_for(len(sound)))})
        found = np.asarray(out["embedding"][: len(sound)], np.float32)
        return found if found.ndim == 3 else found[:, None]


TextEmbeddings = tuple[NDArray[np.float32], NDArray[np.bool_]]
"""Embeddings (T, D) float32 and their mask (T,) bool."""


class TextEncoder:
    """The text engine of a bundle with its tokenizer.

    Caches the last cue, because a cue stays current for several hops.
    """

    def __init__(self, bundle: Bundle) -> None:
        part = bundle.manifest.engines.text_encoder
        if part is None or bundle.tokenizer is None:
            raise ValueError(f"bundle {bundle.manifest.name!r} has no text encoder")
        self._engine = bundle.engines["text_encoder"]
        self._length = part.max_tokens
        self._tokenizer = bundle.tokenizer
        self._last: tuple[tuple[Cue, ...], TextEmbeddings] | None = None

    def encode(self, utterances: tuple[Cue, ...]) -> TextEmbeddings:
        """Embeddings of the current utterance, which comes last, with the utterances before it."""
        if self._last is None or self._last[0] != utterances:
            out, mask = self._run(join_utterances([(cue.speaker, cue.text) for cue in utterances]))
            found = np.asarray(out["embedding"][0], np.float32)
            pooled = found.ndim == 1 or len(found) == 1
            words = (found.reshape(1, -1), np.ones(1, np.bool_)) if pooled else (found, mask)
            self._last = utterances, words
        return self._last[1]

    def _run(self, text: str) -> tuple[dict[str, Array], NDArray[np.bool_]]:
        tokens = self._tokenizer.encode(text).ids  # truncated as the bundle says
        ids = np.zeros((1, self._length), np.int64)
        mask = np.zeros((1, self._length), np.bool_)
        ids[0, : len(tokens)], mask[0, : len(tokens)] = tokens, True
        with span("encode text", 1):
            return self._engine.run({"ids": ids, "mask": mask}), mask[0]


@dataclass(slots=True)
class Encoders:
    """The voice and text encoders of all members. Members with the same file and the same input share
    one encoder."""

    _voices: dict[tuple[str, int], VoiceEncoder] = field(default_factory=dict)
    _texts: dict[tuple[str, str, int, int], TextEncoder] = field(default_factory=dict)

    def voice(self, member: Bundle) -> VoiceEncoder | None:
        """The voice encoder of a member; None where it has none."""
        part = member.manifest.engines.voice_encoder
        if part is None or "voice" not in member.modalities:
            return None
        key = part.sha256, member.manifest.samples_per_window
        return self._voices.setdefault(key, VoiceEncoder(member))

    def text(self, member: Bundle) -> TextEncoder | None:
        """The text encoder of a member; None where it has none."""
        part = member.manifest.engines.text_encoder
        if part is None or "text" not in member.modalities:
            return None
        key = part.sha256, part.tokenizer.sha256, part.max_tokens, part.context
        return self._texts.setdefault(key, TextEncoder(member))
