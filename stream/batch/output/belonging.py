"""What besides finished results was made from one recording: what a killed run has left, and explanations."""

from __future__ import annotations

import os
import re
from collections.abc import Collection, Iterable, Iterator, Mapping
from pathlib import Path, PurePosixPath
from typing import Any

import msgspec

from affectstream.stream.batch.output.identity import valid_text
from affectstream.stream.batch.output.storage import Storage
from affectstream.stream.batch.output.traces import texts_of
from affectstream.stream.batch.plan.task import is_name_of
from affectstream.stream.explain.explanation import DOCUMENT
from affectstream.stream.options import valid_name

_EXPLAINED = re.compile(r"explanation\.(?:json|html|mp4)|(?:face|frame|voice)(?:_\d+)?\.png")
"""The files that `affectstream explain` writes."""


def paths_of(recording: Path) -> set[str]:
    """The paths that results may state of a recording."""
    return {valid_text(recording.absolute()), valid_text(Path(os.path.realpath(recording)))}


def is_named_after(name: str, recording: Path) -> bool:
    """Whether a folder of results in an output is called as the end of the path of `recording` or of a part
    of it, or as that itself."""
    inside = PurePosixPath(name).parts
    if not inside or name == str(recording):
        return bool(inside)
    whole = recording.absolute()
    above = whole.parts[:-1][len(whole.parts) - len(inside) :]
    return inside[:-1] == above and is_name_of(inside[-1], whole)


def unfinished(files: Iterable[str], runs: Collection[str], recording: Path) -> Iterator[str]:
    """Folders with some of `files` but without one of the finished `runs`, that are called as `recording`."""
    done = set(runs)
    for folder in sorted({PurePosixPath(file).parent for file in files}):
        is_done = done.intersection(map(str, (folder, *folder.parents)))
        if not is_done and is_named_after(str(folder), recording):
            done.add(str(folder))
            yield str(folder)


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
        `others` those of the other recordings of the output."""
        self._paths = paths_of(recording) | {str(run.get("source")) for run in found.values()}
        hashes = {(run.get("input") or {}).get("sha256") for run in found.values() if _size(run)}
        self._hashes = {one for one in (content, *hashes) if one}
        theirs = {text for name, run in others.items() for text in texts_of(name, run)}
        self._names = {valid_name(Path(path)) for path in self._paths} - theirs

    def is_in(self, document: Mapping[str, Any]) -> bool:
        """Whether this `explanation.json` is of the recording, by its path or its content. One that states
        neither, as older versions wrote it, is by its name, if no other recording of the output has that."""
        if document.get("type", "explanation") not in ("explanation", "explanations"):
            return False
        source, identity = document.get("source"), document.get("input") or {}
        if source is None:
            return document.get("stream") in self._names
        return source in self._paths or identity.get("sha256") in self._hashes


def explanation_files(storage: Storage, recording: ExplainedRecording) -> list[str]:
    """The files of the explanations of a recording: of a folder those that `affectstream explain` writes,
    `explanation.json` last, by which they are found again if this is interrupted."""
    files = storage.files()
    found = []
    for file in (PurePosixPath(name) for name in files):
        if file.name == DOCUMENT and recording.is_in(_document(storage.read(str(file)))):
            beside = [one for one in map(PurePosixPath, files) if one.parent == file.parent]
            found += [str(one) for one in beside if one != file and _EXPLAINED.fullmatch(one.name)]
            found.append(str(file))
    return found


def _document(content: bytes | None) -> dict[str, Any]:
    try:
        return msgspec.json.decode(content or b"{}", type=dict[str, Any])
    except msgspec.DecodeError:
        return {}


def _size(run: Mapping[str, Any]) -> int:
    return int((run.get("input") or {}).get("size") or 0)
