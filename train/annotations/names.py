"""Who and what a tier is about, from its name, and the labels that stand for the same emotion."""

from __future__ import annotations

import re
from collections.abc import Collection
from pathlib import Path

from affectstream.engines.labels import EMOTIONS
from affectstream.stream.batch.plan.find import SUFFIXES as MEDIA

SUFFIXES = (".eaf", ".textgrid", ".csv", ".tsv", ".txt", ".jsonl", ".parquet")
"""Files that hold annotations."""
KINDS = ("emotion", "attention", "speech", "words", "notes", "valence", "arousal", "engagement")
"""Kinds that a tier's name can state."""
FREE_TEXT = ("words", "notes")
"""Kinds that are no labels: nothing is read of them."""
_SAME = {
    **dict.fromkeys(("affect", "emotions", "expression", "expressions"), "emotion"),
    **dict.fromkeys(("text", "transcript", "transcription", "utterance", "utterances"), "words"),
    **dict.fromkeys(("comment", "comments", "note", "remark", "remarks"), "notes"),
}

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


def recording_name(path: Path) -> str:
    """The recording that a file or a folder of results is named after: without suffixes of media and of
    annotations, so `talk.01` of ``talk.01.mp4.eaf``."""
    name = Path(path.name)
    while name.suffix.casefold() in MEDIA or name.suffix.casefold() in SUFFIXES:
        name = name.with_suffix("")
    return name.name


def name_among(name: str, known: Collection[str]) -> str | None:
    """The one of the `known` recordings that `name` means: behind a dot it may name the coder as well."""
    while name not in known and "." in name:
        name = name.rpartition(".")[0]
    return name if name in known else None


def tier(name: str, default: str = "emotion") -> tuple[str | None, str]:
    """Person and kind of a tier such as ``emotion``, ``1 emotion``, ``A_attention`` or ``emotion@Anna``.

    A tier that names no kind is the `default` of the person of that name.
    """
    parts = [part for part in re.split(r"[\s_\-@:/.]+", name.strip()) if part]
    words = [(part, _SAME.get(part.casefold(), part.casefold())) for part in parts]
    # What is said of words, such as `text emotion`, is no text.
    for part, word in sorted(words, key=lambda pair: pair[1] in FREE_TEXT):
        if word in KINDS:
            person = " ".join(other for other in parts if other is not part)
            return person or None, word
    return (name.strip() or None), default


def kind_of(text: str) -> str:
    """The kind that a cell or an option states; a word of one's own is a kind too."""
    return tier(text, " ".join(text.split()).casefold())[1]


def label(text: str, kind: str) -> str:
    """A label in lower case; of an emotion, the name that bundles use."""
    plain = " ".join(text.split()).casefold()
    return EMOTION_OF.get(plain, plain) if kind == "emotion" else plain
