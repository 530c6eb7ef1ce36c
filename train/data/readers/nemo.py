"""nEMO: ninety Polish sentences by nine speakers in six emotions (Christop, 2024).

Read from ``data.tsv`` (columns file, emotion, text, speaker, gender, age) and the clips that it names.
Disgust is not among its emotions.
"""

from __future__ import annotations

from pathlib import Path

from affectstream.train.data.options import Options
from affectstream.train.data.reading.clips import clip_job
from affectstream.train.data.reading.reader import Job, RawDataset, Reader
from affectstream.train.data.reading.tables import (
    Row,
    number,
    read_rows,
    require_columns,
    text,
    word,
)
from affectstream.train.data.sample import GENDERS, Sample
from affectstream.train.errors import DataMissing

TABLE = "data.tsv"
COLUMNS = ("file", "emotion", "text", "speaker", "gender", "age")
EMOTIONS = {"happiness": "joy", "surprised": "surprise"}
"""The words of the set that are not those of `affectstream.engines.labels`."""


def find(folder: Path, options: Options) -> RawDataset:
    """Every clip of the table in `folder`. Raises `DataMissing` or `DataError`."""
    table = folder / TABLE
    if not table.is_file():
        raise DataMissing(f"no {TABLE} of nEMO in {folder}: expected the table of its clips")
    rows = read_rows(table)
    require_columns(table, rows[0], COLUMNS)
    rows.sort(key=lambda row: str(row["file"]))
    return RawDataset(
        "nEMO",
        "CC BY-NC-SA 4.0",
        [_job(folder, row, options) for row in rows],
        notes=("every sentence is spoken in every emotion: the text says nothing of the label",),
    )


def _job(folder: Path, row: Row, options: Options) -> Job:
    name = str(row["file"])
    path = folder / name
    sample = Sample(
        id=path.stem,
        recording=path.stem,
        participant=f"nemo-{row['speaker']}",
        text=text(row, "text"),
        language="pl",
        age=number(row, "age", name),
        gender=word(row, "gender", GENDERS, name),
    )
    return clip_job(path, str(row["emotion"]), sample, EMOTIONS, options, name=name)


READER = Reader(find)
