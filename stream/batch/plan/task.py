"""One recording of a batch."""

from __future__ import annotations

import hashlib
import os
import re
from collections import Counter
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from affectstream.stream.options import SourceOptions

MOST_BYTES = 255
"""Of a file name."""
_RANGE = re.compile(r"\.(\d+(?:\.\d+)?-(?:end|\d+(?:\.\d+)?))$", re.ASCII)
"""At the end of a name; see `range_name`."""


@dataclass(frozen=True, slots=True)
class Task:
    """One recording to score."""

    path: Path
    name: str
    """The folder of its results, relative to the output: its path in the folder, or beside the manifest, that
    it was found in."""
    options: SourceOptions
    group: str | None = None
    """The group that the manifest gives; summaries compare groups. Empty: none. None: nothing is said of
    groups."""
    part: str | None = None
    """What tells this part of the recording from others that are scored: its range, or its name in the
    manifest. None: there is no other, or it is the whole."""
    named: bool = False
    """Whether the manifest gives its name."""

    def folder(self, output: Path) -> Path:
        """Where its results go."""
        return output / self.name


def relative_name(path: Path, root: Path) -> str:
    """The path of a recording in `root`; its file name if it lies elsewhere."""
    path, root = path.absolute(), root.absolute()
    inside = path.relative_to(root) if path.is_relative_to(root) else Path(path.name)
    if ".." in inside.parts:
        inside = Path(path.name)
    return str(PurePosixPath(*inside.parts))


def range_name(options: SourceOptions) -> str | None:
    """The part that `options` choose, such as ``60-120`` or ``90.5-end``, in seconds; None of the whole."""
    if not options.start_us and options.end_us is None:
        return None
    end = "end" if options.end_us is None else _seconds(options.end_us)
    return f"{_seconds(options.start_us or 0)}-{end}"


def _seconds(time_us: int) -> str:
    whole, rest = divmod(time_us, 1_000_000)
    return f"{whole}.{rest:06d}".rstrip("0") if rest else str(whole)


def part_name(name: str, part: str) -> str:
    """`name` of a recording, with what tells its parts apart."""
    return _with_end(name, f".{part}")


def distinct(arguments: Iterable[Sequence[Task]]) -> list[Task]:
    """Each part of each recording once: the one of the first argument that has it. Only names of a manifest
    tell the same parts of one argument apart."""
    found: list[Task] = []
    before = set[tuple[str, str | None]]()
    for tasks in arguments:
        own = dict[tuple[str, str | None], set[str]]()
        for task in tasks:
            key = (os.path.realpath(task.path), range_name(task.options))
            name = task.name if task.named else ""
            if key not in before and name not in own.setdefault(key, set()):
                own[key].add(name)
                found.append(task)
        before |= own.keys()
    return found


def with_own_names(tasks: Sequence[Task]) -> list[Task]:
    """If recordings share a name, the start of the SHA-256 of its whole path is added to each. It depends on
    the path and the part alone, so a second run finds the same folders. Names of a manifest stay."""
    count = Counter(task.name for task in tasks)
    return [
        task
        if task.named or count[task.name] == 1
        else replace(task, name=hashed_name(task.name, task.path, task.part))
        for task in tasks
    ]


def hashed_name(name: str, path: Path, part: str | None = None) -> str:
    """`name` of the recording at `path`, with the start of the SHA-256 of the whole path and of the part."""
    whole = os.fsencode(path.absolute()) + ("" if part is None else f"\0{part}").encode()
    return _with_end(name, f".{hashlib.sha256(whole).hexdigest()[:8]}")


def is_name_of(name: str, path: Path) -> bool:
    """Whether results of the recording at `path`, or of a part of it, may lie in a folder called `name`."""
    if name in (path.name, hashed_name(path.name, path)):
        return True
    alone = name.rpartition(".")[0]
    part = _RANGE.search(alone)
    if part is not None and hashed_name(alone, path, part[1]) == name:
        name = alone
    part = _RANGE.search(name)
    return part is not None and part_name(path.name, part[1]) == name


def _with_end(name: str, end: str) -> str:
    """A name that would be longer than file systems allow loses what is before its new end."""
    folder, slash, last = name.rpartition("/")
    if len(os.fsencode(last)) > MOST_BYTES - len(end):
        last = os.fsencode(last)[: MOST_BYTES - len(end)].decode("utf-8", "ignore")
    return f"{folder}{slash}{last}{end}"
