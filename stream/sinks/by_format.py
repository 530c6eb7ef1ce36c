"""The class that writes each format."""

from __future__ import annotations

from affectstream.stream.sinks import Format
from affectstream.stream.sinks.base import FileSink
from affectstream.stream.sinks.csv import CsvSink
from affectstream.stream.sinks.jsonl import JsonlFile
from affectstream.stream.sinks.parquet import ParquetSink
from affectstream.stream.sinks.webvtt import WebVttSink

FILE_SINKS: dict[Format, type[FileSink]] = {
    "jsonl": JsonlFile,
    "parquet": ParquetSink,
    "csv": CsvSink,
    "vtt": WebVttSink,
}
