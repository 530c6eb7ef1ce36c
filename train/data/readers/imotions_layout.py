"""Finding the table in an iMotions export, and whom it is of.

Versions 6 and 7 write ``#Study : ...`` lines, then a table; version 8 and later ``#INFO``, ``#METADATA``
and ``#DATA`` blocks as cells of a comma-separated file. Separator, encoding and decimal sign follow
the machine that exported. So the header is looked for: the first line whose cells hold a time column
and one of the face sensor.
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
from affectstream.train.errors import DataError, DataMissing

TIME_COLUMNS = ("mediatime", "timestamp")
MEASURED = frozenset(
    {*EMOTIONS, *(f"{name}evidence" for name in EMOTIONS), "attention", "engagement", "valence"}
)
"""Names, as `plain` makes them, of which a header has at least one."""
PREAMBLE_LINES = 500
SEPARATORS = "\t,;"


@dataclass(frozen=True, slots=True)
class Layout:
    """Where things are in one export, and whom it is of."""

    path: Path
    encoding: str
    separator: str
    line: int
    """Number of the header's line, from 0."""
    names: tuple[str, ...]
    """As written in the header."""
    respondent: str | None
    age: float | None
    gender: str | None

    def find(self, wanted: Sequence[str]) -> list[int]:
        """Columns of the first name of `wanted` that the header has; names as `plain` makes them."""
        names = [plain(name) for name in self.names]
        for name in wanted:
            if name in names:
                return [i for i, other in enumerate(names) if other == name]
        return []


def plain(name: str) -> str:
    """A column's name without case, spaces, units and signs: ``"Joy (Affdex) "`` is ``joy``."""
    return re.sub(r"\([^)]*\)|[^a-z0-9]", "", name.casefold())


def find_layout(path: Path) -> Layout:
    """Find the header of an export. Raises `DataMissing` or `DataError`, which says what was found."""
    encoding = _encoding(path)
    facts: dict[str, str] = {}
    with _damage_told(path), path.open(encoding=encoding, newline="") as file:
        for number, line in enumerate(file):
            if number >= PREAMBLE_LINES:
                break
            if line.lstrip('"\ufeff ').startswith("#"):
                _note(line, facts)
                continue
            for separator in SEPARATORS:
                cells = _cells(line, separator)
                names = {plain(cell) for cell in cells}
                if names & set(TIME_COLUMNS) and names & MEASURED:
                    # Old layouts repeat the respondent in every row.
                    row = _cells(next(file, ""), separator)
                    for name, value in zip(map(plain, cells), row, strict=False):
                        facts.setdefault(name, value)
                    return Layout(
                        path,
                        encoding,
                        separator,
                        number,
                        tuple(cells),
                        facts.get("name") or None,
                        to_number(facts.get("age", "")) or None,  # 0 is "not given"
                        _gender(facts.get("gender", "")),
                    )
    raise DataError(
        f"{path}: no header in its first {PREAMBLE_LINES} lines, expected a row with Timestamp or "
        "MediaTime and columns of the face sensor (Joy, Anger, ..., Attention, Engagement, Valence)"
    )


def rows(layout: Layout) -> Iterator[list[str]]:
    """The cells of every row after the header, as many as the header has."""
    width = len(layout.names)
    with (
        _damage_told(layout.path),
        layout.path.open(encoding=layout.encoding, newline="") as file,
    ):
        for _ in range(layout.line + 1):
            file.readline()
        for cells in csv.reader(file, delimiter=layout.separator):
            if cells and not cells[0].startswith("#"):
                yield (cells + [""] * (width - len(cells)))[:width]


@contextmanager
def _damage_told(path: Path) -> Iterator[None]:
    try:
        yield
    except (csv.Error, UnicodeError) as error:
        raise DataError(f"{path}: damaged, or no text: {error}") from error


def to_number(text: str) -> float | None:
    """A number with either decimal sign; None for an empty or other cell."""
    cleaned = text.strip()
    if cleaned.rfind(",") > cleaned.rfind("."):
        cleaned = cleaned.replace(".", "").replace(",", ".")
    else:
        cleaned = cleaned.replace(",", "")
    try:
        value = float(cleaned)
    except ValueError:
        return None
    return value if math.isfinite(value) else None


def _encoding(path: Path) -> str:
    """UTF-8 (with or without a mark), UTF-16, or else Windows-1252, in which any byte means something."""
    try:
        with path.open("rb") as file:
            head = file.read(4096)
            if head.startswith((codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)):
                return "utf-16"
            if head[1::2].count(0) > len(head) // 4:
                return "utf-16-le"
            if head[::2].count(0) > len(head) // 4:
                return "utf-16-be"
            decoder = codecs.getincrementaldecoder("utf-8")()
            decoder.decode(head)
            while block := file.read(1 << 20):
                decoder.decode(block)
    except UnicodeDecodeError:
        return "cp1252"
    except OSError as error:
        raise DataMissing(f"{path} cannot be read: {error.strerror or error}") from error
    return "utf-8-sig"


def _note(line: str, facts: dict[str, str]) -> None:
    """Keep what a preamble line says of the respondent."""
    cells = [c for s in SEPARATORS for c in [_cells(line, s)] if len(c) > 1]
    name, value = (cells[0][0], cells[0][1]) if cells else (line, "")
    key = plain(name.lstrip("#")).removeprefix("respondent")
    if name.lstrip("#").strip().casefold().startswith("respondent") and value:
        facts.setdefault(key, value)


def _cells(line: str, separator: str) -> list[str]:
    return [
        cell.strip() for cell in next(csv.reader([line.strip("\r\n")], delimiter=separator), [])
    ]


def _gender(text: str) -> str | None:
    return {"male": "male", "female": "female", "other": "other"}.get(text.strip().casefold())
