"""One recording of a batch."""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from affectstream.stream.options import SourceOptions

_MOST_BYTES = 255
"""Of a file name."""


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


def distinct(tasks: Iterable[Task]) -> list[Task]:
    """Each recording once, with a name of its own.

    If recordings share a name, the start of the SHA-256 of its whole path is added to each. It depends on the
    path alone, so a second run finds the same folders.
    """
    once = {os.path.realpath(task.path): task for task in reversed(list(tasks))}
    unique = list(reversed(once.values()))
    count = Counter(task.name for task in unique)
    return [
        task if count[task.name] == 1 else replace(task, name=hashed_name(task.name, task.path))
        for task in unique
    ]


def hashed_name(name: str, path: Path) -> str:
    """`name` of the recording at `path`, with the start of the SHA-256 of the whole path. A name that would
    be longer than file systems allow loses its end."""
    end = f".{hashlib.sha256(os.fsencode(path.absolute())).hexdigest()[:8]}"
    folder, slash, last = name.rpartition("/")
    if len(os.fsencode(last)) > _MOST_BYTES - len(end):
        last = os.fsencode(last)[: _MOST_BYTES - len(end)].decode("utf-8", "ignore")
    return f"{folder}{slash}{last}{end}"
