"""What besides finished results was made from one recording: what a killed run has left, and explanations."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from fnmatch import fnmatchcase
from pathlib import Path, PurePath, PurePosixPath
from typing import Any

from affectstream.stream.batch.output.stated import Explained, content_of, explained_in, source_of
from affectstream.stream.batch.output.storage import Storage
from affectstream.stream.batch.output.traces import texts_of
from affectstream.stream.batch.plan.task import is_name_of
from affectstream.stream.explain.files import DOCUMENT, is_explanation_file
from affectstream.stream.offline.failure import TRACEBACK
from affectstream.stream.offline.folder_lock import LOCK
from affectstream.stream.offline.output import PARTIAL
from affectstream.stream.options import valid_name, valid_text
from affectstream.stream.results.scored import RUN
from affectstream.stream.sinks.by_format import result_names
from affectstream.stream.words.recording import WORDS_FILE


def paths_of(recording: Path) -> set[str]:
    """The paths that results may state of a recording."""
    return {valid_text(recording.absolute()), valid_text(Path(os.path.realpath(recording)))}


def is_called(name: str, recording: PurePath) -> bool:
    """Whether a folder of results in an output is called as `recording`, which may be a path of Windows."""
    return name == recording.as_posix()


def is_named_after(name: str, recording: Path) -> bool:
    """Whether a folder of results in an output is called as the end of the path of `recording` or of a part
    of it, or as that itself."""
    inside = PurePosixPath(name).parts
    if not inside or is_called(name, recording):
        return bool(inside)
    whole = recording.absolute()
    above = whole.parts[:-1][len(whole.parts) - len(inside) :]
    return inside[:-1] == above and is_name_of(inside[-1], whole)


def unfinished(files: Iterable[str], runs: Iterable[str], recording: Path) -> dict[str, list[str]]:
    """Those of `files` that scoring has written, by their folder. It is called as `recording`, and none of
    the finished `runs` is in it, above it or below it.

    Raises `UsageError` if a format of another package cannot be loaded.
    """
    finished = {PurePosixPath(name) for name in runs}
    around = finished.union(*(name.parents for name in finished))
    inside: dict[str, list[str]] = {}
    for file in map(PurePosixPath, files):
        folder = file.parent
        is_apart = folder not in around and finished.isdisjoint(folder.parents)
        if is_apart and is_named_after(str(folder), recording):
            inside.setdefault(str(folder), []).append(str(file))
    names = {RUN, TRACEBACK, WORDS_FILE, LOCK, *result_names()} if inside else set()
    written = {
        folder: [one for one in there if _is_written(PurePosixPath(one).name, names)]
        for folder, there in inside.items()
    }
    return {folder: there for folder, there in written.items() if there}


def _is_written(name: str, names: set[str]) -> bool:
    return name in names or any(fnmatchcase(name, pattern) for pattern in PARTIAL)


class ExplainedRecording:
    """Tells whether an explanation is of one recording."""

    def __init__(
        self,
        recording: Path,
        content: str | None,
        found: Mapping[str, Mapping[str, Any]],
        others: Mapping[str, Mapping[str, Any]],
    ) -> None:
        """`content` is the hash of the recording, if it is still there, `found` are its runs by name, and
        `others` those whose results stay: of other recordings, or of other parts of this."""
        paths = paths_of(recording) | {source_of(run) for run in found.values()}
        self._paths = paths - {source_of(run) for run in others.values()} - {""}
        hashes = {content or "", *map(content_of, found.values())}
        self._hashes = hashes - {content_of(run) for run in others.values()} - {""}
        theirs = {text for name, run in others.items() for text in texts_of(name, run)}
        self._names = {valid_name(Path(path)) for path in self._paths} - theirs

    def is_in(self, document: Explained) -> bool:
        """Whether this `explanation.json` is of the recording, by its path or its content. One that states
        neither, as older versions wrote it, is by its name, if no other recording of the output has that."""
        if document.source is None:
            return document.stream in self._names
        is_same = document.input is not None and document.input.sha256 in self._hashes
        return document.source in self._paths or is_same


def explanation_files(storage: Storage, recording: ExplainedRecording) -> list[str]:
    """The files of the explanations of a recording: of a folder those that `affectstream explain` writes,
    `explanation.json` last, by which they are found again if this is interrupted."""
    files = storage.files()
    found = []
    for file in (PurePosixPath(name) for name in files):
        if file.name != DOCUMENT:
            continue
        document = explained_in(storage.read(str(file)) or b"")
        if document is not None and recording.is_in(document):
            beside = [one for one in map(PurePosixPath, files) if one.parent == file.parent]
            found += [str(one) for one in beside if one != file and is_explanation_file(one.name)]
            found.append(str(file))
    return found
