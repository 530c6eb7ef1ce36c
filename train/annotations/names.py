"""Who and what a tier is about, from its name, and the labels that stand for the same emotion."""

from __future__ import annotations

import re

from affectstream.engines.labels import EMOTIONS

KINDS = ("emotion", "attention", "speech", "words", "valence", "arousal", "engagement")
"""Kinds that a tier's name can state."""
_SAME = {"affect": "emotion", "expression": "emotion", "emotions": "emotion"}

_WORDS = {
    "neutral": ("calm", "none"),
    "anger": ("angry",),
    "disgust": ("disgusted",),
    "fear": ("fearful", "afraid", "scared"),
    "joy": ("happy", "happiness", "enjoyment"),
    "sadness": ("sad",),
    "surprise": ("surprised",),
    "contempt": ("contemptuous",),
}
EMOTION_OF = {word: name for name, words in _WORDS.items() for word in (name, *words)}
assert set(_WORDS) == set(EMOTIONS)


def tier(name: str, default: str = "emotion") -> tuple[str | None, str]:
    """Person and kind of a tier such as ``emotion``, ``1 emotion``, ``A_attention`` or ``emotion@Anna``.

    A tier that names no kind is the `default` of the person of that name.
    """
    parts = [part for part in re.split(r"[\s_\-@:/.]+", name.strip()) if part]
    for part in parts:
        word = _SAME.get(part.casefold(), part.casefold())
        if word in KINDS:
            person = " ".join(other for other in parts if other is not part)
            return person or None, word
    return (name.strip() or None), default


def label(text: str, kind: str) -> str:
    """A label in lower case; of an emotion, the name that bundles use."""
    plain = " ".join(text.split()).casefold()
    return EMOTION_OF.get(plain, plain) if kind == "emotion" else plain
