"""Tables of samples (CSV, TSV, JSON Lines, Parquet) as rows of text and numbers."""

from __future__ import annotations

import csv
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, TypeVar

import msgspec
import pyarrow as pa
import pyarrow.parquet as pq

from affectstream.train.errors import DataError, DataMissing

SUFFIXES = (".csv", ".tsv", ".jsonl", ".ndjson", ".parquet")
Row = dict[str, Any]
Word = TypeVar("Word", bound=str)


def read_rows(path: Path) -> list[Row]:
    """The rows of a table; empty cells are None. Raises `DataMissing` or `DataError`."""
    rows = list(iterate_rows(path))
    if not rows:
        raise DataError(f"{path}: no rows")
    return rows


def iterate_rows(path: Path) -> Iterator[Row]:
    """As `read_rows`, with one row of a text file in memory at a time."""
    if path.suffix not in SUFFIXES:
        raise DataError(f"{path}: not a table, expected one of {', '.join(SUFFIXES)}")
    try:
        rows: Iterable[Row]
        if path.suffix == ".parquet":
            rows = pq.read_table(path).to_pylist()
        elif path.suffix in (".jsonl", ".ndjson"):
            rows = msgspec.json.Decoder(dict[str, Any]).decode_lines(path.read_bytes())
        else:
            rows = _text_rows(path)
        for row in rows:
            yield {name: _cell(value) for name, value in row.items()}
    except OSError as error:
        raise DataMissing(f"{path} cannot be read: {error.strerror or error}") from error
    except (pa.ArrowException, UnicodeDecodeError, csv.Error, msgspec.DecodeError) as error:
        raise DataError(f"{path} cannot be read: {error}") from error


def require_columns(
    path: Path, row: Mapping[str, Any], needed: Sequence[str], known: Sequence[str] = ()
) -> None:
    """Raise `DataError` if a row lacks a column of `needed`; the message lists `known` (or `needed`)."""
    missing = [name for name in needed if name not in row]
    if missing:
        raise DataError(
            f"{path}: no column {', '.join(missing)}; found {', '.join(row) or 'none'}; "
            f"expected {', '.join(known or needed)}"
        )


def number(row: Mapping[str, Any], name: str, where: str) -> float | None:
    """A number in a row, None for an empty or missing cell. Raises `DataError`."""
    value = row.get(name)
    if value is None:
        return None
    try:
        return float(value)
    except (TypeError, ValueError):
        raise DataError(f"{where}: {name} is {value!r}, expected a number") from None


def text(row: Mapping[str, Any], name: str) -> str | None:
    """A cell as text, None if it is empty or missing."""
    value = row.get(name)
    return None if value is None else str(value)


def word(
    row: Mapping[str, Any],
    name: str,
    allowed: Sequence[Word],
    where: str,
    aliases: Mapping[str, Word] | None = None,
) -> Word | None:
    """One of the `allowed` words in any case, or of their `aliases`; None for no cell. Raises `DataError`."""
    value = text(row, name)
    if value is None:
        return None
    known: dict[str, Word] = {**{option: option for option in allowed}, **(aliases or {})}
    if value.casefold() not in known:
        raise DataError(f"{where}: {name} is {value!r}, expected one of {', '.join(allowed)}")
    return known[value.casefold()]


def _text_rows(path: Path) -> Iterator[Row]:
    with path.open(encoding="utf-8-sig", newline="") as file:
        first = file.readline()
        file.seek(0)
        separator = "\t" if path.suffix == ".tsv" else max(",\t;", key=first.count)
        for row in csv.DictReader(file, delimiter=separator, restkey="", skipinitialspace=True):
            row.pop("", None)  # cells beyond the header
            yield {name.strip(): value for name, value in row.items()}


def _cell(value: object) -> object:
    if isinstance(value, str):
        return value.strip() or None
    return None if isinstance(value, float) and value != value else value
