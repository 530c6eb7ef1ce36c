"""MELD: utterances from a television comedy in seven emotions (Poria et al., 2019).

Read from ``{train,dev,test}_sent_emo.csv``, with the clips ``dia{D}_utt{U}.mp4`` where they are there.
Some copies carry apostrophes and dashes that were
decoded with the wrong table (``\\x92``, ``â€™``); `repair` mends them. Licence GPL-3.
"""

from __future__ import annotations

import contextlib
import csv
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from affectstream.stream.errors import SourceError
from affectstream.train.data.prepare.clips import read_clip
from affectstream.train.data.prepare.crops import Cropper
from affectstream.train.data.prepare.source import Job, Made, Options, Skipped, Source, Warned
from affectstream.train.data.prepare.tables import read_rows, require
from affectstream.train.data.prepare.vocabulary import Vocabulary
from affectstream.train.data.sample import SENTIMENTS, Sample
from affectstream.train.errors import DataError, DataMissing

SPLITS = ("train", "dev", "test")
EMOTIONS = ("neutral", "anger", "disgust", "fear", "joy", "sadness", "surprise")
COLUMNS = (
    "Utterance",
    "Speaker",
    "Emotion",
    "Sentiment",
    "Dialogue_ID",
    "Utterance_ID",
    "Season",
    "Episode",
    "StartTime",
    "EndTime",
)
SPLIT_OF = {"train": "train", "dev": "valid", "test": "test"}
SPARE_US = 1_000_000
"""How much longer than its stated time a clip may be: some were cut minutes too long."""
_CLIP = re.compile(r"dia(\d+)_utt(\d+)\.mp4")
_TIME = re.compile(r"(\d+):(\d+):(\d+)[,.](\d{1,3})")


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


def source(folder: Path, options: Options) -> Source:
    """The utterances of every table in `folder`, with their clips where folders below it hold them.

    Clips are found by name in any folder below whose name begins with ``train``, ``dev`` or ``test`` (or
    ``output_repeated_splits_test``). An utterance whose clip is missing or damaged keeps its text.
    Raises `DataMissing` or `DataError`.
    """
    tables = {split: folder / f"{split}_sent_emo.csv" for split in SPLITS}
    tables = {split: path for split, path in tables.items() if path.exists()}
    if not tables:
        raise DataMissing(
            f"no table of MELD in {folder}: expected train_sent_emo.csv, dev_sent_emo.csv or "
            "test_sent_emo.csv"
        )
    clips, jobs = _clips(folder), []
    vocabulary = options.vocabulary({})
    for split, path in tables.items():
        rows = read_rows(path)
        require(path, list(rows[0]), COLUMNS, COLUMNS)
        for number, row in enumerate(rows, 1):
            where = f"{path.name}, Sr No. {row.get('Sr No.') or number}"
            jobs.append(_job(split, row, where, clips, vocabulary, options.frames))
    return Source(
        "MELD",
        "GPL-3.0",
        jobs,
        official=True,
        shared_people="the same cast speaks in all splits of MELD",
        notes=() if clips else ("no clips below the folder: text only",),
    )


def _clips(folder: Path) -> dict[tuple[str, int, int], Path]:
    """The clip of each (split, dialogue, utterance)."""
    found = {}
    for path in sorted(folder.rglob("dia*_utt*.mp4")):
        named = _CLIP.fullmatch(path.name)
        for part in path.relative_to(folder).parts[:-1]:
            split = part.removeprefix("output_repeated_splits_").partition("_")[0]
            if named and split in SPLITS:
                found[split, int(named[1]), int(named[2])] = path
    return found


def _job(
    split: str,
    row: Mapping[str, Any],
    where: str,
    clips: Mapping[tuple[str, int, int], Path],
    vocabulary: Vocabulary,
    frames: int,
) -> Job:
    def make(cropper: Cropper) -> Iterator[Made]:
        sample = _utterance(split, row, where, vocabulary)
        if sample is None:
            yield Skipped(where, "label left out", str(row["Emotion"]))
            return
        path = clips.get((split, int(row["Dialogue_ID"]), int(row["Utterance_ID"])))
        if path is not None:
            try:
                stated = (sample.end_us or 0) - (sample.start_us or 0)
                clip = read_clip(path, cropper, frames=frames, longest_us=stated + SPARE_US)
            except SourceError as error:
                yield Warned(where, "clip cannot be decoded, text kept", str(error))
            else:
                sample.crops, sample.crop_times_us = clip.crops, clip.times_us
                sample.audio, sample.frames_seen = clip.audio, clip.frames_seen
                if clip.trouble:
                    yield Warned(where, "clip damaged", clip.trouble)
        elif clips:
            yield Warned(where, "clip missing, text kept")
        yield sample

    return Job(where, make)


def _utterance(
    split: str, row: Mapping[str, Any], where: str, vocabulary: Vocabulary
) -> Sample | None:
    """What the table says of one utterance; None where its label is to be left out."""
    emotion = vocabulary.emotion(str(row["Emotion"] or ""), where)
    if emotion is None:
        return None
    sentiment = str(row["Sentiment"]).lower()
    if sentiment not in SENTIMENTS:
        raise DataError(
            f"{where}: Sentiment is {row['Sentiment']!r}, expected one of {', '.join(SENTIMENTS)}"
        )
    dialogue, turn = int(row["Dialogue_ID"]), int(row["Utterance_ID"])
    start, end = (_microseconds(row[name], name, where) for name in ("StartTime", "EndTime"))
    return Sample(
        id=f"{split}-{dialogue}-{turn}",
        recording=f"s{int(row['Season']):02d}e{int(row['Episode']):02d}",
        participant=str(row["Speaker"]),
        dialogue=f"{split}-{dialogue}",
        turn=turn,
        split=SPLIT_OF[split],
        start_us=start,
        end_us=max(start, end),
        text=repair(str(row["Utterance"] or "")),
        language="en",
        emotion=emotion,
        sentiment=sentiment,
    )


def _microseconds(text: object, name: str, where: str) -> int:
    found = _TIME.fullmatch(str(text))
    if found is None:
        raise DataError(f"{where}: {name} is {text!r}, expected a time such as 00:16:16,059")
    hours, minutes, seconds = (int(found[i]) for i in (1, 2, 3))
    return (hours * 3600 + minutes * 60 + seconds) * 1_000_000 + int(found[4].ljust(3, "0")) * 1000
