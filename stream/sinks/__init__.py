"""Writers of results, one file for each format. A new one needs a line in `FORMATS`."""

from affectstream.stream.sinks.base import FileSink
from affectstream.stream.sinks.csv import CsvSink
from affectstream.stream.sinks.jsonl import JsonlFile, JsonlStream
from affectstream.stream.sinks.parquet import ParquetSink
from affectstream.stream.sinks.webvtt import WebVttSink

FORMATS: dict[str, type[FileSink]] = {
    "jsonl": JsonlFile,
    "parquet": ParquetSink,
    "csv": CsvSink,
    "vtt": WebVttSink,
}

__all__ = [
    "FORMATS",
    "CsvSink",
    "FileSink",
    "JsonlFile",
    "JsonlStream",
    "ParquetSink",
    "WebVttSink",
]
