"""Finds the table in an iMotions export, and the respondent.

Versions 6 and 7 write ``#Study : ...`` lines, then a table; version 8 and later write ``#INFO``,
``#METADATA`` and ``#DATA`` blocks as cells of a comma-separated file. Separator, encoding and decimal sign
depend on the machine that exported. The header is therefore searched: the first line with a time column
and a column of the face sensor.
"""

from __future__ import annotations

import codecs
import csv
import math
import re
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from affectstream.engines.labels import EMOTIONS
from affectstream.stream.speaker_metadata import Gender
from affectstream.train.data.sample import GENDERS
from affectstream.train.errors import DataError, DataMissing

TIME_COLUMNS = ("mediatime", "timestamp")
FACE_COLUMNS = frozenset(
    {*EMOTIONS, *(f"{name}evidence" for name in EMOTIONS), "attention", "engagement", "valence"}
)
"""Names, as `normalize` returns them, of which a header has at least one."""
PREAMBLE_LINES = 500
SEPARATORS = "\t,;"


@dataclass(frozen=True, slots=True)
class Layout:
    """Where the table of an export begins, its columns, and the respondent."""

    path: Path
    encoding: str
    separator: str
    line: int
    """Number of the header's line, from 0."""
    names: tuple[str, ...]
    """As written in the header."""
    respondent: str | None
    age: float | None
    gender: Gender | None

    def find(self, candidates: Sequence[str]) -> list[int]:
        """Columns of the first of the normalized names that the header has."""
        names = [normalize(name) for name in self.names]
        first = next((name for name in candidates if name in names), None)
        return [i for i, name in enumerate(names) if name == first]


def normalize(name: str) -> str:
    """A column's name without case, spaces, units and signs: ``"Joy (Affdex) "`` is ``joy``."""
    return re.sub(r"\([^)]*\)|[^a-z0-9]", "", name.casefold())


def find_layout(path: Path) -> Layout:
    """Find the header of an export. Raises `DataMissing` or `DataError`, with what was found."""
    encoding = _encoding(path)
    respondent: dict[str, str] = {}
    with _damage_as_data_error(path), path.open(encoding=encoding, newline="") as file:
        for number, line in enumerate(file):
            if number >= PREAMBLE_LINES:
                break
            if line.lstrip('"\ufeff ').startswith("#"):
                respondent = {**_respondent(line), **respondent}
                continue
            for separator in SEPARATORS:
                cells = _cells(line, separator)
                names = [normalize(cell) for cell in cells]
                if not set(names) & set(TIME_COLUMNS) or not set(names) & FACE_COLUMNS:
                    continue
                # Old exports repeat the respondent in every row.
                first = dict(zip(names, _cells(next(file, ""), separator), strict=False))
                respondent = {**first, **respondent}
                gender = respondent.get("gender", "").strip().casefold()
                return Layout(
                    path,
                    encoding,
                    separator,
                    number,
                    tuple(cells),
                    respondent.get("name") or None,
                    to_number(respondent.get("age", "")) or None,  # 0 is "not given"
                    next((known for known in GENDERS if known == gender), None),
                )
    raise DataError(
        f"{path}: no header in its first {PREAMBLE_LINES} lines, expected a row with Timestamp or "
        "MediaTime and columns of the face sensor (Joy, Anger, ..., Attention, Engagement, Valence)"
    )


def rows(layout: Layout) -> Iterator[list[str]]:
    """The cells of every row after the header, as many as the header has."""
    width = len(layout.names)
    with (
        _damage_as_data_error(layout.path),
        layout.path.open(encoding=layout.encoding, newline="") as file,
    ):
        for _ in range(layout.line + 1):
            file.readline()
        for cells in csv.reader(file, delimiter=layout.separator):
            if cells and not cells[0].startswith("#"):
                yield (cells + [""] * (width - len(cells)))[:width]


def to_number(text: str) -> float | None:
    """A number with either decimal sign; None for an empty cell or another text."""
    cleaned = text.strip()
    if cleaned.rfind(",") > cleaned.rfind("."):
        cleaned = cleaned.replace(".", "").replace(",", ".")
    try:
        value = float(cleaned.replace(",", ""))
    except ValueError:
        return None
    return value if math.isfinite(value) else None


@contextmanager
def _damage_as_data_error(path: Path) -> Iterator[None]:
    try:
        yield
    except (csv.Error, UnicodeError) as error:
        raise DataError(f"{path}: damaged, or not a text file: {error}") from error


def _encoding(path: Path) -> str:
    """UTF-8 (with or without a mark), UTF-16, else Windows-1252, in which every byte has a meaning."""
    try:
        with path.open("rb") as file:
            head = file.read(4096)
            if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
                return "utf-16"
            if head[1::2].count(0) > len(head) // 4:
                return "utf-16-le"
            if head[::2].count(0) > len(head) // 4:
                return "utf-16-be"
        with path.open(encoding="utf-8") as text:
            while text.read(1 << 20):
                pass
    except UnicodeDecodeError:
        return "cp1252"
    except OSError as error:
        raise DataMissing(f"{path} cannot be read: {error.strerror or error}") from error
    return "utf-8-sig"


def _respondent(line: str) -> dict[str, str]:
    """The property of the respondent in a preamble line such as ``#Respondent Age,29``, if it has one."""
    for separator in SEPARATORS:
        name, *values = [*_cells(line, separator), ""]
        key = normalize(name)
        if len(values) > 1 and key.startswith("respondent") and values[0]:
            return {key.removeprefix("respondent"): values[0]}
    return {}


def _cells(line: str, separator: str) -> list[str]:
    return [
        cell.strip() for cell in next(csv.reader([line.strip("\r\n")], delimiter=separator), [])
    ]
