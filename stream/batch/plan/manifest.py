"""A table of recordings: a CSV file with a line for each, and options of its own for each.

| column | value |
|---|---|
| `path` | the recording; relative paths count from the folder of the manifest |
| `transcript` | its .srt or .vtt file |
| `language` | language of the words, such as ``en`` |
| `speakers` | who speaks: ``2``, or ``Alice=1;Bob=2`` |
| `channels` | one speaker on each stereo channel: ``left=1;right=2`` |
| `start`, `end` | the part to score: ``90`` or ``00:01:30`` |
| `name` | the folder of its results in the output, such as ``day1/anna-talk`` |
| `voices` | tell the voices apart: how many there are, or ``auto`` |
| `metadata` | JSON file with age and gender of the speakers |
| `purpose`, `consent` | what the results are for, and what the people in it agreed to |
| `group` | a name; summaries compare groups |

Only `path` is needed. A recording may stand in several lines, each with another part or name; see `parts`. An
empty cell leaves the option of the command line. Columns whose name begins with ``x_`` are left to the user.
"""

from __future__ import annotations

import csv
import difflib
import io
import os
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import Path

from affectstream.stream.batch.plan.parts import check_name, name_parts, shared_names
from affectstream.stream.batch.plan.task import Task, range_name, relative_name
from affectstream.stream.errors import AffectstreamError, OptionError
from affectstream.stream.options import (
    Assignment,
    SourceOptions,
    parse_time,
    parse_voices,
    valid_name,
)
from affectstream.stream.speaker_metadata import read_speakers
from affectstream.stream.transcript.files import language_tag, read_transcript

COLUMNS = (
    *("path", "transcript", "language", "speakers", "channels"),
    *("start", "end", "name", "metadata", "voices", "purpose", "consent", "group"),
)
OWN_PREFIX = "x_"
_MAX_SHOWN = 20


def read_manifest(path: Path, options: SourceOptions) -> list[Task]:
    """The recordings of a manifest, with `options` for what it does not give.

    The whole file is checked, and what it names beside the recordings is looked for. Raises `OptionError`
    with every mistake and its line, and where none of the recordings is there; one that is missing fails when
    it is scored.
    """
    lines = _lines(path)
    number, header = next(lines, (1, []))
    columns = [name.strip().lower() for name in header]
    _check_columns(path, number, columns)
    lined: dict[int, Task] = {}
    mistakes: list[str] = []
    seen: dict[tuple[str, str | None], int] = {}
    for number, cells in lines:
        if not any(cell.strip() for cell in cells):
            continue
        try:
            if len(cells) != len(columns):
                raise OptionError(f"expected {len(columns)} cells, found {len(cells)}")
            row = {name: cell.strip() for name, cell in zip(columns, cells, strict=True)}
            task = _task(path, row, options)
            part = task.part or range_name(task.options)
            if (before := seen.setdefault((os.path.realpath(task.path), part), number)) != number:
                raise OptionError(
                    f"{row['path']} stands in line {before} already: expected another start and end, or "
                    "another name"
                )
            lined[number] = task
        except AffectstreamError as error:
            mistakes.append(f"line {number}: {error}")
    if not mistakes:
        lined = dict(zip(lined, name_parts(lined.values()), strict=True))
        mistakes = [*shared_names(lined)]
    tasks = list(lined.values())
    if mistakes:
        more = len(mistakes) - _MAX_SHOWN
        shown = [*mistakes[:_MAX_SHOWN], *([f"and {more} more"] if more > 0 else ())]
        raise OptionError(
            f"{path}: nothing was scored, mend these lines first:\n" + "\n".join(shown)
        )
    if not tasks:
        raise OptionError(f"{path}: names no recording: expected a line for each below the columns")
    if not any(task.path.exists() for task in tasks):
        raise OptionError(
            f"{path}: none of its {len(tasks)} recordings is there, such as {tasks[0].path}: relative paths "
            "count from the folder of the table"
        )
    return tasks


def _lines(path: Path) -> Iterator[tuple[int, list[str]]]:
    """The rows with the number of their line. Commas, semicolons and tabs may separate cells."""
    try:
        text = path.read_bytes().decode("utf-8-sig")
    except OSError as error:
        raise OptionError(f"{path}: cannot be read: {error.strerror or error}") from error
    except UnicodeDecodeError as error:
        line = error.object[: error.start].count(b"\n") + 1
        raise OptionError(
            f"{path}: line {line}: is not UTF-8: save the table as CSV in UTF-8"
        ) from error
    header = text.partition("\n")[0]
    separator = max(",;\t", key=header.count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    try:
        end = 0
        for cells in reader:
            yield end + 1, cells
            end = reader.line_num
    except csv.Error as error:
        raise OptionError(
            f"{path}: line {reader.line_num}: is no line of a CSV: {error}"
        ) from error


def _check_columns(path: Path, number: int, columns: list[str]) -> None:
    where = f"{path}: line {number}"
    if "path" not in columns:
        found = ", ".join(columns) or "nothing"
        raise OptionError(
            f"{where}: expected the names of the columns, path among them, found {found}"
        )
    for name in columns:
        if columns.count(name) > 1:
            raise OptionError(f"{where}: the column {name!r} stands there twice")
        if name not in COLUMNS and not name.startswith(OWN_PREFIX):
            close = difflib.get_close_matches(name, COLUMNS, 1)
            meant = f"; did you mean {close[0]!r}?" if close else ""
            raise OptionError(
                f"{where}: column {name!r} is not known: expected some of {', '.join(COLUMNS)}, or "
                f"{OWN_PREFIX}NAME for columns of your own{meant}"
            )


def _task(manifest: Path, row: Mapping[str, str], options: SourceOptions) -> Task:
    folder = manifest.parent
    if not row["path"]:
        raise OptionError("the cell of path is empty")
    path = folder / row["path"]
    changes: dict[str, object] = {}
    if text := row.get("transcript"):
        read_transcript(folder / text)
        changes["transcript"] = folder / text
    if text := row.get("language"):
        if language_tag(text) is None:
            raise OptionError(f"language {text!r} is not known: expected such as en, eng or en-US")
        changes["language"] = text
    speakers, channels = row.get("speakers", ""), row.get("channels", "")
    if speakers or channels:
        named = [part.strip() for part in speakers.split(";") if part.strip()]
        changes["assignment"] = Assignment.parse(named, channels.replace(";", ",") or None)
    for name in ("start", "end"):
        if text := row.get(name):
            try:
                changes[f"{name}_us"] = parse_time(text)
            except OptionError as error:
                raise OptionError(f"{name} {error}") from error
    if text := row.get("metadata"):
        changes["metadata"] = read_speakers(folder / text)
        changes["metadata_file"] = valid_name(folder / text)
    if text := row.get("voices"):
        changes["voices"] = parse_voices(text)
    for name in ("purpose", "consent"):
        if text := row.get(name):
            changes[name] = text
    own = replace(options, **changes)  # type: ignore[arg-type]
    if text := row.get("name"):
        check_name(text)
        return Task(path, text, own, row.get("group"), part=text, named=True)
    return Task(path, relative_name(path, folder), own, row.get("group"))
