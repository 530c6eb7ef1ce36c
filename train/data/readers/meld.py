"""MELD: utterances from a television comedy in seven emotions (Poria et al., 2019).

Read from ``{train,dev,test}_sent_emo.csv``, with the clips ``dia{D}_utt{U}.mp4`` if they are there. In
some copies of the tables apostrophes and dashes were decoded with the wrong table (``\\x92``, ``â€™``);
`repair` restores them. Licence GPL-3.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from affectstream.engines.labels import SENTIMENTS
from affectstream.stream.errors import OptionError, SourceError
from affectstream.stream.options import parse_time
from affectstream.train.data.options import CLIP_OPTIONS, Options, Vocabulary
from affectstream.train.data.reading.clips import read_clip
from affectstream.train.data.reading.crops import Cropper
from affectstream.train.data.reading.reader import Job, RawDataset, Reader, Result, Skipped, Warned
from affectstream.train.data.reading.tables import read_rows, require_columns, word
from affectstream.train.data.sample import Sample, Split
from affectstream.train.errors import DataError, DataMissing

SPLIT_OF: dict[str, Split] = {"train": "train", "dev": "valid", "test": "test"}
"""By the part of MELD, the first word in the names of its files."""
COLUMNS = (
    *("Utterance", "Speaker", "Emotion", "Sentiment", "Dialogue_ID"),
    *("Utterance_ID", "Season", "Episode", "StartTime", "EndTime"),
)
SPARE_US = 1_000_000
"""How much of a clip is read after its stated end: some clips are minutes too long."""
_CLIP = re.compile(r"dia(\d+)_utt(\d+)\.mp4")

Clips = Mapping[tuple[str, int, int], Path]
"""The clip of each (part, dialogue, utterance)."""


def repair(text: str) -> str:
    """Undo Windows-1252 decoded as Latin-1, or UTF-8 decoded as Windows-1252. Other text is unchanged."""
    if any("\x80" <= c <= "\x9f" for c in text):
        # What these code points stand for in Windows-1252; the five it leaves empty become spaces.
        table = {n: bytes([n]).decode("cp1252", "replace") for n in range(0x80, 0xA0)}
        text = text.translate({n: c.replace("\ufffd", " ") for n, c in table.items()})
    if "â€" in text or "Ã" in text:
        # A real "Ã" beside other letters cannot be decoded again: the text was right.
        with contextlib.suppress(UnicodeError):
            text = text.encode("cp1252").decode("utf-8")
    return text


def find(folder: Path, options: Options) -> RawDataset:
    """The utterances of every table in `folder`, with their clips from the folders below it.

    A clip is found by name in any folder below whose name begins with ``train``, ``dev`` or ``test`` (or
    ``output_repeated_splits_test``). An utterance whose clip is missing or damaged keeps its text.
    Raises `DataMissing` or `DataError`.
    """
    paths = {part: folder / f"{part}_sent_emo.csv" for part in SPLIT_OF}
    tables = {part: path for part, path in paths.items() if path.exists()}
    if not tables:
        raise DataMissing(
            f"no table of MELD in {folder}: expected train_sent_emo.csv, dev_sent_emo.csv or "
            "test_sent_emo.csv"
        )
    clips = _clips(folder)
    return RawDataset(
        "MELD",
        "GPL-3.0",
        [job for part, path in tables.items() for job in _jobs(path, part, clips, options)],
        has_splits=True,
        why_shared="the same cast speaks in all splits of MELD",
        notes=() if clips else ("no clips below the folder: text only",),
    )


def _clips(folder: Path) -> Clips:
    found = {}
    for path in sorted(folder.rglob("dia*_utt*.mp4")):
        named = _CLIP.fullmatch(path.name)
        for name in path.relative_to(folder).parts[:-1]:
            part = name.removeprefix("output_repeated_splits_").partition("_")[0]
            if named and part in SPLIT_OF:
                found[part, int(named[1]), int(named[2])] = path
    return found


def _jobs(path: Path, part: str, clips: Clips, options: Options) -> Iterator[Job]:
    rows = read_rows(path)
    require_columns(path, rows[0], COLUMNS)
    vocabulary = options.vocabulary({})
    for number, row in enumerate(rows, 1):
        where = f"{path.name}, Sr No. {row.get('Sr No.') or number}"
        yield Job(where, partial(_samples, part, row, where, clips, vocabulary, options))


def _samples(
    part: str,
    row: Mapping[str, Any],
    where: str,
    clips: Clips,
    vocabulary: Vocabulary,
    options: Options,
    cropper: Cropper,
) -> Iterator[Result]:
    emotion = vocabulary.emotion(str(row["Emotion"] or ""), where)
    if emotion is None:
        yield Skipped(where, "label left out", str(row["Emotion"]))
        return
    dialogue, turn = int(row["Dialogue_ID"]), int(row["Utterance_ID"])
    start_us, end_us = (_microseconds(row[n], n, where) for n in ("StartTime", "EndTime"))
    sample = Sample(
        id=f"{part}-{dialogue}-{turn}",
        recording=f"s{int(row['Season']):02d}e{int(row['Episode']):02d}",
        participant=str(row["Speaker"]),
        dialogue=f"{part}-{dialogue}",
        turn=turn,
        split=SPLIT_OF[part],
        start_us=start_us,
        end_us=max(start_us, end_us),
        text=repair(str(row["Utterance"] or "")),
        language="en",
        emotion=emotion,
        sentiment=word(row, "Sentiment", SENTIMENTS, where),
    )
    path = clips.get((part, dialogue, turn))
    try:
        if path is not None:
            longest_us = max(0, end_us - start_us) + SPARE_US
            clip = read_clip(path, cropper, options, longest_us=longest_us)
            clip.add_to(sample)
            if clip.damage:
                yield Warned(where, "clip damaged", clip.damage)
        elif clips:
            yield Warned(where, "clip missing, text kept")
    except SourceError as error:
        yield Warned(where, "clip cannot be decoded, text kept", str(error))
    yield sample


def _microseconds(text: object, name: str, where: str) -> int:
    try:
        return parse_time(str(text).replace(",", "."))
    except OptionError as error:
        expected = "expected a time such as 00:16:16,059"
        raise DataError(f"{where}: {name} is {text!r}, {expected}") from error


READER = Reader(find, CLIP_OPTIONS)
