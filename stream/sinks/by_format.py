"""The class that writes each format."""

from __future__ import annotations

from affectstream.engines.plugins import load_plugin, plugin_names
from affectstream.stream.errors import OptionError
from affectstream.stream.sinks import FORMATS, RECORDING_FORMATS, Format
from affectstream.stream.sinks.base import FileSink
from affectstream.stream.sinks.csv import CsvSink
from affectstream.stream.sinks.jsonl import JsonlFile
from affectstream.stream.sinks.parquet import ParquetSink
from affectstream.stream.sinks.webvtt import WebVttSink
from affectstream.stream.sinks.whole import RECORDING_WRITERS, RecordingWriter

FILE_SINKS: dict[Format, type[FileSink]] = {
    "jsonl": JsonlFile,
    "parquet": ParquetSink,
    "csv": CsvSink,
    "vtt": WebVttSink,
}


def format_names() -> list[Format]:
    """Every format that a recording can be written in."""
    return [*FORMATS, *RECORDING_FORMATS, *plugin_names("affectstream.sinks")]


def file_writer(name: Format) -> type[FileSink] | RecordingWriter:
    """What writes the format `name`. Raises `UsageError` if it cannot be loaded or is none."""
    if name in FILE_SINKS:
        return FILE_SINKS[name]
    if name in RECORDING_WRITERS:
        return RECORDING_WRITERS[name]
    found = load_plugin("affectstream.sinks", name)
    if isinstance(found, RecordingWriter) or (
        isinstance(found, type) and issubclass(found, FileSink)
    ):
        return found
    raise OptionError(
        f"--format {name}: expected a subclass of FileSink or a RecordingWriter, found {found!r}"
    )


def result_names() -> set[str]:
    """The name of the file of every format. Raises `UsageError` if that of another package cannot be
    loaded."""
    return {file_writer(name).filename for name in format_names()}
