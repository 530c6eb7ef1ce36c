"""A conversation as a table: one row an utterance, with files, words, speakers and labels.

CSV, TSV, JSON Lines or Parquet with the columns of `COLUMNS`, in any order. Required are a label and one
of ``video``, ``audio`` and ``text``. File names are relative to the table. ``start`` and ``end`` are seconds
in the file, for rows that share one long recording. Sound comes from ``audio``, else from ``video``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from functools import partial
from pathlib import Path
from typing import Any

from affectstream.engines.labels import SENTIMENTS
from affectstream.stream.errors import OptionError
from affectstream.stream.speaker_metadata import Gender
from affectstream.train.data.options import CLIP_OPTIONS, Options, Vocabulary
from affectstream.train.data.reading.clips import read_clip
from affectstream.train.data.reading.crops import Cropper
from affectstream.train.data.reading.reader import Job, RawDataset, Reader, Result, Skipped, Warned
from affectstream.train.data.reading.tables import Row, number, read_rows, text, word
from affectstream.train.data.sample import GENDERS, RANGES, SPLITS, Sample, Split
from affectstream.train.errors import DataError

INPUTS = ("video", "audio", "text")
TARGETS = ("label", "sentiment", "intensity", "attention", "engagement", "valence", "arousal")
COLUMNS = (
    *(*INPUTS, *TARGETS, "id", "participant", "dialogue", "turn"),
    *("start", "end", "language", "age", "gender", "split"),
)
_GENDERS: dict[str, Gender] = {"f": "female", "m": "male", "woman": "female", "man": "male"}
_SPLITS: dict[str, Split] = {
    "training": "train",
    **dict.fromkeys(("dev", "val", "validation"), "valid"),
}


def find(path: Path, options: Options) -> RawDataset:
    """The rows of a table. Raises `DataMissing` or `DataError`; `OptionError` for a bad ``--column``."""
    rows = [_renamed(row, options.columns, path) for row in read_rows(path)]
    columns = sorted({name for row in rows for name in row})
    for kind, names in (("input", INPUTS), ("label", TARGETS)):
        if not set(names) & set(columns):
            raise DataError(
                f"{path}: no {kind} column: expected {', '.join(names[:-1])} or {names[-1]}, found "
                f"{', '.join(columns)}; name yours with --column {names[0]}=YOURS"
            )
    ids = Counter(text(row, "id") for row in rows)
    repeated = [name for name, count in ids.items() if name and count > 1]
    if repeated:
        raise DataError(
            f"{path}: {len(repeated)} ids occur more than once, such as {repeated[0]!r}"
        )
    vocabulary = options.vocabulary({})
    unused = [name for name in columns if name not in COLUMNS]
    return RawDataset(
        f"conversation table {path.name}",
        "not stated",
        [
            Job(f"{path.name}, row {n}", partial(_samples, row, n, path, vocabulary, options))
            for n, row in enumerate(rows, 1)
        ],
        has_splits="split" in columns,
        notes=(f"columns not used: {', '.join(unused)}",) if unused else (),
    )


def _renamed(row: Row, columns: Mapping[str, str], path: Path) -> Row:
    for ours, theirs in columns.items():
        if ours not in COLUMNS:
            raise OptionError(f"--column {ours}={theirs}: {ours!r} is none of {', '.join(COLUMNS)}")
        if theirs not in row:
            raise DataError(
                f"{path}: no column {theirs} (--column {ours}={theirs}); found {', '.join(row)}"
            )
    ours_of = {theirs: ours for ours, theirs in columns.items()}
    return {ours_of.get(name, name): value for name, value in row.items()}


def _samples(
    row: Row, place: int, path: Path, vocabulary: Vocabulary, options: Options, cropper: Cropper
) -> Iterator[Result]:
    where = f"{path.name}, row {place}"
    sample = _without_media(row, where, place, options.language)
    label = text(row, "label")
    if label is not None:
        sample.emotion = vocabulary.emotion(label, where)
        if sample.emotion is None:
            yield Skipped(where, "label left out", label)
            return
    elif all(row.get(target) is None for target in TARGETS):
        yield Skipped(where, "no label")
        return
    start_us, end_us = sample.start_us or 0, sample.end_us
    for kind in ("video", "audio"):
        if (name := text(row, kind)) is None:
            continue
        if row.get("start") is not None and end_us is not None and end_us <= start_us:
            start, end = start_us / 1e6, end_us / 1e6
            raise DataError(f"{where}: end is {end}, expected more than start, {start}")
        clip = read_clip(path.parent / name, cropper, options, start_us=start_us, end_us=end_us)
        files = (*(sample.files or ()), clip.file)
        if kind == "video":
            clip.add_to(sample)
        elif clip.audio is not None:  # a video in column audio is read for its sound alone
            sample.audio = clip.audio
        sample.files = tuple(dict.fromkeys(files))
        sample.start_us = start_us
        sample.end_us = clip.end_us if sample.end_us is None else sample.end_us
        if clip.damage:
            yield Warned(where, "damaged", clip.damage)
    if sample.text is None and sample.audio is None and sample.frames_seen is None:
        yield Skipped(where, "neither pictures nor sound nor text")
        return
    yield sample


def _without_media(row: Row, where: str, row_number: int, language: str | None) -> Sample:
    turn, start, end = (number(row, name, where) for name in ("turn", "start", "end"))
    amounts: dict[str, Any] = {name: number(row, name, where) for name in RANGES}
    for name, (low, high) in RANGES.items():
        if amounts[name] is not None and not low <= amounts[name] <= high:
            found = f"{where}: {name} is {amounts[name]:g}"
            raise DataError(f"{found}, expected {low:g} to {high:g}")
    return Sample(
        id=text(row, "id") or f"{row_number:06d}",
        recording=text(row, "video") or text(row, "audio"),
        participant=text(row, "participant"),
        dialogue=text(row, "dialogue"),
        turn=None if turn is None else int(turn),
        split=word(row, "split", SPLITS, where, _SPLITS),
        start_us=None if start is None else round(start * 1e6),
        end_us=None if end is None else round(end * 1e6),
        text=text(row, "text"),
        language=text(row, "language") or language,
        age=number(row, "age", where),
        gender=word(row, "gender", GENDERS, where, _GENDERS),
        sentiment=word(row, "sentiment", SENTIMENTS, where),
        **amounts,
    )


READER = Reader(find, CLIP_OPTIONS | {"columns", "language"})
