"""Writing a file whole or not at all, and results as JSON or CSV."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable
from pathlib import Path

import msgspec

from affectstream.engines.cache.atomic import write_atomic
from affectstream.stream.sinks.base import writing


def write_atomically(path: Path, content: bytes) -> None:
    """Write `content` beside `path`, then rename: a reader sees the old file or the new one. Raises
    `OutputError` where the disk refuses."""
    with writing(path):
        write_atomic(path, content)


def encode_json(value: object) -> bytes:
    """`value` as indented JSON; NaN and infinity become null."""
    return msgspec.json.format(msgspec.json.encode(value), indent=2) + b"\n"


def encode_csv(rows: Iterable[Iterable[object]]) -> bytes:
    """`rows` as lines of a CSV file."""
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue().encode()


def without_folder(name: str) -> str:
    """The last part of a local path; any other name unchanged."""
    local = name[:1] in ("/", ".", "~") or Path(name).is_absolute() or Path(name).exists()
    return Path(name).absolute().name if local else name
