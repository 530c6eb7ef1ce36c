"""One recording of a batch."""

from __future__ import annotations

import hashlib
import os
from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path, PurePosixPath

from affectstream.stream.options import SourceOptions


@dataclass(frozen=True, slots=True)
class Task:
    """One recording to score."""

    path: Path
    name: str
    """The folder of its results, relative to the output: its path in the folder, or beside the manifest, that
    it was found in."""
    options: SourceOptions
    group: str | None = None
    """The group that the manifest gives; summaries compare groups."""

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
        task if count[task.name] == 1 else replace(task, name=f"{task.name}.{path_hash(task.path)}")
        for task in unique
    ]


def path_hash(path: Path) -> str:
    """What tells recordings of one name apart: the start of the SHA-256 of the whole path."""
    return hashlib.sha256(os.fsencode(path.absolute())).hexdigest()[:8]
