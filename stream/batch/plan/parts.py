"""Several parts of one recording in a table, and names that the table gives.

The results of a recording that stands there once are called as it is. Where it stands there several times,
the range of each part is added, as in ``anna.mp4.60-120``. It depends on the line alone, so the order of
lines and other lines change nothing. A name in the table replaces both.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Iterator, Mapping
from dataclasses import replace
from pathlib import PurePosixPath

from affectstream.stream.batch.plan.task import MOST_BYTES, Task, part_name, range_name
from affectstream.stream.errors import OptionError
from affectstream.stream.summary.files import SUMMARY_FILES

_FILES = ("failures.csv", *SUMMARY_FILES)


def name_parts(lined: Mapping[int, Task], named: Mapping[int, str]) -> dict[int, Task]:
    """The recordings by their line, with the names of the table, which are empty where it gives none."""
    count = Counter(os.path.realpath(task.path) for task in lined.values())
    found = {}
    for number, task in lined.items():
        if count[os.path.realpath(task.path)] > 1:
            part = named[number] or range_name(task.options)
            name = task.name if part is None else part_name(task.name, part)
            task = replace(task, name=name, part=part)
        found[number] = replace(task, name=named[number]) if named[number] else task
    return found


def shared_names(lined: Mapping[int, Task], named: Mapping[int, str]) -> Iterator[str]:
    """Mistakes in names of the table: results of two lines in one folder, or in one another."""
    lines: dict[str, list[int]] = {}
    for number, task in lined.items():
        lines.setdefault(task.name, []).append(number)
    for number, task in lined.items():
        for place in (task.name, *map(str, PurePosixPath(task.name).parents)):
            for other in lines.get(place, ()):
                if other < number or (other > number and place != task.name):
                    at = next((one for one in (number, other) if named[one]), None)
                    if at is not None:
                        yield (
                            f"line {at}: name {named[at]!r}: the results of line {number} would lie in the "
                            f"folder of line {other}, {place!r}: expected another name"
                        )


def check_name(text: str) -> None:
    """Raise `OptionError` unless `text` can be a folder of results in the output."""
    is_odd = any(
        not part or part.startswith(".") or len(part.encode()) > MOST_BYTES
        for part in text.split("/")
    )
    if is_odd or not text.isprintable() or "\\" in text:
        raise OptionError(
            f"name {text!r}: expected a folder in the output, such as anna-1 or day1/anna, of which no part "
            "begins with a dot"
        )
    if text in _FILES:
        raise OptionError(f"name {text!r}: the output has a file of this name: expected another")
