"""A conversation as a table: one row an utterance, with files, words, speakers and labels.

CSV, TSV, JSON Lines or Parquet with the columns of `COLUMNS`, in any order; all but a label and one
of ``video``, ``audio`` and ``text`` may be missing. File names are relative to the table. ``start`` and
``end`` are seconds in the file, for rows that share one long recording. Sound comes from ``audio``, else
from ``video``.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from affectstream.stream.errors import OptionError, SourceError
from affectstream.train.data.prepare.clips import Clip, read_clip
from affectstream.train.data.prepare.crops import Cropper
from affectstream.train.data.prepare.source import Job, Made, Options, Skipped, Source, Warned
from affectstream.train.data.prepare.tables import number, read_rows, text
from affectstream.train.data.prepare.vocabulary import Vocabulary
from affectstream.train.data.sample import GENDERS, SENTIMENTS, SPLITS, Sample
from affectstream.train.errors import DataError

MODALITIES = ("video", "audio", "text")
TARGETS = ("label", "sentiment", "intensity", "attention", "engagement", "valence")
OTHERS = (
    "id",
    "participant",
    "dialogue",
    "turn",
    "start",
    "end",
    "language",
    "age",
    "gender",
    "split",
)
COLUMNS = (*MODALITIES, *TARGETS, *OTHERS)
_GENDERS = {"f": "female", "m": "male", "woman": "female", "man": "male"}
_SPLITS = {"training": "train", "dev": "valid", "val": "valid", "validation": "valid"}


def source(path: Path, options: Options) -> Source:
    """The rows of a table. Raises `DataMissing` or `DataError`; `OptionError` for a bad ``--column``."""
    rows = [_renamed(row, options.columns, path) for row in read_rows(path)]
    found = sorted({name for row in rows for name in row})
    has = {kind: [n for n in names if n in found] for kind, names in _NEEDED.items()}
    for kind, names in _NEEDED.items():
        if not has[kind]:
            raise DataError(
                f"{path}: no {kind} column: expected {', '.join(names[:-1])} or {names[-1]}, found "
                f"{', '.join(found)}; name yours with --column {names[0]}=YOURS"
            )
    twice = [n for n, count in Counter(text(row, "id") for row in rows).items() if n and count > 1]
    if twice:
        raise DataError(f"{path}: {len(twice)} ids occur more than once, such as {twice[0]!r}")
    vocabulary = options.vocabulary({})
    jobs = [
        _job(row, f"{path.name}, row {n}", f"{n:06d}", path.parent, vocabulary, options)
        for n, row in enumerate(rows, 1)
    ]
    unused = [name for name in found if name not in COLUMNS]
    return Source(
        f"conversation table {path.name}",
        "not stated",
        jobs,
        official="split" in found,
        notes=(f"columns not used: {', '.join(unused)}",) if unused else (),
    )


_NEEDED: dict[str, tuple[str, ...]] = {"input": MODALITIES, "label": TARGETS}


def _renamed(row: Mapping[str, Any], columns: Mapping[str, str], path: Path) -> dict[str, Any]:
    for ours, theirs in columns.items():
        if ours not in COLUMNS:
            raise OptionError(f"--column {ours}={theirs}: {ours!r} is none of {', '.join(COLUMNS)}")
        if theirs not in row:
            raise DataError(
                f"{path}: no column {theirs} (--column {ours}={theirs}); found {', '.join(row)}"
            )
    back = {theirs: ours for ours, theirs in columns.items()}
    return {back.get(name, name): value for name, value in row.items()}


def _job(
    row: Mapping[str, Any],
    where: str,
    name: str,
    folder: Path,
    vocabulary: Vocabulary,
    options: Options,
) -> Job:
    def make(cropper: Cropper) -> Iterator[Made]:
        sample = _described(row, where, name, options.language)
        word = text(row, "label")
        if word is not None:
            sample.emotion = vocabulary.emotion(word, where)
            if sample.emotion is None:
                yield Skipped(where, "label left out", word)
                return
        elif all(row.get(target) is None for target in TARGETS):
            yield Skipped(where, "no label")
            return
        try:
            for clip in _clips(row, where, folder, cropper, options.frames):
                sample.crops = sample.crops if clip.crops is None else clip.crops
                sample.crop_times_us = (
                    clip.times_us if clip.crops is not None else sample.crop_times_us
                )
                sample.frames_seen = sample.frames_seen or clip.frames_seen
                sample.audio = sample.audio if clip.audio is None else clip.audio
                sample.start_us = sample.start_us or 0
                sample.end_us = clip.end_us if sample.end_us is None else sample.end_us
                if clip.trouble:
                    yield Warned(where, "damaged", clip.trouble)
        except SourceError as error:
            yield Skipped(where, "cannot be decoded", str(error))
            return
        if sample.text is None and sample.audio is None and sample.frames_seen is None:
            yield Skipped(where, "nothing to see, hear or read")
            return
        yield sample

    return Job(where, make)


def _clips(
    row: Mapping[str, Any], where: str, folder: Path, cropper: Cropper, frames: int
) -> Iterator[Clip]:
    """What the video and the audio file of a row hold, the second one's sound last."""
    start, end = number(row, "start", where), number(row, "end", where)
    if start is not None and end is not None and end <= start:
        raise DataError(f"{where}: end is {end}, expected more than start, {start}")
    for kind in ("video", "audio"):
        name = text(row, kind)
        if name is not None:
            clip = read_clip(
                folder / name,
                cropper,
                frames=frames,
                start_us=round((start or 0.0) * 1e6),
                end_us=None if end is None else round(end * 1e6),
            )
            if kind == "audio":
                clip.crops = clip.times_us = clip.frames_seen = (
                    None  # a cover, or a camera unasked for
                )
            yield clip


def _described(row: Mapping[str, Any], where: str, name: str, language: str | None) -> Sample:
    """All that the row itself says but the emotion."""
    start, end = number(row, "start", where), number(row, "end", where)
    turn = number(row, "turn", where)
    return Sample(
        id=text(row, "id") or name,
        recording=text(row, "video") or text(row, "audio"),
        participant=text(row, "participant"),
        dialogue=text(row, "dialogue"),
        turn=None if turn is None else int(turn),
        split=_word(row, "split", SPLITS, _SPLITS, where),
        start_us=None if start is None else round(start * 1e6),
        end_us=None if end is None else round(end * 1e6),
        text=text(row, "text"),
        language=text(row, "language") or language,
        age=number(row, "age", where),
        gender=_word(row, "gender", GENDERS, _GENDERS, where),
        intensity=_bounded(row, "intensity", 0.0, where),
        attention=_bounded(row, "attention", 0.0, where),
        engagement=_bounded(row, "engagement", 0.0, where),
        valence=_bounded(row, "valence", -1.0, where),
        sentiment=_word(row, "sentiment", SENTIMENTS, {}, where),
    )


def _bounded(row: Mapping[str, Any], name: str, low: float, where: str) -> float | None:
    value = number(row, name, where)
    if value is not None and not low <= value <= 1.0:
        raise DataError(f"{where}: {name} is {value:g}, expected {low:g} to 1")
    return value


def _word(
    row: Mapping[str, Any],
    name: str,
    allowed: tuple[str, ...],
    other: Mapping[str, str],
    where: str,
) -> str | None:
    value = text(row, name)
    if value is None:
        return None
    word = other.get(value.casefold(), value.casefold())
    if word not in allowed:
        raise DataError(f"{where}: {name} is {value!r}, expected one of {', '.join(allowed)}")
    return word
