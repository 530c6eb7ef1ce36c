"""What names a recording in a file: its path, its names and its hash, and not the names of others."""

from __future__ import annotations

import io
import os
import re
from collections.abc import Iterable, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from affectstream.stream.batch.output.stated import source_of


class Traces:
    """The texts by which a recording is known, among other recordings."""

    def __init__(self, own: Iterable[str], others: Iterable[str]) -> None:
        """`own` are texts of the recording, `others` those of the other recordings: a text of both tells
        nothing."""
        theirs = set(others)
        ours = {text for text in own if text} - theirs
        self._plain = [os.fsencode(text) for text in ours]
        # `one.mp4` is part of `Interview one.mp4`, which is another recording.
        around = {other for other in theirs if any(text in other for text in ours)}
        self._others = [os.fsencode(o) for o in sorted(around, key=len, reverse=True)]
        whole = b"|".join(re.escape(text) for text in self._plain)
        self._whole = re.compile(rb"(?<![\w-])(?:" + whole + rb")(?!\w|\.[0-9a-f]{8}\b)")

    def are_in(self, content: bytes) -> bool:
        """Whether a file names the recording, in text or in a table. Raises `pyarrow.ArrowException` for a
        table that cannot be searched."""
        if content[:4] == b"PAR1":
            content += _strings(content)
        if not any(text in content for text in self._plain):
            return False
        for other in self._others:
            content = content.replace(other, b"")
        return self._whole.search(content) is not None


def texts_of(name: str, run: Mapping[str, Any]) -> set[str]:
    """The texts of a recording whose results are called `name`: its names and its path. A plain word or
    number that a table gave as a name tells nothing, since it can stand anywhere."""
    source = source_of(run)
    file = Path(source).name
    names = {name, PurePosixPath(name).name}
    telling = {one for one in names if (file and file in one) or not _is_plain(one)}
    return telling | {source, file}


def _is_plain(text: str) -> bool:
    """Whether a text is a word or a number."""
    return text.isalpha() or not any(letter.isalpha() for letter in text)


def _strings(parquet: bytes) -> bytes:
    """The text in a Parquet file, whose columns are compressed."""
    # With threads the interpreter sometimes aborts at its end (pyarrow 26).
    table = pq.read_table(io.BytesIO(parquet), use_threads=False)
    columns = [
        column
        for column in table.columns
        if pa.types.is_string(column.type) or pa.types.is_large_string(column.type)
    ]
    values = {value for column in columns for value in column.unique().to_pylist() if value}
    return "\n".join(sorted(values)).encode()
