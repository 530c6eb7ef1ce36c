"""Writers of results, one file for each format. The command line imports this module, so it stays light."""

from __future__ import annotations

from typing import Literal, get_args

Format = Literal["jsonl", "parquet", "csv", "vtt"]
FORMATS: tuple[Format, ...] = get_args(Format)
"""The formats of result files. Their classes are in `by_format`."""
DEFAULT_FORMATS: tuple[Format, ...] = ("jsonl", "parquet", "vtt")
