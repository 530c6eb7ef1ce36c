"""The class that writes each format."""

from __future__ import annotations

from affectstream.engines.plugins import load_plugin
from affectstream.stream.errors import OptionError
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


def file_sink(name: Format) -> type[FileSink]:
    """The class that writes the format `name`. Raises `UsageError` if it cannot be loaded or is none."""
    if name in FILE_SINKS:
        return FILE_SINKS[name]
    sink = load_plugin("affectstream.sinks", name)
    if not (isinstance(sink, type) and issubclass(sink, FileSink)):
        raise OptionError(f"--format {name}: expected a subclass of FileSink, found {sink!r}")
    return sink
