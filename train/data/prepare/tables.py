"""Tables of samples: CSV, TSV, JSON Lines or Parquet as rows of text and numbers, with clear refusals."""

from __future__ import annotations

import csv
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

from affectstream.train.errors import DataError, DataMissing

SUFFIXES = (".csv", ".tsv", ".jsonl", ".ndjson", ".parquet")
Row = dict[str, Any]


def read_rows(path: Path) -> list[Row]:
    """The rows of a table; empty cells are None. Raises `DataMissing` or `DataError`."""
    if path.suffix not in SUFFIXES:
        raise DataError(f"{path}: no table, expected one of {', '.join(SUFFIXES)}")
    try:
        if path.suffix == ".parquet":
            rows = pq.read_table(path).to_pylist()
        elif path.suffix in (".jsonl", ".ndjson"):
            rows = list(_json_rows(path))
        else:
            rows = list(_text_rows(path))
    except OSError as error:
        raise DataMissing(f"{path} cannot be read: {error.strerror or error}") from error
    except (pa.ArrowException, UnicodeDecodeError, csv.Error) as error:
        raise DataError(f"{path} cannot be read: {error}") from error
    if not rows:
        raise DataError(f"{path}: no rows")
    return [{name: _cell(value) for name, value in row.items()} for row in rows]


def require(path: Path, found: Sequence[str], needed: Sequence[str], known: Sequence[str]) -> None:
    """Refuse a table that lacks a column of `needed`: which, what was found, what is expected."""
    missing = [name for name in needed if name not in found]
    if missing:
        raise DataError(
            f"{path}: no column {', '.join(missing)}; found {', '.join(found) or 'none'}; "
            f"expected {', '.join(known)}"
        )


def number(row: Mapping[str, Any], name: str, where: str) -> float | None:
    """A number in a row, None where the cell is empty or missing. Raises `DataError`."""
    value = row.get(name)
    if value is None:
        return None
    try:
        return float(value)
    except (TypeError, ValueError):
        raise DataError(f"{where}: {name} is {value!r}, expected a number") from None


def text(row: Mapping[str, Any], name: str) -> str | None:
    """A cell as text, None where it is empty or missing."""
    value = row.get(name)
    return None if value is None else str(value)


def _text_rows(path: Path) -> Iterator[Row]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        first = file.readline()
        file.seek(0)
        tabbed = path.suffix == ".tsv" or first.count("\t") > first.count(",")
        semicolons = first.count(";") > max(first.count(","), first.count("\t"))
        for row in csv.DictReader(file, delimiter="\t" if tabbed else ";" if semicolons else ","):
            row.pop(None, None)  # type: ignore[call-overload]  # cells beyond the header
            yield {name.strip(): value for name, value in row.items()}


def _json_rows(path: Path) -> Iterator[Row]:
    with path.open("rb") as file:
        for number, line in enumerate(file, 1):
            if line.strip():
                try:
                    yield msgspec.json.decode(line, type=dict[str, Any])
                except msgspec.DecodeError as error:
                    raise DataError(f"{path}, line {number}: {error}") from error


def _cell(value: object) -> object:
    if isinstance(value, str):
        return value.strip() or None
    return None if isinstance(value, float) and value != value else value
