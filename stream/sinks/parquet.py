"""Readings as Parquet, in row groups, so that memory does not grow with the recording."""

from __future__ import annotations

from pathlib import Path
from typing import Any, BinaryIO

import pyarrow as pa
import pyarrow.parquet as pq

from affectstream.stream.results.interpret import HopResult
from affectstream.stream.results.origin import Origin
from affectstream.stream.results.readings import table_rows, table_schema
from affectstream.stream.sinks.base import FileSink

_GROUP_ROWS = 256


class ParquetSink(FileSink):
    """`readings.parquet`: one row for each track and hop (columns in `readings.schema`)."""

    filename = "readings.parquet"

    def __init__(self, folder: Path, origin: Origin) -> None:
        super().__init__(folder, origin)
        self._schema = table_schema(origin.labels).with_metadata(origin.metadata)
        self._writer = pq.ParquetWriter(self._file, self._schema, compression="zstd")
        self._rows: list[dict[str, Any]] = []

    def write(self, file: BinaryIO, hop: HopResult, end_us: int) -> None:
        """Buffer the rows of one hop; write a row group once it is full."""
        self._rows += table_rows(self.origin, hop, end_us)
        if len(self._rows) >= _GROUP_ROWS:
            self._flush()

    def finish(self, file: BinaryIO) -> None:
        """Write the last row group and the footer."""
        self._flush()
        self._writer.close()

    def release(self) -> None:
        """Close the writer."""
        self._writer.close()

    def _flush(self) -> None:
        if self._rows:
            self._writer.write_table(pa.Table.from_pylist(self._rows, self._schema))
            self._rows = []
