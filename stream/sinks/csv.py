"""Readings as CSV, for spreadsheets."""

from __future__ import annotations

from pathlib import Path
from typing import BinaryIO

import pyarrow as pa
import pyarrow.csv as pc

from affectstream.stream.results.interpret import HopResult
from affectstream.stream.results.origin import STATED_USE, Origin
from affectstream.stream.results.readings import table_rows, table_schema
from affectstream.stream.sinks.base import FileSink


class CsvSink(FileSink):
    """`readings.csv`: the same columns as `readings.parquet`, and `purpose` and `consent` where they were
    stated; an empty cell has no value."""

    filename = "readings.csv"

    def __init__(self, folder: Path, origin: Origin) -> None:
        super().__init__(folder, origin)
        self._stated = {name: origin.options[name] for name in STATED_USE if name in origin.options}
        own = (pa.field(name, pa.string()) for name in self._stated)
        self._schema = pa.schema([*table_schema(origin.labels), *own])
        self._writer = pc.CSVWriter(self._file, self._schema)

    def write(self, file: BinaryIO, hop: HopResult, end_us: int) -> None:
        """Write the rows of one hop."""
        if rows := [row | self._stated for row in table_rows(self.origin, hop, end_us)]:
            self._writer.write_table(pa.Table.from_pylist(rows, self._schema))

    def finish(self, file: BinaryIO) -> None:
        """Write what is buffered."""
        self._writer.close()

    def release(self) -> None:
        """Close the writer."""
        self._writer.close()
