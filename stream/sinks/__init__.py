"""Writers of results, one file for each format. The command line imports this module, so it stays light."""

from __future__ import annotations

from typing import TypeAlias

Format: TypeAlias = str
"""One of `FORMATS`, or of the entry points ``affectstream.sinks``."""
FORMATS: tuple[Format, ...] = ("jsonl", "parquet", "csv", "vtt")
"""Formats that are written hop by hop. Their classes are in `by_format`."""
RECORDING_FORMATS: tuple[Format, ...] = (
    "eaf",
    "textgrid",
    "boris",
    "people",
    "report",
    "report-embedded",
    "overlay",
    "overlay-blurred",
)
"""Formats that are written once the whole recording is scored. Their writers are in `whole`."""
DEFAULT_FORMATS: tuple[Format, ...] = (
    "jsonl",
    "parquet",
    "vtt",
    "eaf",
    "textgrid",
    "boris",
    "people",
    "report",
)
