"""MELD: utterances from a television comedy in seven emotions (Poria et al., 2019).

Read from ``meld/{train,dev,test}_sent_emo.csv``. Some copies carry apostrophes and dashes that were
decoded with the wrong table (``\\x92``, ``â€™``); `repair` mends them. Licence GPL-3.
"""

from __future__ import annotations

import contextlib
import csv
from dataclasses import dataclass
from pathlib import Path

from affectstream.train.errors import DataMissing

SPLITS = ("train", "dev", "test")
EMOTIONS = ("neutral", "anger", "disgust", "fear", "joy", "sadness", "surprise")


@dataclass(frozen=True, slots=True)
class Utterance:
    """One line of dialogue; `dialogue` and `number` give its place."""

    text: str
    emotion: str
    speaker: str
    dialogue: int
    number: int


def repair(text: str) -> str:
    """Undo a Windows-1252 table taken for Latin-1 or for UTF-8; other text comes back unchanged."""
    if any("\x80" <= c <= "\x9f" for c in text):
        # What these code points stand for in Windows-1252; the five it leaves empty become spaces.
        table = {n: bytes([n]).decode("cp1252", "replace") for n in range(0x80, 0xA0)}
        text = text.translate({n: c.replace("\ufffd", " ") for n, c in table.items()})
    if "â€" in text or "Ã" in text:
        # A real "Ã" beside other letters cannot be undone: the text was right.
        with contextlib.suppress(UnicodeError):
            text = text.encode("cp1252").decode("utf-8")
    return text


def read(root: Path, split: str) -> list[Utterance]:
    """The utterances of ``train``, ``dev`` or ``test`` in the file's order, text repaired.

    Raises `ValueError` for another split or an unknown emotion, `DataMissing` when the file is absent.
    """
    if split not in SPLITS:
        raise ValueError(f"no split {split!r} in MELD: expected one of {', '.join(SPLITS)}")
    path = root / "meld" / f"{split}_sent_emo.csv"
    if not path.exists():
        raise DataMissing(f"MELD {split} not found: expected {path}")
    found = []
    with path.open(encoding="utf-8", newline="") as file:
        for row in csv.DictReader(file):
            if row["Emotion"] not in EMOTIONS:
                raise ValueError(
                    f"{path.name}, Sr No. {row['Sr No.']}: unknown emotion {row['Emotion']!r}, "
                    f"expected one of {', '.join(EMOTIONS)}"
                )
            found.append(
                Utterance(
                    repair(row["Utterance"]),
                    row["Emotion"],
                    row["Speaker"],
                    int(row["Dialogue_ID"]),
                    int(row["Utterance_ID"]),
                )
            )
    return found
