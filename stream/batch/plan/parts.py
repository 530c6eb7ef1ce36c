"""Several parts of one recording in tables, and names that tables give.

The results of a recording that is given once are called as it is. Where it is given several times, the range
of each part is added, as in ``anna.mp4.60-120``. It depends on the part alone, so the order of lines and
other lines change nothing. A name in the table replaces both.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace
from pathlib import PurePosixPath

from affectstream.stream.batch.plan.task import MOST_BYTES, Task, part_name, range_name
from affectstream.stream.errors import OptionError
from affectstream.stream.summary.files import SUMMARY_FILES

_FILES = ("failures.csv", *SUMMARY_FILES)
_NOT_ON_WINDOWS = re.compile(r'[<>:"|?*\\]')
_DEVICE = re.compile(r"(?:con|prn|aux|nul|conin\$|conout\$|(?:com|lpt)[0-9¹²³]) *(?:\.|$)", re.I)
"""At the start of a name that Windows keeps for itself, with any suffix."""


def name_parts(tasks: Iterable[Task]) -> list[Task]:
    """The same tasks, where a recording stands among them with several parts each named by its own. Those
    that have the name of a table, or of their part, keep it."""
    every = [(task, os.path.realpath(task.path)) for task in tasks]
    parts: dict[str, set[str | None]] = {}
    for task, path in every:
        parts.setdefault(path, set()).add(task.part or range_name(task.options))
    found = []
    for task, path in every:
        part = range_name(task.options)
        if len(parts[path]) > 1 and task.part is None and part is not None:
            task = replace(task, name=part_name(task.name, part), part=part)
        found.append(task)
    return found


def check_apart(tasks: Iterable[Task]) -> None:
    """Raise `OptionError` if the results of one of `tasks` would lie in those of another."""
    every = dict(enumerate(tasks))
    for inner, outer in _overlaps(every):
        raise OptionError(
            f"the results of {every[inner].path} would lie in {every[inner].name!r}, and those of "
            f"{every[outer].path} in {every[outer].name!r}: expected folders of which none is in another, "
            "also where nobody tells small letters from capitals; give one of them another name in the "
            "column name of a table"
        )


def shared_names(lined: Mapping[int, Task]) -> Iterator[str]:
    """Mistakes in names of a table, by its lines: results of two lines in one folder, or in one another."""
    for number, other in _overlaps(lined):
        at = next((one for one in (number, other) if lined[one].named), None)
        if at is not None:
            yield (
                f"line {at}: name {lined[at].name!r}: the results of line {number} would lie in the "
                f"folder of line {other}, {lined[other].name!r}: expected another name (small letters and "
                "capitals are the same)"
            )


def _overlaps(tasks: Mapping[int, Task]) -> Iterator[tuple[int, int]]:
    """The keys of two tasks of which the first would have its results in the folder of the second, or in one
    within. Two in the same folder count if a table names one of them; see `with_own_names` for others."""
    places: dict[str, list[int]] = {}
    for number, task in tasks.items():
        places.setdefault(folded(task.name), []).append(number)
    for number, task in tasks.items():
        for other in places[folded(task.name)]:
            if other < number and (task.named or tasks[other].named):
                yield number, other
        for above in folders_above(task.name):
            for other in places.get(above, ()):
                yield number, other


def folded(name: str) -> str:
    """`name` of a folder as file systems compare it that do not tell small letters from capitals."""
    return name.casefold()


def folders_above(name: str) -> list[str]:
    """The folders of the output that the folder `name` lies in, `folded`."""
    return [str(place) for place in PurePosixPath(folded(name)).parents][:-1]


def check_name(text: str) -> None:
    """Raise `OptionError` unless `text` can be a folder of results in the output, on every system."""
    parts = text.split("/")
    is_odd = any(
        not part
        or part.startswith(".")
        or part.endswith((".", " "))
        or len(part.encode()) > MOST_BYTES
        or _DEVICE.match(part)
        for part in parts
    )
    if is_odd or not text.isprintable() or _NOT_ON_WINDOWS.search(text):
        raise OptionError(
            f"name {text!r}: expected a folder in the output, such as anna-1 or day1/anna: no part of it "
            'begins with a dot, ends with a dot or a space, has one of <>:"|?*\\, or is a device of Windows '
            "such as con"
        )
    if folded(parts[0]) in _FILES:
        raise OptionError(
            f"name {text!r}: the output has a file called {folded(parts[0])}: expected another"
        )
