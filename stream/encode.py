"""Voice and words to embeddings: a window of sound each hop, a cue of the transcript once."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from affectstream.engines.bundle import Bundle
from affectstream.engines.spec import Array, padded, slot
from affectstream.stream.media import Cue


class VoiceEncoder:
    """The voice engine of a bundle; the mel spectrogram is inside its graph."""

    def __init__(self, bundle: Bundle) -> None:
        self._engine = bundle.engines["voice_encoder"]

    def encode(self, sound: NDArray[np.float32]) -> NDArray[np.float32]:
        """Windows (N, samples) float32 in [-1, 1] at 16 kHz to embeddings (N, D) float32."""
        out = self._engine.run({"samples": padded(sound, slot(len(sound)))})
        return np.asarray(out["embedding"][: len(sound)], np.float32)


class TextEncoder:
    """The text engine of a bundle with its tokenizer. Remembers the last cue: it stays for hops."""

    def __init__(self, bundle: Bundle) -> None:
        part = bundle.manifest.engines.text_encoder
        if part is None or bundle.tokenizer is None:
            raise ValueError(f"bundle {bundle.manifest.name!r} has no text encoder")
        self._engine = bundle.engines["text_encoder"]
        self._length = part.max_tokens
        self._tokenizer = bundle.tokenizer
        self._last: tuple[Cue, NDArray[np.float32]] | None = None

    def encode(self, cue: Cue) -> NDArray[np.float32]:
        """Embedding (D,) float32 of one cue, cut at the bundle's `max_tokens`."""
        if self._last is None or self._last[0] != cue:
            self._last = (cue, np.asarray(self._run(cue.text)["embedding"][0], np.float32))
        return self._last[1]

    def logits(self, text: str) -> NDArray[np.float32]:
        """The encoder's own logits (C,) float32 of a text, under the prior of its training set."""
        return np.asarray(self._run(text)["logits"][0], np.float32)

    def _run(self, text: str) -> dict[str, Array]:
        tokens = self._tokenizer.encode(text).ids[: self._length]
        ids = np.zeros((1, self._length), np.int64)
        mask = np.zeros((1, self._length), np.bool_)
        ids[0, : len(tokens)], mask[0, : len(tokens)] = tokens, True
        return self._engine.run({"ids": ids, "mask": mask})
